"""What is seen of a request over HTTP: its id, its trace, its line in the log."""

import asyncio
import json
from types import SimpleNamespace

import openai
import pytest

from guardrail.api.settings import ServerSettings
from guardrail.errors import ConfigError
from guardrail.server.access import AccessLog
from guardrail.telemetry.log_fields import EVENTS, LOG_FIELDS
from guardrail.telemetry.log_lines import line_writer
from guardrail.telemetry.telemetry import Telemetry
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Step
from guardrail.upstreams.scripted_server import scripted_server

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def lines_of(logs):
    """The lines of requests, as JSON; every field of theirs is one that the table names."""
    write = line_writer("json").format
    lines = [json.loads(write(r)) for r in logs.records if r.name == "guardrail.access"]
    for line in lines:
        assert set(line) <= set(LOG_FIELDS)
        assert line["event"] in EVENTS
    return lines


def ask(run, kit, logs, script=("A picture.",), *, images=0, headers=None, **options):
    """The response to one request, and its line."""
    body = options.pop("body", {})

    async def scenario():
        async with kit.proxy(script, **options) as proxy:
            return await proxy.client.post(
                "/v1/chat/completions", json=kit.request(images, **body), headers=headers
            )

    logs.clear()
    response = run(scenario())
    (line,) = lines_of(logs)
    return response, line


def test_a_decision_is_one_line(run, kit, logs):
    response, line = ask(run, kit, logs, images=1)
    assert line["event"] == "decision"
    assert line["level"] == "info"
    assert line["request_id"] == response.headers["x-request-id"]
    assert (line["policy"], line["mode"], line["decision"]) == ("test", "enforce", "pass")
    assert line["reason"] == response.headers["x-guardrail-reason"]
    assert line["calls"] == line["samples"] == int(response.headers["x-guardrail-samples"])
    assert (line["upstream"], line["model"]) == ("scripted", "other")
    assert line["completion_tokens"] > 0
    parts = [line[f"{part}_ms"] for part in ("upstream", "oracle", "queue", "own")]
    assert line["elapsed_ms"] >= line["decision_ms"] >= line["own_ms"] > 0
    assert sum(parts) >= 0.99 * line["decision_ms"]


def test_a_decision_that_follows_its_answer_has_a_line_of_its_own(run, kit, logs):
    async def scenario():
        async with kit.proxy([kit.HARM], policy=kit.make_policy(mode="observe")) as proxy:
            response = await proxy.chat()
            while len(lines_of(logs)) < 1 or not later():  # noqa: ASYNC110 (nobody sets an event)
                await asyncio.sleep(0.01)
            return response

    def later():
        write = line_writer("json").format
        found = [r for r in logs.records if r.name == "guardrail.observed"]
        return [json.loads(write(r)) for r in found]

    logs.clear()
    response = run(scenario())
    (line,), (decided,) = lines_of(logs), later()
    assert (line["mode"], line["reason"], line["would_block"]) == ("observe", "not decided", False)
    assert decided["request_id"] == line["request_id"] == response.headers["x-request-id"]
    assert (decided["decision"], decided["would_block"]) == ("pass", True)
    assert set(decided) <= set(LOG_FIELDS)


def test_a_fault_is_told_with_its_class_code_and_the_providers_status(run, kit, logs):
    response, line = ask(run, kit, logs, [Step(fault=Fault.STATUS, status=401)])
    assert response.status_code == line["status"] == line["fault_status"] == 502
    assert (line["event"], line["level"], line["decision"]) == ("fault", "warning", "fault")
    assert (line["fault"], line["code"]) == ("UpstreamError", "upstream_auth")
    assert line["upstream_status"] == 401


def test_a_fault_in_a_stream_that_has_begun_is_told_too(run, kit, logs):
    response, line = ask(
        run, kit, logs, [Step("late", delay_s=0.2, fault=Fault.STATUS, status=500)],
        body={"stream": True}, settings=ServerSettings(first_byte_s=0.05, heartbeat_s=0.05),
    )  # fmt: skip
    assert response.status_code == line["status"] == 200
    assert (line["event"], line["fault"]) == ("fault", "UpstreamError")


def test_a_clients_mistake_is_refused_and_no_fault(run, kit, logs):
    _, line = ask(run, kit, logs, body={"messages": "secret"})
    assert (line["event"], line["level"], line["fault"]) == ("refused", "info", "RequestError")
    assert "secret" not in json.dumps(line)


@pytest.mark.parametrize("error", [RuntimeError("secret"), ConfigError("secret", field="a")])
def test_what_an_operator_must_mend_is_an_error(run, kit, logs, error):
    def record(_verdict, _chat):
        raise error

    response, line = ask(run, kit, logs, record=record)
    assert response.status_code == 500
    assert (line["event"], line["level"], line["fault"]) == ("fault", "error", type(error).__name__)
    assert "secret" not in json.dumps(line)
    assert "decision" not in line  # its answer did not leave


def test_health_checks_are_told_at_debug(run, kit, logs):
    async def scenario():
        async with kit.proxy() as proxy:
            await proxy.client.get("/healthz")
            await proxy.client.get("/v1/models")

    logs.clear()
    run(scenario())
    assert [(line["event"], line["route"]) for line in lines_of(logs)] == [
        ("request", "/v1/models")
    ]


def test_a_client_that_leaves_is_499(run, kit, logs):
    async def scenario():
        async with kit.proxy([Step(fault=Fault.HANG)]) as proxy:
            asking = asyncio.create_task(proxy.chat())
            while not proxy.calls:  # noqa: ASYNC110 (nobody sets an event)
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    logs.clear()
    run(scenario())
    (line,) = lines_of(logs)
    assert (line["event"], line["status"], line["calls"]) == ("request", 499, 1)


def test_a_well_formed_id_of_the_client_is_kept_and_others_are_not(run, kit, logs):
    response, line = ask(run, kit, logs, headers={"x-request-id": "mine-1"})
    assert response.headers["x-request-id"] == line["request_id"] == "mine-1"
    response, line = ask(run, kit, logs, headers={"x-request-id": 'a"b c'})
    assert response.headers["x-request-id"] == line["request_id"] != 'a"b c'


def test_every_answer_has_an_id(run, kit):
    async def scenario():
        async with kit.proxy() as proxy:
            paths = ("/healthz", "/nothing", "/v1/models")
            return [await proxy.client.get(path) for path in paths]

    ids = [response.headers["x-request-id"] for response in run(scenario())]
    assert len(set(ids)) == 3


def test_openais_client_reads_the_id(run, kit):
    async def scenario():
        async with kit.proxy() as proxy:
            client = openai.AsyncOpenAI(api_key="none", base_url=proxy.base_url)
            async with client:
                request = kit.request()
                completion = await client.chat.completions.create(
                    **request, extra_headers={"x-request-id": "from-openai"}
                )
                return completion._request_id

    assert run(scenario()) == "from-openai"


def test_the_id_of_the_callers_key_is_told(run, kit, logs):
    async def scenario():
        async def app(scope, _receive, send):
            scope["guardrail.caller"] = SimpleNamespace(key_id="k-1")
            await send({"type": "http.response.start", "status": 200, "headers": []})

        log = AccessLog(app, Telemetry())

        async def send(_message):
            pass

        scope = {"type": "http", "method": "GET", "headers": []}
        await log(scope, None, send)
        return scope["guardrail.request_id"]

    logs.clear()
    request_id = run(scenario())
    (line,) = lines_of(logs)
    assert (line["key_id"], line["request_id"]) == ("k-1", request_id)


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [
        (
            {"traceparent": PARENT, "tracestate": "v=1"},
            {"traceparent": PARENT, "tracestate": "v=1"},
        ),
        ({"traceparent": PARENT}, {"traceparent": PARENT}),
        ({"traceparent": "nonsense", "tracestate": "v=1"}, {}),
        ({}, {}),
    ],
)
def test_a_trace_is_passed_on_to_every_call(run, kit, logs, sent, passed_on):
    async def scenario():
        async with scripted_server(["A picture."]) as server:
            upstream = OpenAICompatible(server.base_url, headers={"x-own": "1"})
            async with kit.proxy(upstream) as proxy:
                body = kit.request(1)
                await proxy.client.post("/v1/chat/completions", json=body, headers=sent)
            return [call.headers for call in server.calls]

    logs.clear()
    calls = run(scenario())
    assert len(calls) > 5
    for headers in calls:
        assert {k: v for k, v in headers.items() if k.startswith("trace")} == passed_on
        assert headers["x-own"] == "1"
    (line,) = lines_of(logs)
    assert line.get("trace_id") == (TRACE if passed_on else None)
