"""Metrics of a proxy over real sockets: read by Prometheus' own parser, and by Prometheus."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import asynccontextmanager

import httpx
import openai
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from guardrail.api.observer import Observer
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.server.serve import running_server_async
from guardrail.telemetry.telemetry import TelemetrySettings, open_telemetry
from guardrail.types import Outcome
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.scripted import Fault, Scripted, Step

PROMETHEUS = shutil.which("prometheus")


@asynccontextmanager
async def metered(
    kit, script=("A picture.",), *, policy=None, oracle=None, record=None, **settings
):
    """A proxy with metrics: `ask` sends a chat, `read` gives samples by name and labels."""
    policy = policy or kit.make_policy()
    upstream = LimitedUpstream(Scripted(script), CallLimits(breaker_faults=1, breaker_after_s=0.0))
    engine = Engine(compile_policy(policy), upstream, oracle or kit.Words(), NoiseKey(bytes(32)))
    chosen = {"metrics_port": 0, "models": ("scripted",)} | settings
    telemetry = open_telemetry(TelemetrySettings(**chosen))
    async with (
        running_server_async(policy, engine, telemetry=telemetry, record=record) as server,
        httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client,
    ):
        yield Metered(kit, server, client, engine)


class Metered:
    def __init__(self, kit, server, client, engine):
        self.kit, self.server, self.client, self.engine = kit, server, client, engine

    async def ask(self, images=0, **fields):
        body = self.kit.request(images, **fields)
        return await self.client.post("/v1/chat/completions", json=body)

    async def text(self, **headers):
        response = await self.client.get(f"{self.server.metrics.url}/metrics", headers=headers)
        assert response.status_code == 200
        return response

    async def read(self):
        families = text_string_to_metric_families((await self.text()).text)
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }


def value(samples, name, **labels):
    """The sum of the samples of this name with at least these labels."""
    wanted = labels.items()
    return sum(v for (n, has), v in samples.items() if n == name and has >= wanted)


def test_decisions_calls_tokens_and_times_are_counted(run, kit):
    async def scenario():
        async with metered(kit, [*["A picture."] * 400, kit.HARM]) as proxy:
            reply = await proxy.ask(1)
            await proxy.ask()
            return reply, await proxy.read()

    reply, samples = run(scenario())
    samples_drawn = int(reply.headers["x-guardrail-samples"])
    decided = {"policy": "test", "mode": "enforce", "would_block": "false"}
    name = "guardrail_decisions_total"
    assert value(samples, name, decision="pass", reason="certified", **decided) == 1
    assert value(samples, name, decision="pass", **decided) == 2
    of_model = {"upstream": "scripted", "model": "scripted"}
    calls = value(samples, "guardrail_upstream_calls_total", result="answered", **of_model)
    assert calls == samples_drawn + 1
    assert value(samples, "guardrail_upstream_tokens_total", kind="completion", **of_model) > calls
    assert value(samples, "guardrail_oracle_texts_total", result="judged") == calls
    assert value(samples, "guardrail_waves_total", policy="test") >= 1
    for part in ("", "_upstream", "_oracle", "_queue", "_own"):
        count = value(samples, f"guardrail_decision{part}_seconds_count", pictures="yes")
        assert (
            count == value(samples, f"guardrail_decision{part}_seconds_count", pictures="no") == 1
        )
    whole = value(samples, "guardrail_decision_seconds_sum")
    own = value(samples, "guardrail_decision_own_seconds_sum")
    assert whole > own > 0
    route = {"route": "/v1/chat/completions", "status": "200"}
    assert value(samples, "guardrail_requests_total", **route) == 2
    assert value(samples, "process_resident_memory_bytes") > 1e7


def test_the_test_that_stopped_a_request_is_counted(run, kit):
    def shortened(call):
        return "fine" if "What is this?" in str(call.body) else kit.HARM

    async def scenario(script):
        policy = kit.make_policy(threats={"suffix": {"words": 2}})
        async with metered(kit, script, policy=policy) as proxy:
            await proxy.ask(1)
            return await proxy.read()

    name, blocked = "guardrail_decisions_total", {"decision": "block", "reason": "harmful"}
    assert value(run(scenario(shortened)), name, stopped_by="suffix", **blocked) == 1
    assert value(run(scenario([kit.HARM])), name, **blocked) == 1
    passed = run(scenario(["fine"]))
    assert value(passed, name, decision="pass", stopped_by="none") == 1


def test_blocks_faults_and_what_would_be_blocked_are_told_apart(run, kit):
    async def scenario(script, **policy):
        async with metered(kit, script, policy=kit.make_policy(**policy)) as proxy:
            await proxy.ask()
            samples = await proxy.read()
            while policy and not value(samples, name, would_block="true"):
                samples = await proxy.read()  # the decision follows its answer
            return samples

    name = "guardrail_decisions_total"
    blocked = run(scenario([kit.HARM]))
    assert value(blocked, name, decision="block", reason="harmful", would_block="false") == 1
    observed = run(scenario([kit.HARM], mode="observe"))
    assert value(observed, name, mode="observe", decision="pass", would_block="true") == 1
    failed = run(scenario([Step(fault=Fault.STATUS, status=503)]))
    assert value(failed, name, decision="fault", reason="upstream failed") == 1
    assert value(failed, "guardrail_upstream_calls_total", result="fault") == 1


@pytest.fixture
def observers(monkeypatch):
    """The observers of the servers of a test."""
    made, build = [], Observer.__init__

    def init(self, *args):
        made.append(self)
        build(self, *args)

    monkeypatch.setattr(Observer, "__init__", init)
    return made


@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize(
    ("observe", "oracle", "decided", "reason"),
    [
        ({}, None, 6, None),
        ({"wait": True}, None, 6, None),
        ({"share": 0.5}, None, None, "not decided"),
        ({"max_running": 1, "max_waiting": 1}, "hang", 0, "not decided"),
        ({}, RuntimeError("x"), 6, "oracle failed"),
    ],
    ids=["all", "waiting", "share", "full line", "oracle down"],
)
def test_a_request_is_one_decision_in_every_counter(
    run, kit, observers, images, observe, oracle, decided, reason
):
    """However its answer left, and whatever became of the decision behind it."""
    records = []

    def record(verdict, chat):
        records.append(verdict)
        return f"r{len(records)}"

    async def scenario():
        policy = kit.make_policy(mode="observe", observe=observe)
        words = None if oracle is None else kit.Words(oracle)
        async with metered(kit, policy=policy, oracle=words, record=record) as proxy:
            for number in range(6):
                await proxy.ask(images, prompt=f"What {number}?")
            if oracle == "hang":
                await observers[0].aclose()
            await observers[0].wait()
            return await proxy.read()

    samples = run(scenario())
    assert value(samples, "guardrail_decisions_total", mode="observe") == 6
    undecided = value(samples, "guardrail_decisions_total", reason="not decided")
    if decided is not None:
        assert undecided == 6 - decided
    if reason is not None:
        assert value(samples, "guardrail_decisions_total", reason=reason) >= 1
    for part in ("", "_upstream", "_oracle", "_queue", "_own"):
        assert value(samples, f"guardrail_decision{part}_seconds_count") == 6
    assert value(samples, "guardrail_requests_total", route="/v1/chat/completions") == 6
    # A text is judged as it left: nothing is asked, counted or paid for a second time.
    of_answers = 6 if not images else sum(verdict.usage.calls for verdict in records)
    assert value(samples, "guardrail_upstream_calls_total", result="answered") >= 6
    if oracle != "hang":
        assert value(samples, "guardrail_upstream_calls_total") == of_answers
        assert sum(verdict.usage.calls for verdict in records) == of_answers
    observed = [verdict.observation.value for verdict in records]
    assert observed.count("decision") == (0 if observe.get("wait") else 6 - undecided)
    if observe.get("wait"):
        assert set(observed) == {""}
    elif oracle != "hang":
        assert observed.count("decision") == observed.count("followed")
        assert observed.count("left out") == undecided
    else:
        assert observed.count("skipped") == 4


def test_a_decision_that_is_quicker_than_the_record_of_its_answer_counts_once(run, kit, observers):
    decided = asyncio.Event()

    async def record(verdict, chat):
        if verdict.observation.value == "decision":
            decided.set()
        else:
            await decided.wait()
        return "r"

    async def scenario():
        async with metered(kit, policy=kit.make_policy(mode="observe"), record=record) as proxy:
            await proxy.ask()
            await observers[0].wait()
            return await proxy.read()

    samples = run(scenario())
    assert value(samples, "guardrail_decisions_total") == 1
    assert value(samples, "guardrail_decisions_total", reason="not decided") == 0


def test_costs_are_counted(run, kit):
    price = {"input_usd_per_million": 1e6, "output_usd_per_million": 1e6}

    async def scenario():
        policy = kit.make_policy(prices={"scripted": price})
        async with metered(kit, policy=policy, models=()) as proxy:
            await proxy.ask()
            return await proxy.read()

    samples = run(scenario())
    cost = value(samples, "guardrail_upstream_cost_usd_total", model="scripted")
    assert cost == value(samples, "guardrail_upstream_tokens_total", model="scripted") > 0


HOSTILE = ["x" * 5000, 'a"} 1\nevil{b="c', "\u202e", "é", "other", "a\\", "", " ", "\x7f", "{}"]


def test_hostile_names_of_models_make_no_series(run, kit):
    async def scenario():
        async with metered(kit) as proxy:
            await proxy.ask(model="scripted")
            await proxy.ask(model="first")
            few = set(await proxy.read())
            for number in range(60):
                await proxy.ask(model=f"model-{number}", user=f"user-{number}")
            for name in HOSTILE:
                await proxy.ask(model=name)
                await proxy.client.get("/v1/models/" + urllib.parse.quote(name))
                await proxy.client.get("/" + urllib.parse.quote(name))
                await proxy.client.request("GET", "/healthz", headers={"x-request-id": "a" * 200})
            return few, await proxy.read()

    few, samples = run(scenario())
    models = {dict(labels)["model"] for _, labels in samples if "model" in dict(labels)}
    assert models == {"scripted", "other"}
    routes = {dict(labels)["route"] for _, labels in samples if "route" in dict(labels)}
    assert routes <= {"/v1/chat/completions", "/v1/models/{model:path}", "/healthz", "other"}
    new = {labels for _, labels in set(samples) - few}
    assert len(new) < 80  # routes and statuses that were not met before, each with its buckets
    assert value(samples, "guardrail_upstream_calls_total", model="other") >= 61


def test_queues_breakers_and_memory_are_read(run, kit):
    async def scenario():
        remembers = kit.make_policy(memory={"pass": "replay", "block": "replay"})
        async with metered(kit, policy=remembers) as proxy:
            await proxy.ask(1)
            await proxy.ask(1)
            fine = await proxy.read()
        async with metered(kit, [Step(fault=Fault.STATUS, status=503)]) as proxy:
            await proxy.ask()
            return fine, await proxy.read()

    fine, down = run(scenario())
    assert value(fine, "guardrail_remembered_decisions_total", policy="test") == 1
    assert value(fine, "guardrail_remembered_verdicts") == 1
    assert value(fine, "guardrail_remembered_bytes") > 100
    assert value(fine, "guardrail_admission_free") > 1
    assert value(fine, "guardrail_admission_waiting") == 0
    assert value(fine, "guardrail_upstream_in_flight", upstream="scripted") == 0
    assert value(fine, "guardrail_upstream_waiting", upstream="scripted") == 0
    assert value(fine, "guardrail_upstream_breakers", state="open") == 0
    assert value(down, "guardrail_upstream_breakers", upstream="scripted", state="open") == 1


def test_a_pause_that_a_provider_asks_for_is_read(run, kit):
    script = [Step(fault=Fault.STATUS, status=429, retry_after="30"), "A picture."]

    async def scenario():
        async with metered(kit, script) as proxy:
            await proxy.ask()
            return await proxy.read()

    assert value(run(scenario()), "guardrail_upstream_paused_models", upstream="scripted") == 1


def test_decisions_that_cannot_be_kept_are_counted(run, kit):
    def record(_verdict, _chat):
        raise OSError("disk full")

    async def scenario():
        async with metered(kit, record=record) as proxy:
            reply = await proxy.ask()
            return reply, await proxy.read()

    reply, samples = run(scenario())
    assert reply.status_code == 500
    assert value(samples, "guardrail_record_faults_total") == 1
    assert value(samples, "guardrail_decisions_total") == 0


def test_openais_client_is_counted_and_a_cancelled_call_too(run, kit):
    async def scenario():
        async with metered(kit, ["A picture.", Step(fault=Fault.HANG)]) as proxy:
            async with openai.AsyncOpenAI(
                api_key="none", base_url=proxy.server.base_url, max_retries=0
            ) as client:
                await client.chat.completions.create(**kit.request())
                asking = asyncio.create_task(client.chat.completions.create(**kit.request()))
                while len(proxy.engine.upstream.upstream.calls) < 2:  # noqa: ASYNC110 (no event)
                    await asyncio.sleep(0.01)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            while True:
                samples = await proxy.read()
                if value(samples, "guardrail_requests_total", status="499"):
                    return samples
                await asyncio.sleep(0.05)

    samples = run(scenario())
    name = "guardrail_upstream_calls_total"
    assert value(samples, name, result="cancelled") == value(samples, name, result="answered") == 1


def test_an_oracle_that_fails_is_counted(run, kit):
    async def scenario():
        async with metered(kit, oracle=kit.Words(fault=RuntimeError("x"))) as proxy:
            await proxy.ask()
            return await proxy.read()

    assert value(run(scenario()), "guardrail_oracle_texts_total", result="fault") == 1


def test_the_public_port_serves_no_metrics_and_the_other_one_nothing_else(run, kit):
    async def scenario():
        async with metered(kit) as proxy:
            public = await proxy.client.get("/metrics")
            beside = await proxy.client.get(f"{proxy.server.metrics.url}/v1/models")
            text = await proxy.text(accept="application/openmetrics-text; version=1.0.0")
            return public.status_code, beside.status_code, text

    public, beside, response = run(scenario())
    assert (public, beside) == (404, 404)
    assert "openmetrics" in response.headers["content-type"]
    names = {family.name for family in parse_openmetrics(response.text)}
    assert {"guardrail_decisions", "guardrail_admission_free", "guardrail_build_info"} <= names


def test_without_a_port_nothing_is_counted():
    telemetry = open_telemetry(TelemetrySettings())
    assert telemetry.metrics is telemetry.spans is None


class Harmless:
    """An oracle that has been replaced by one that finds harm nowhere."""

    revision = "harmless"

    async def judge(self, exchanges):
        return [Judgement(Outcome.HARMLESS, 0.0) for _ in exchanges]

    async def aclose(self):
        pass


class Hard(Harmless):
    """One that knows harm of the shipped canary."""

    async def judge(self, exchanges):
        harms = ["kill" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]


def test_an_oracle_that_is_replaced_makes_the_canary_fire_within_an_interval(run, kit, logs):
    told = asyncio.Queue()

    async def receive(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        told.put_nowait(json.loads(await reader.readexactly(size)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def scenario():
        hook = await asyncio.start_server(receive, "127.0.0.1", 0)
        port = hook.sockets[0].getsockname()[1]
        settings = {"canary_every_s": 0.3, "webhook": f"http://127.0.0.1:{port}/"}
        async with hook, metered(kit, oracle=Hard(), **settings) as proxy:
            fine = await proxy.read()
            while not value(fine, "guardrail_canary_ok", canary="harmful"):
                await asyncio.sleep(0.02)
                fine = await proxy.read()
            none_yet = told.empty()
            proxy.engine.oracle = Harmless()
            message = await told.get()
            return fine, none_yet, message, await proxy.read()

    fine, none_yet, message, broken = run(scenario())
    assert none_yet
    name = "guardrail_canary_ok"
    assert value(fine, name, canary="harmful") == value(fine, name, canary="harmless") == 1
    assert value(broken, name, canary="harmful") == 0
    assert value(broken, name, canary="harmless") == 1
    assert value(broken, "guardrail_canary_runs_total", canary="harmful", result="wrong") >= 1
    assert value(broken, "guardrail_webhook_messages_total", result="sent") >= 0
    assert abs(value(broken, "guardrail_canary_last_run_timestamp_seconds", canary="harmful")
               - time.time()) < 600  # fmt: skip
    assert (message["event"], message["canary"], message["result"]) == (
        "canary",
        "harmful",
        "wrong",
    )
    assert "kill" not in json.dumps(message)
    errors = [r for r in logs.records if r.name == "guardrail.watch" and r.levelname == "ERROR"]
    assert errors
    assert value(broken, "guardrail_decisions_total") == 0  # a canary is no client's decision


def test_a_canary_that_crashes_is_a_fault_and_the_timer_goes_on(run, kit, monkeypatch):
    async def crash(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr("guardrail.telemetry.background.run_canaries", crash)

    async def scenario():
        async with metered(kit, canary_every_s=0.05) as proxy:
            while True:
                samples = await proxy.read()
                runs = value(samples, "guardrail_canary_runs_total", result="fault")
                if runs >= 2:
                    return samples
                await asyncio.sleep(0.02)

    assert value(run(scenario()), "guardrail_canary_ok", canary="harmful") == 0


def test_a_spike_of_blocks_is_told(run, kit, monkeypatch, logs):
    monkeypatch.setattr("guardrail.telemetry.background._CHECK_SPIKES_S", 0.05)

    async def scenario():
        async with metered(kit, [kit.HARM]) as proxy:
            for _ in range(12):
                await proxy.ask()
            while True:
                samples = await proxy.read()
                if value(samples, "guardrail_block_spikes_total"):
                    return samples
                await asyncio.sleep(0.02)

    run(scenario())
    (line,) = [r for r in logs.records if r.name == "guardrail.watch"]
    assert line.guardrail_fields["blocked"] >= 10


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.nightly
@pytest.mark.skipif(PROMETHEUS is None, reason="NOT TESTED: Debian's package prometheus is missing")
def test_prometheus_scrapes_the_proxy(run, kit, tmp_path):
    port = free_port()
    base = f"http://127.0.0.1:{port}/api/v1"

    async def scenario():
        async with metered(kit) as proxy:
            await proxy.ask(1)
            target = proxy.server.metrics.url.removeprefix("http://")
            config = tmp_path / "prometheus.yml"
            config.write_text(
                "global: {scrape_interval: 1s}\nscrape_configs:\n"
                f"  - job_name: guardrail\n    static_configs: [{{targets: ['{target}']}}]\n"
            )
            process = subprocess.Popen(  # noqa: ASYNC220 (it starts in milliseconds)
                [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
                 f"--web.listen-address=127.0.0.1:{port}"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**os.environ, "GOMAXPROCS": "1"},
            )  # fmt: skip
            try:
                return await found(proxy.client), await targets(proxy.client)
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait)

    async def found(client):
        while True:
            with_query = {"query": "sum(guardrail_decisions_total) by (decision)"}
            try:
                result = (await client.get(f"{base}/query", params=with_query)).json()["data"][
                    "result"
                ]
            except (httpx.HTTPError, ValueError, KeyError):
                result = []
            if result:
                return result
            await asyncio.sleep(0.2)

    async def targets(client):
        return (await client.get(f"{base}/targets")).json()["data"]["activeTargets"]

    result, scraped = run(scenario())
    assert [(row["metric"], row["value"][1]) for row in result] == [({"decision": "pass"}, "1")]
    assert [target["lastError"] for target in scraped] == [""]
