"""A console over records of a real engine, asked without a browser."""

import sys

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from guardrail.console.app import console_routes
from guardrail.console.console import open_console
from guardrail.keys.api_key import KeyScope
from guardrail.server.access import AccessLog

ADDRESS = "http://127.0.0.1:8080"
ROLES = {
    "reviewer": frozenset({KeyScope.REVIEWER}),
    "editor": frozenset({KeyScope.EDITOR}),
    "admin": frozenset({KeyScope.ADMIN}),
    "client": frozenset({KeyScope.CLIENT}),
    "everything": frozenset(KeyScope),
}


def make_client(console, telemetry=None, **options):
    """A client without a browser; with telemetry the server's log of requests is in front."""
    seen = [] if telemetry is None else [Middleware(AccessLog, telemetry)]
    app = Starlette(routes=console_routes(console), middleware=seen)
    return TestClient(app, base_url=ADDRESS, follow_redirects=False, **options)


def form_token(client):
    """The token of a page that anybody may open."""
    page = client.get("/console/sign-in", follow_redirects=True).text
    return page.partition('name="form-token" content="')[2].partition('"')[0]


def post(client, path, **fields):
    """A form as a page of the console sends it."""
    return client.post(f"/console{path}", data={"csrf": form_token(client), **fields})


def sign_in(client, secret):
    return post(client, "/sign-in", key=secret)


@pytest.fixture(scope="session")
def steps():
    """The helpers of this file."""
    return sys.modules[__name__]


@pytest.fixture
def local(sqlite_url):
    """A client of a console without keys."""
    with open_console(sqlite_url) as console:
        yield make_client(console)


@pytest.fixture
def keyed(sqlite_url, book):
    """A console that asks for keys; they are in `book`."""
    book.create(scopes=ROLES["client"])
    keys = book.authenticator()
    with open_console(sqlite_url, keys=keys) as console:
        yield console
    keys.close()
