"""The playground: two policies of a real deployment, by the key of whoever signed in."""

import json
import logging
import re
import socket
import threading
import time
from contextlib import closing, contextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from guardrail.api.deployment import Deployment, Plan
from guardrail.api.policy_set import PolicySet, ServedPolicy
from guardrail.api.service import Service
from guardrail.api.settings import ServerSettings
from guardrail.console import playground
from guardrail.console.app import console_routes
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
from guardrail.telemetry.log_lines import LogLine
from guardrail.telemetry.telemetry import TelemetrySettings, open_telemetry
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
def open_playground(address, book, role="everything", script=answer, telemetry=None, **key):
    """A signed-in client of a console, whose event loop lives as long as the client."""
    secret = book.create(scopes=ROLES[role], **key)
    keys = book.authenticator()
    keys.start()
    with (
        closing(keys),
        deployed(address, script) as deployment,
        open_console(
            address,
            keys=keys,
            content_keys=CONTENT_KEYS,
            deployment=deployment,
            telemetry=telemetry,
        ) as console,
        make_client(console, telemetry) as client,
    ):
        sign_in(client, secret)
        yield console, client


def fields_of(page, **fields):
    """What a page's form sends."""
    token = page.partition('name="form-token" content="')[2].partition('"')[0]
    return {"csrf": token, "prompt": "hello", "model": "scripted", "picture": as_sent(data_url()),
            "policy": ["strict", "lax"], **fields}  # fmt: skip


def send(client, *, scripts=True, **fields):
    values = fields_of(client.get("/console/playground").text, **fields)
    headers = {"hx-request": "true"} if scripts else {}
    return client.post("/console/playground", data=values, headers=headers)


def as_sent(url):
    head, _, data = url.partition(",")
    return f"{head},{data.translate(str.maketrans('+/', '-_'))}"


def parts(answer):
    """What is shown one after the other; the last one stays."""
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def decide(client, **fields):
    answer = send(client, **fields)
    assert answer.status_code == 200, answer.text
    return parts(answer)[-1]


@contextmanager
def serve_playground(address, keys, script=answer):
    """The address of a console in a thread of its own, and the console."""
    listener = socket.create_server(("127.0.0.1", 0))
    with (
        deployed(address, script) as deployment,
        open_console(
            address, keys=keys, content_keys=CONTENT_KEYS, deployment=deployment
        ) as console,
    ):
        app = Starlette(routes=console_routes(console))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", console
        finally:
            server.should_exit = True
            thread.join()


def records(console):
    return DatabaseSource(console.database).newest(RecordFilter(), 10)


def test_both_decisions_stand_side_by_side_with_every_variant(sqlite_url, book):
    with open_playground(sqlite_url, book) as (console, client):
        page = decide(client)
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
        again = decide(client)
        assert again.count("An equal request was decided before") == 2
        assert again.count('class="draw"') == page.count('class="draw"')
        stopped = decide(client, prompt="harm", picture="")
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
    with open_playground(sqlite_url, book) as (console, client):
        answer = send(client, **fields)
        assert answer.status_code == 400
        (page,) = parts(answer)
        whole = send(client, scripts=False, **fields)
        assert whole.status_code == 400
        for one in (page, whole.text):
            assert words in one
            assert 'role="alert"' in one
        assert records(console) == []


def test_a_picture_that_is_none_fails_like_a_clients(sqlite_url, book):
    with open_playground(sqlite_url, book) as (_, client):
        page = decide(client, picture="data:image/png;base64,AAAA")
        assert page.count("No decision:") == 2


def test_the_keys_own_limits_hold(sqlite_url, book):
    with open_playground(sqlite_url, book, limits={"requests_per_minute": 1}) as (console, client):
        page = decide(client, picture="")
        assert page.count("No decision:") == 1
        assert len(records(console)) == 1


def test_without_scripts_the_page_comes_when_all_is_decided(sqlite_url, book):
    with open_playground(sqlite_url, book) as (console, client):
        answer = send(client, scripts=False)
        assert answer.status_code == 200
        assert "<html" in answer.text
        assert answer.text.count("let through") == 2
        assert len(records(console)) == 2


def sign_in_at(client, secret):
    page = client.get("/console/sign-in").text
    client.post("/console/sign-in", data={"csrf": fields_of(page)["csrf"], "key": secret})
    return client.get("/console/playground").text


def test_a_run_shows_how_it_stands_and_ends_with_its_request(sqlite_url, book, monkeypatch):
    monkeypatch.setattr(playground, "MOST_AT_ONCE", 1)
    secret = book.create(scopes=ROLES["everything"])
    keys = book.authenticator()
    keys.start()
    slow = serve_playground(sqlite_url, keys, script=lambda _: Step(delay_s=600.0))
    with closing(keys), slow as (url, console), httpx.Client(base_url=url, timeout=60) as client:
        sent = {"data": fields_of(sign_in_at(client, secret)), "headers": {"hx-request": "true"}}
        with client.stream("POST", "/console/playground", **sent) as answer:
            shown = (json.loads(line) for line in answer.iter_lines())
            assert "Deciding" in next(shown)
            assert "Deciding" in next(shown)
            refused = client.post("/console/playground", **sent)
            assert refused.status_code == 503
            assert "under way already" in refused.text
        until(lambda: len(records(console)) == 2)
        assert {one.reason for one in records(console)} == {"cancelled"}
        until(lambda: not console.playground._under_way)


def until(condition):
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_bound_key_tries_its_policy_and_stricter_ones_alone(sqlite_url, book):
    with open_playground(sqlite_url, book, policy="strict") as (console, client):
        page = client.get("/console/playground").text
        assert re.findall(r"<option[^>]*>(strict|lax)</option>", page) == ["strict"]
        for scripts in (True, False):
            refused = send(client, scripts=scripts)
            assert refused.status_code == 403
            assert "bound to the policy" in refused.text
            assert "a stricter one" in refused.text
        assert records(console) == []
        assert "let through" in decide(client, policy=["strict"])
    with open_playground(sqlite_url, book, policy="lax") as (_, client):
        assert decide(client).count("let through") == 2
    with open_playground(sqlite_url, book, policy="gone") as (_, client):
        assert "not among those of the server" in client.get("/console/playground").text
        assert send(client).status_code == 403


def test_each_side_is_a_request_of_its_own_in_metrics_and_logs(sqlite_url, book, caplog):
    caplog.set_level(logging.INFO, "guardrail")
    telemetry = open_telemetry(TelemetrySettings(metrics_port=0))
    with open_playground(sqlite_url, book, telemetry=telemetry) as (console, client):
        decide(client, prompt="harm")
        kept = {one.policy: one for one in records(console)}
    value = telemetry.metrics.registry.get_sample_value
    for name in ("strict", "lax"):
        labels = {
            "policy": name,
            "mode": "enforce",
            "decision": "block",
            "reason": kept[name].reason,
        }
        labels |= {"would_block": "false", "stopped_by": "request"}
        assert value("guardrail_decisions_total", labels) == 1
        assert value("guardrail_waves_total", {"policy": name}) >= 1
    lines = [LogLine(one) for one in caplog.records if one.name.startswith("guardrail.")]
    decided = [one.fields for one in lines if one.event == "decision"]
    assert {(one["policy"], one["calls"]) for one in decided} == {
        (name, one.calls) for name, one in kept.items()
    }
    assert {one["request_id"] for one in decided} == {one.request_id for one in kept.values()}
    (about,) = [one for one in lines if one.fields.get("method") == "POST"
                and one.fields["route"] == "/console/playground"]  # fmt: skip
    assert about.event == "request"
    assert "policy" not in about.fields
    assert not telemetry.spikes._minutes  # somebody tries what is blocked


def test_only_editors_and_only_by_forms_of_the_page(sqlite_url, book):
    with open_playground(sqlite_url, book, role="reviewer") as (console, client):
        assert client.get("/console/playground").status_code == 403
        assert send(client).status_code == 403
        assert records(console) == []
    with open_playground(sqlite_url, book, role="editor") as (console, client):
        bare = client.post("/console/playground", data={"prompt": "hello", "policy": "strict"})
        assert bare.status_code == 403
        assert records(console) == []


def test_without_a_server_nothing_is_decided(local):
    assert "No server decides here" in local.get("/console/playground").text
