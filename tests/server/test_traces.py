"""Traces of a proxy by the real SDK: spans of decisions, waves and calls, events of verdicts."""

import json
from contextlib import asynccontextmanager

import httpx
import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind, StatusCode

from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server.serve import running_server_async
from guardrail.telemetry.spans import Spans
from guardrail.telemetry.telemetry import Telemetry
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Scripted, Step
from guardrail.upstreams.scripted_server import scripted_server

TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736
PARENT = 0x00F067AA0BA902B7
SENT = {"traceparent": f"00-{TRACE:032x}-{PARENT:016x}-01", "tracestate": "v=1"}
CONVENTIONS = {
    value for name, value in vars(gen_ai_attributes).items()
    if name.isupper() and isinstance(value, str)
} | {"error.type", "server.address", "server.port"}  # fmt: skip


class Seen:
    def __init__(self, *, drafted=False):
        self._spans, self._events = InMemorySpanExporter(), InMemoryLogRecordExporter()
        tracers, loggers = TracerProvider(), LoggerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        loggers.add_log_record_processor(SimpleLogRecordProcessor(self._events))
        self.telemetry = Telemetry(spans=Spans(tracers, loggers, drafted=drafted))

    def named(self, start):
        return [span for span in self._spans.get_finished_spans() if span.name.startswith(start)]

    @property
    def all(self):
        return self._spans.get_finished_spans()

    @property
    def events(self):
        return [data.log_record for data in self._events.get_finished_logs()]


@asynccontextmanager
async def traced(kit, seen, upstream, **policy):
    made = kit.make_policy(**policy)
    engine = Engine(compile_policy(made), upstream, kit.Words(), NoiseKey(bytes(32)))
    async with (
        running_server_async(made, engine, telemetry=seen.telemetry) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        yield client


def ask(run, kit, seen, script=("A picture.",), *, images=0, headers=SENT, **policy):
    async def scenario():
        async with (
            scripted_server(script) as server,
            traced(kit, seen, OpenAICompatible(server.base_url), **policy) as client,
        ):
            body = kit.request(images, prompt="a secret prompt", model="secret-model")
            await client.post("/v1/chat/completions", json=body, headers=headers)
            return server

    return run(scenario())


def test_a_decision_has_waves_and_these_have_calls(run, kit):
    seen = Seen()
    server = ask(run, kit, seen, images=1)
    (decision,) = seen.named("guardrail.decision")
    waves, calls = seen.named("guardrail.wave"), seen.named("chat ")
    assert (decision.context.trace_id, decision.parent.span_id) == (TRACE, PARENT)
    assert {wave.parent.span_id for wave in waves} == {decision.context.span_id}
    assert {call.parent.span_id for call in calls} <= {wave.context.span_id for wave in waves}
    assert {span.context.trace_id for span in seen.all} == {TRACE}
    assert len(calls) == len(server.calls) == decision.attributes["guardrail.calls"]
    assert {call.kind for call in calls} == {SpanKind.CLIENT}
    assert sorted(call.attributes["guardrail.variant"] for call in calls) == list(range(len(calls)))


def test_upstreams_are_told_the_calls_own_span(run, kit):
    seen = Seen()
    server = ask(run, kit, seen, images=1)
    told = {call.headers["traceparent"] for call in server.calls}
    spans = {f"00-{TRACE:032x}-{span.context.span_id:016x}-01" for span in seen.named("chat ")}
    assert told == spans
    assert {call.headers["tracestate"] for call in server.calls} == {"v=1"}


def test_attributes_are_those_of_the_conventions_and_hold_no_content(run, kit):
    seen = Seen()
    server = ask(run, kit, seen, [kit.HARM])
    (call,), (decision,) = seen.named("chat "), seen.named("guardrail.decision")
    assert call.name == "chat other"
    assert call.attributes["gen_ai.operation.name"] == "chat"
    assert call.attributes["gen_ai.provider.name"] == "openai_compatible"
    assert call.attributes["gen_ai.request.model"] == "other"
    assert call.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert call.attributes["gen_ai.usage.output_tokens"] > 0
    assert call.attributes["server.address"] == "127.0.0.1"
    assert call.attributes["server.port"] == server.port
    assert decision.attributes["guardrail.decision"] == "block"
    for span in seen.all:
        own = {name for name in span.attributes if name.startswith("guardrail.")}
        assert set(span.attributes) - own <= CONVENTIONS
    told = json.dumps([span.to_json() for span in seen.all])
    assert "secret" not in told
    assert "forbidden" not in told


def test_a_verdict_is_an_evaluation_result(run, kit):
    seen = Seen()
    ask(run, kit, seen, images=1)
    (event,), (decision,) = seen.events, seen.named("guardrail.decision")
    assert event.event_name == "gen_ai.evaluation.result"
    assert (event.trace_id, event.span_id) == (TRACE, decision.context.span_id)
    assert dict(event.attributes) == {
        "gen_ai.evaluation.name": "guardrail",
        "gen_ai.evaluation.score.label": "pass",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.explanation": "certified",
    }
    assert set(event.attributes) <= CONVENTIONS


def test_faults_are_named_by_their_class_alone(run, kit):
    seen = Seen()
    ask(run, kit, seen, [Step(fault=Fault.STATUS, status=500)])
    (call,), (decision,) = seen.named("chat "), seen.named("guardrail.decision")
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes["error.type"] == decision.attributes["error.type"] == "UpstreamError"
    assert not call.events  # the SDK would else keep the exception's text
    assert call.status.description is None


@pytest.mark.parametrize(
    ("script", "mode", "verdict", "action"),
    [
        ("A picture.", "enforce", "allow", "allow"),
        ("forbidden", "enforce", "deny", "block"),
        ("forbidden", "observe", "deny", "allow"),
        (Step(fault=Fault.STATUS, status=500), "enforce", "unknown", "block"),
    ],
)
def test_drafted_attributes_are_set_where_they_are_asked_for(
    run, kit, script, mode, verdict, action
):
    plain, drafted = Seen(), Seen(drafted=True)
    for seen in (plain, drafted):
        ask(run, kit, seen, [script], mode=mode)
    # In observe mode the answer leaves first, and the decision that follows is the last one.
    *_, span = drafted.named("guardrail.decision")
    *_, other = plain.named("guardrail.decision")
    assert span.attributes["gen_ai.security.verdict.type"] == verdict
    assert span.attributes["gen_ai.security.action.type"] == action
    assert span.attributes["gen_ai.security.policy.name"] == "test"
    assert not [name for name in other.attributes if "security" in name]


@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}])
def test_a_request_without_a_trace_begins_one(run, kit, headers):
    seen = Seen()
    ask(run, kit, seen, headers=headers)
    ask(run, kit, seen, headers=headers)
    first, second = seen.named("guardrail.decision")
    assert first.parent is second.parent is None
    assert first.context.trace_id != second.context.trace_id


def test_a_trace_that_is_not_sampled_is_not_recorded_and_passed_on(run, kit):
    seen = Seen()
    server = ask(run, kit, seen, headers={"traceparent": SENT["traceparent"][:-2] + "00"})
    assert not seen.all
    (call,) = server.calls
    assert call.headers["traceparent"].split("-")[1::2] == [f"{TRACE:032x}", "00"]


@pytest.mark.parametrize(
    ("name", "provider", "address"),
    [
        ("openai_compatible:https://api.openai.com/v1", "openai", ("api.openai.com", 443)),
        (
            "openai_compatible:https://x.openai.azure.com/a",
            "azure.ai.openai",
            ("x.openai.azure.com", 443),
        ),
        ("openai_compatible:http://h/v1", "openai_compatible", ("h", 80)),
        ("litellm:anthropic/claude", "litellm", None),
    ],
)
def test_the_provider_is_told_from_the_upstreams_name(run, kit, name, provider, address):
    class Named(Scripted):
        @property
        def name(self):
            return name

    async def scenario():
        async with traced(kit, seen, Named(["A picture."])) as client:
            await client.post("/v1/chat/completions", json=kit.request())

    seen = Seen()
    run(scenario())
    (call,) = seen.named("chat ")
    assert call.attributes["gen_ai.provider.name"] == provider
    told = call.attributes.get("server.address"), call.attributes.get("server.port")
    assert told == (address or (None, None))
