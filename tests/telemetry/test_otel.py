"""When traces are wanted, and that they reach an OTLP endpoint by the standard variables."""

import asyncio
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from guardrail.engine.engine import Engine
from guardrail.engine.observer import observe_with
from guardrail.errors import ConfigError
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.telemetry import otel
from guardrail.telemetry.telemetry import TelemetrySettings, open_telemetry
from guardrail.types import Chat, Outcome
from guardrail.upstreams.scripted import Scripted

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False), ({ENDPOINT: "http://c:4318"}, True), ({ENDPOINT: " "}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
    ],
)  # fmt: skip
def test_the_standard_variables_ask_for_traces(environment, wanted):
    assert otel.asks_for_traces(environment) is wanted


def test_without_the_extra_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(otel, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"certified-guardrail\[otel\]"):
        otel.open_spans()


def test_nothing_of_it_is_imported_where_it_is_not_wanted():
    program = (
        "import sys, guardrail.server.app, guardrail.telemetry.telemetry\n"
        "heavy = ('opentelemetry', 'prometheus_client')\n"
        "assert not [name for name in sys.modules if name.startswith(heavy)]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class Harmless:
    revision = "harmless"

    async def judge(self, exchanges):
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    async def aclose(self):
        pass


def test_spans_and_events_reach_a_collector(monkeypatch):
    posted = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            posted.append((self.path, self.headers["x-tenant"], body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ours")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    policy = Policy.model_validate(
        {"name": "p", "smoothing": {"sigma": 0.5, "radius": 0.25, "alpha": 0.01}}
    )
    engine = Engine(compile_policy(policy), Scripted(["A hat."]), Harmless(), NoiseKey(bytes(32)))
    telemetry = open_telemetry(TelemetrySettings(traces=True))
    with observe_with(telemetry.observe("r-1")):
        asyncio.run(engine.decide(Chat("m", ({"role": "user", "content": "hi"},))))
    telemetry.close()
    server.shutdown()
    thread.join()
    server.server_close()
    bodies = {path: body for path, _, body in posted}
    assert {tenant for _, tenant, _ in posted} == {"ours"}
    traces = ExportTraceServiceRequest.FromString(bodies["/v1/traces"])
    (resource,) = traces.resource_spans
    names = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert sorted(names) == ["chat other", "guardrail.decision"]
    told = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert told["service.name"] == "guardrail"
    logs = ExportLogsServiceRequest.FromString(bodies["/v1/logs"])
    (record,) = logs.resource_logs[0].scope_logs[0].log_records
    assert record.event_name == "gen_ai.evaluation.result"
