"""The playground: two policies of a real deployment, by the key of whoever signed in."""

import re
import time
from contextlib import closing, contextmanager

import pytest

from guardrail.api.deployment import Deployment, Plan
from guardrail.api.policy_set import PolicySet, ServedPolicy
from guardrail.api.service import Service
from guardrail.api.settings import ServerSettings
from guardrail.console import playground
from guardrail.console.console import open_console
from guardrail.engine.engine import Engine
from guardrail.keys.limits import LocalLimits
from guardrail.policy.compile import compile_policy
from guardrail.policy.policy_list import ListedPolicy
from guardrail.records.open import open_journal
from guardrail.records.origin import TRIED_ROUTE
from guardrail.records.query import DatabaseSource, RecordFilter
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.upstreams.scripted import Scripted, Step
from tests.console.conftest import ROLES, make_client, sign_in
from tests.records.conftest import CONTENT_KEYS, KEY, Words, make_policy
from tests.server.conftest import data_url

HOSTILE = "\"><img src=x onerror=alert(1)>'</script><script>alert(1)</script>{{7*7}}${7*7}"
PATIENT = {"retries": 0, "call_timeout_s": 300.0, "deadline_s": 600.0}


def answer(call):
    return f"forbidden {HOSTILE}" if "harm" in str(call.body) else f"a cat {HOSTILE}"


@contextmanager
def deployed(address, script=answer):
    """Two policies that write their records to a database."""
    journal = open_journal(address)
    with closing(journal), closing(RecordWriter(journal)) as writer:
        served = []
        for name, tau in (("strict", 0.25), ("lax", 0.1)):
            policy = make_policy(name=name, limits=PATIENT, smoothing={"radius": tau})
            engine = Engine(compile_policy(policy), Scripted(script), Words(), KEY)
            recorder = Recorder(writer, engine, content_keys=CONTENT_KEYS)
            served.append(
                ServedPolicy(ListedPolicy(policy), Service(policy, engine, record=recorder))
            )
        yield Deployment(
            Plan(tuple(one.listed for one in served)),
            PolicySet("0" * 64, tuple(served)),
            ServerSettings(),
            limits=LocalLimits(),
        )


@contextmanager
def opened(address, book, role="everything", script=answer, **key):
    """A signed-in client of a console, whose event loop lives as long as the client."""
    secret = book.create(scopes=ROLES[role], **key)
    keys = book.authenticator()
    keys.start()
    with (
        closing(keys),
        deployed(address, script) as deployment,
        open_console(
            address, keys=keys, content_keys=CONTENT_KEYS, deployment=deployment
        ) as console,
        make_client(console) as client,
    ):
        sign_in(client, secret)
        yield console, client


def send(client, **fields):
    page = client.get("/console/playground").text
    token = page.partition('name="form-token" content="')[2].partition('"')[0]
    values = {"csrf": token, "prompt": "hello", "model": "scripted", "picture": as_sent(data_url()),
              "policy": ["strict", "lax"], **fields}  # fmt: skip
    return client.post("/console/playground", data=values, headers={"hx-request": "true"})


def as_sent(url):
    head, _, data = url.partition(",")
    return f"{head},{data.translate(str.maketrans('+/', '-_'))}"


def wait(client, page):
    """The page of a run when it has ended."""
    if "hx-get" not in page:  # it ended before its first page was made
        return page
    address = re.search(r'hx-get="(/console/playground/[0-9a-f]{32}/parts)"', page)[1]
    ends = time.monotonic() + 300
    while "hx-get" in page:
        assert time.monotonic() < ends
        time.sleep(0.05)
        page = client.get(address).text
    return page


def records(console):
    return DatabaseSource(console.database).newest(RecordFilter(), 10)


def test_both_decisions_stand_side_by_side_with_every_variant(sqlite_url, book):
    with opened(sqlite_url, book) as (console, client):
        page = wait(client, send(client).text)
        kept = records(console)
        assert {(one.policy, one.route, one.action) for one in kept} == {
            ("strict", TRIED_ROUTE, "pass"), ("lax", TRIED_ROUTE, "pass")}  # fmt: skip
        assert {one.api_key_id for one in kept} == set(book.secrets)
        assert page.count("let through") == 2
        assert page.count('class="draw"') == sum(one.calls for one in kept)
        for one in kept:
            assert f"/console/decisions/{one.record_id}" in page
        assert page.count("of 255 levels") >= 2
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(1)" in page
        again = wait(client, send(client).text)
        assert again.count("An equal request was decided before") == 2
        assert again.count('class="draw"') == page.count('class="draw"')
        stopped = wait(client, send(client, prompt="harm", picture="").text)
        assert stopped.count("stopped") >= 2
        assert 'class="harmful' in stopped


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": " ", "picture": ""}, "type a prompt"),
        ({"policy": ["strict", "strict"]}, "two different"),
        ({"policy": ["strict", "other"]}, "of those on the page"),
        ({"policy": []}, "of those on the page"),
        ({"picture": "data:text/html;base64,AAAA"}, "not a picture"),
        ({"picture": "http://127.0.0.1/x.png"}, "not a picture"),
        ({"prompt": "x" * 20_001}, "at most 20,000"),
    ],
)
def test_what_cannot_be_tried_is_said_and_nothing_is_asked(sqlite_url, book, fields, words):
    with opened(sqlite_url, book) as (console, client):
        page = send(client, **fields).text
        assert words in page
        assert 'role="alert"' in page
        assert records(console) == []


def test_a_picture_that_is_none_fails_like_a_clients(sqlite_url, book):
    with opened(sqlite_url, book) as (_, client):
        page = wait(client, send(client, picture="data:image/png;base64,AAAA").text)
        assert page.count("No decision:") == 2


def test_the_keys_own_limits_hold(sqlite_url, book):
    with opened(sqlite_url, book, limits={"requests_per_minute": 1}) as (console, client):
        page = wait(client, send(client, picture="").text)
        assert page.count("No decision:") == 1
        assert len(records(console)) == 1


def test_only_so_many_at_once_and_a_cancelled_one_is_recorded(sqlite_url, book, monkeypatch):
    monkeypatch.setattr(playground, "MOST_AT_ONCE", 1)

    with opened(sqlite_url, book, script=lambda _: Step(delay_s=600.0)) as (console, client):
        page = send(client).text
        assert "Deciding" in page
        assert "under way already" in send(client).text
        run_id = re.search(r"/console/playground/([0-9a-f]{32})/parts", page)[1]
        token = page.partition('name="csrf" value="')[2].partition('"')[0]
        ended = client.post(f"/console/playground/{run_id}/cancel", data={"csrf": token})
        assert ended.status_code == 303
        page = client.get(f"/console/playground/{run_id}").text
        assert page.count("it was cancelled") == 2
        ends = time.monotonic() + 60
        while len(records(console)) < 2 and time.monotonic() < ends:
            time.sleep(0.05)
        assert {one.reason for one in records(console)} == {"cancelled"}


def test_a_run_is_shown_to_who_began_it_alone(sqlite_url, book):
    other = book.create(scopes=ROLES["editor"])
    with opened(sqlite_url, book, role="editor") as (console, client):
        page = wait(client, send(client, picture="").text)
        assert "/console/decisions/" not in page  # these are for reviewers
        (run,) = console.playground._runs.values()
        assert client.get(f"/console/playground/{run.run_id}").status_code == 200
        stranger = make_client(console)
        sign_in(stranger, other)
        for part in ("", "/parts"):
            assert stranger.get(f"/console/playground/{run.run_id}{part}").status_code == 404


def test_only_editors_and_only_by_forms_of_the_page(sqlite_url, book):
    with opened(sqlite_url, book, role="reviewer") as (console, client):
        assert client.get("/console/playground").status_code == 403
        assert send(client).status_code == 403
        assert records(console) == []
    with opened(sqlite_url, book, role="editor") as (console, client):
        bare = client.post("/console/playground", data={"prompt": "hello", "policy": "strict"})
        assert bare.status_code == 403
        assert records(console) == []


def test_without_a_server_nothing_is_decided(local):
    assert "No server decides here" in local.get("/console/playground").text
