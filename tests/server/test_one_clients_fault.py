"""What one client's requests meet stays with them, and is told as what it is."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.records.recorder import Recorder
from guardrail.records.writer import RecordWriter
from guardrail.server.serve import running_server_async
from guardrail.testing.journal import MemoryJournal
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Step
from guardrail.upstreams.scripted_server import scripted_server

ANXIOUS = CallLimits(breaker_faults=1, breaker_after_s=0.0, breaker_open_s=600.0)
"""The slightest fault of the upstream would take it away from everybody."""


@asynccontextmanager
async def proxy(kit, script, *, line=ANXIOUS, options=None, model="fake", **policy):
    """(a client, the server behind the proxy, the upstream, the journal)"""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(scripted_server(script, model=model))
        upstream = LimitedUpstream(OpenAICompatible(server.base_url, **(options or {})), line)
        policy = kit.make_policy(**policy)
        engine = Engine(compile_policy(policy), upstream, kit.Words(), NoiseKey(bytes(32)))
        journal = MemoryJournal()
        running = running_server_async(
            policy,
            engine,
            settings=ServerSettings(first_byte_s=60.0, heartbeat_s=60.0),
            record=Recorder(RecordWriter(journal), engine),
        )
        guard = await stack.enter_async_context(running)
        client = httpx.AsyncClient(base_url=guard.url, timeout=60, trust_env=False)
        yield await stack.enter_async_context(client), server, upstream, journal


async def ask(kit, client, images=0, **fields):
    return await client.post("/v1/chat/completions", json=kit.request(images, **fields))


def first(steps, then="A cat."):
    """The first calls as given, all others answered."""
    return [*steps, then]


def choice(message, finish_reason="stop", **more):
    one = {"index": 0, "finish_reason": finish_reason, **more}
    if message is not None:
        one["message"] = message
    return {"id": "c", "object": "chat.completion", "model": "fake", "choices": [one]}


def call_of(**function):
    call = {"id": "a", "type": "function", "function": function}
    return choice({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")


UNUSABLE = {
    "an error of 429": {"id": None, "choices": None, "error": {"message": "m", "code": 429}},
    "an error of 502": {"choices": [], "error": {"message": "m", "code": 502}},
    "an error of 401": {"error": {"message": "m", "code": 401}},
    "an error in words": {"error": "no provider"},
    "an error in the choice": choice({"content": "half"}, "error", error={"code": 502}),
    "an object of another kind": {"object": "error", "message": "m", "code": 400},
    "nothing": {},
    "a list": [],
    "no choice": {"choices": []},
    "choices null": {"choices": None},
    "two choices": {"choices": choice({"content": "x"})["choices"] * 2},
    "a choice of null": {"choices": [None]},
    "no message": choice(None),
    "a message of null": {"choices": [{"message": None, "finish_reason": "stop"}]},
    "an empty message": choice({"role": "assistant", "content": ""}),
    "nothing but reasoning": choice({"content": None, "reasoning_content": "hm"}, "length"),
    "another role": choice({"role": "tool", "content": "x"}),
    "a number for content": choice({"content": 7}),
    "a part without text": choice({"content": [{"type": "text"}]}),
    "broken off": choice({"content": "half"}, "abort"),
    "a finish_reason of another type": choice({"content": "x"}, 7),
    "a call without a name": call_of(arguments="{}"),
    "arguments that are a number": call_of(name="f", arguments=7),
    "arguments that are a list": call_of(name="f", arguments=[]),
    "calls that are text": choice({"content": None, "tool_calls": "f()"}, "tool_calls"),
    "a filter's error": {"error": {"message": "m", "code": "content_filter"}},
    "a filter's error behind words": choice({"content": "half"}, "x", error={"code": 400}),
    "an answer from a cache": {**choice({"content": "A cat."}), "cache_hit": True},
}


def test_an_unusable_200_takes_the_model_from_nobody(run, kit):
    """The same model, and no answer between the faults of the other client."""

    async def scene():
        sampling = {"sampling": {"max_parallel": 8}}
        async with proxy(kit, ["A cat."], **sampling) as (client, server, upstream, journal):
            found = {}
            for name, body in UNUSABLE.items():
                server.log.script = [Step(response=body)]
                before = len(server.calls)
                bad = await ask(kit, client, 1)
                calls, record = len(server.calls) - before, journal.records[-1]
                server.log.script = ["A cat."]
                good = await ask(kit, client)
                found[name] = bad, calls, record, good, upstream.limiter.state
            return found

    for name, (bad, calls, record, good, state) in run(scene()).items():
        assert bad.status_code >= 400, name
        assert bad.headers["x-guardrail-decision"] == "fault", name
        assert bad.json()["guardrail"]["reason"] == "upstream failed", name
        assert (record.action, record.reason) == ("fault", "upstream failed"), name
        assert calls == len({sample.index for sample in record.samples}), name  # none again
        assert (good.status_code, state) == (200, BreakerState.CLOSED), name


USABLE = {
    "arguments null": (call_of(name="get_time", arguments=None), "{}"),
    "arguments missing": (call_of(name="get_time"), "{}"),
    "arguments an object": (call_of(name="get_time", arguments={"a": 1}), '{"a": 1}'),
    "arguments text": (call_of(name="get_time", arguments='{"a":1}'), '{"a":1}'),
}


@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize(("body", "arguments"), USABLE.values(), ids=USABLE)
def test_calls_in_the_forms_that_clients_take_pass(run, kit, body, arguments, images):
    async def scene():
        async with proxy(kit, [Step(response=body)]) as (client, _, upstream, _journal):
            return await ask(kit, client, images), upstream.limiter.state

    response, state = run(scene())
    assert response.status_code == 200
    assert response.json()["guardrail"]["decision"] == "pass"
    (call,) = response.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == arguments
    assert state is BreakerState.CLOSED


FILTERED = [
    Step(response=choice(None, "content_filter", content_filter_results={"violence": {}})),
    Step(response=choice({"role": "assistant"}, "content_filter")),
    Step(fault=Fault.STATUS, status=400, response={"error": {
        "message": "m", "code": "content_filter", "param": "prompt",
        "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
    Step(fault=Fault.STATUS, status=400, response={"error": {
        "message": "m", "code": "content_policy_violation", "type": "invalid_request_error"}}),
]  # fmt: skip


@pytest.mark.parametrize("harmless", [True, False])
@pytest.mark.parametrize("step", FILTERED)
def test_a_filter_is_a_refusal_and_counts_as_the_policy_says(run, kit, step, harmless):
    rules = {"failures": {"refusals_are_harmless": harmless}}

    async def scene():
        async with proxy(kit, first([step]), **rules) as (client, server, _, journal):
            one_of_many = await ask(kit, client, 1)
            counted = [sample.outcome for sample in journal.records[0].samples]
            server.log.script = [step]
            return one_of_many, counted, await ask(kit, client, 1), await ask(kit, client)

    one, counted, every, text = run(scene())
    assert counted.count("harmful") == (not harmless)
    assert counted.count("missing") == 0
    assert one.status_code == 200
    for response in (every, text):
        body = response.json()
        assert response.status_code == 200
        assert body["guardrail"]["decision"] == ("pass" if harmless else "block")
        assert body["choices"][0]["finish_reason"] == "content_filter"


def test_a_400_of_another_cause_still_ends_the_decision(run, kit):
    step = Step(fault=Fault.STATUS, status=400)

    async def scene():
        async with proxy(kit, first([step])) as (client, _, _, _journal):
            return await ask(kit, client, 1)

    response = run(scene())
    assert response.status_code == 400
    assert response.headers["x-guardrail-decision"] == "fault"


class TestTenants:
    """One asks a model that fails, the other one another model, or none of the pictures."""

    @pytest.mark.parametrize("fault", [
        Step(fault=Fault.STATUS, status=500), Step(fault=Fault.STATUS, status=503),
        Step(fault=Fault.RESET), Step(fault=Fault.GARBAGE),
        Step(fault=Fault.STATUS, status=429, retry_after="30"),
        Step(response={"error": {"code": 429}}),
    ])  # fmt: skip
    def test_another_model_is_served_as_ever(self, run, kit, fault):
        def script(call):
            return fault if call.body["model"] == "a" else "A cat."

        async def scene():
            rules = {"limits": {"deadline_s": 20.0}}
            async with proxy(kit, script, **rules) as (client, _, _, _journal):
                bad = [await ask(kit, client, 1, model="a") for _ in range(3)]
                good = []
                for _ in range(8):
                    _, *answers = await asyncio.gather(
                        ask(kit, client, model="a"), *(ask(kit, client, model="b") for _ in "1234")
                    )
                    good += answers
                return bad, good

        bad, good = run(scene())
        assert all(response.status_code >= 429 for response in bad)
        served = sum(response.status_code == 200 for response in good)
        assert served / len(good) >= 0.99

    def test_the_same_model_lives_as_long_as_it_answers_somebody(self, run, kit):
        """One picture is dozens of faults at once, and yet one event."""

        def script(call):
            return Step(fault=Fault.STATUS, status=500) if call.pictures else "A cat."

        async def scene():
            limits = CallLimits(breaker_faults=3, breaker_after_s=0.0)
            async with proxy(kit, script, line=limits) as (client, _, _, _journal):
                good = []
                for _ in range(8):
                    _, *answers = await asyncio.gather(
                        ask(kit, client, 1), ask(kit, client), ask(kit, client)
                    )
                    good += answers
                return good

        good = run(scene())
        assert sum(response.status_code == 200 for response in good) / len(good) >= 0.99


class TestPauses:
    """A rate limit is told as one, and at once where waiting is of no use."""

    LIMITED = Step(fault=Fault.STATUS, status=429, retry_after="37")

    def test_a_pause_beyond_the_deadline(self, run, kit):
        def script(call):
            return self.LIMITED if call.body["model"] == "a" else "A cat."

        async def scene():
            limits = {"limits": {"deadline_s": 30.0}}
            proxied = proxy(kit, script, line=CallLimits(), **limits)
            async with proxied as (client, server, _, _journal):
                first = await ask(kit, client, model="a")
                loop = asyncio.get_running_loop()
                began = loop.time()
                other = await ask(kit, client, model="b")
                same = [await ask(kit, client, images, model="a") for images in (0, 1)]
                return first, other, same, loop.time() - began, len(server.calls)

        first, other, same, took_s, calls = run(scene())
        assert (first.status_code, first.headers["retry-after"]) == (429, "37")
        assert other.status_code == 200
        assert took_s < 10.0
        for response in same:
            assert response.status_code == 429
            assert 25 <= int(response.headers["retry-after"]) <= 37
            assert "rate limited" in response.json()["error"]["message"]
            assert response.json()["guardrail"]["decision"] == "fault"
            assert "x-should-retry" not in response.headers
        assert calls == 2

    def test_a_pause_of_another_cause_is_503(self, run, kit):
        script = [Step(fault=Fault.STATUS, status=503, retry_after="37")]

        async def scene():
            limits = {"limits": {"deadline_s": 30.0}}
            async with proxy(kit, script, line=CallLimits(), **limits) as (client, _, _, _journal):
                await ask(kit, client)
                return await ask(kit, client)

        response = run(scene())
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 25

    @pytest.mark.parametrize("images", [0, 1])
    def test_a_deadline_spent_in_line(self, run, kit, images):
        async def scene():
            limits, rules = CallLimits(max_concurrency=1), {"limits": {"deadline_s": 0.3}}
            proxied = proxy(kit, ["A cat."], line=limits, **rules)
            async with proxied as (client, server, upstream, journal):
                held = await upstream.limiter.enter("another decision", model="scripted")
                response = await ask(kit, client, images)
                return response, held, len(server.calls), journal.records[0]

        response, _, calls, record = run(scene())
        assert (response.status_code, calls) == (503, 0)
        assert response.json()["error"]["code"] == "upstream_overloaded"
        assert response.headers["retry-after"] == "5"
        assert "x-should-retry" not in response.headers
        assert (record.action, record.reason) == ("fault", "deadline")

    def test_one_spent_on_the_model_is_504(self, run, kit):
        async def scene():
            rules = {"limits": {"deadline_s": 0.3}}
            script = [Step(fault=Fault.HANG)]
            async with proxy(kit, script, line=CallLimits(), **rules) as (client, _, _, _journal):
                return await ask(kit, client, 1)

        assert run(scene()).status_code == 504


def error(**fields):
    return {"error": {"message": "secret words", **fields}}


ALIKE = {
    "a wrong key": (Step(fault=Fault.STATUS, status=401, response=error(code="invalid_api_key")),
                    502, "upstream_auth", "invalid_api_key"),
    "no access": (Step(fault=Fault.STATUS, status=403), 502, "upstream_auth", "API key"),
    "a quota": (Step(fault=Fault.STATUS, status=429, response=error(code="insufficient_quota")),
                429, "insufficient_quota", "quota is used up"),
    "a quota in a 200": (Step(response=error(code="insufficient_quota")), 429,
                         "insufficient_quota", "quota is used up"),
    "a limit without a time": (Step(fault=Fault.STATUS, status=429), 429, "scripted", "429"),
    "a key in a 200": (Step(response=error(code=401)), 502, "upstream_auth", "API key"),
    "reasoning": (Step(response=choice({"content": None, "reasoning": "hm"}, "length")), 502,
                  "upstream_empty_answer", "reasoning used all of max_tokens"),
    "no choice": (Step(response={"choices": []}), 502, "upstream_malformed_response", "no choice"),
}  # fmt: skip


@pytest.mark.parametrize("retry", ["undrawn", "any"])
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize(("step", "status", "code", "words"), ALIKE.values(), ids=ALIKE)
def test_a_whole_wave_that_fails_alike_ends_it(run, kit, step, status, code, words, direct, retry):
    wave = 8

    async def scene():
        rules = {"limits": {"retry": retry, "retries": 4}, "sampling": {"max_parallel": wave}}
        proxied = proxy(kit, [step], line=CallLimits(), options={"direct": direct}, **rules)
        async with proxied as (client, server, _, journal):
            return await ask(kit, client, 1), len(server.calls), journal.records

    response, calls, (record,) = run(scene())
    body = response.json()
    assert (response.status_code, body["error"]["code"]) == (status, code)
    assert words in body["error"]["message"]
    assert "secret" not in response.text
    assert (body["guardrail"]["decision"], record.action) == ("fault", "fault")
    rounds = -(-record_samples(record) // wave) or 1
    assert calls <= wave * rounds + (wave if retry == "any" or direct else 0)


def record_samples(record):
    return len(record.samples)


PRICE = {"input_usd_per_million": 1.0, "output_usd_per_million": 1.0}
CAPPED = {"limits": {"max_cost_usd_per_request": 1.0}}


class TestPrices:
    """Where the cost is limited every model needs a price, and who must mend what is told."""

    def answer(self, run, kit, prices, asked, model_map=None):
        async def scene():
            options = {"model_map": model_map or {}}
            rules = {**CAPPED, "prices": prices}
            async with proxy(kit, ["A cat."], options=options, **rules) as (client, server, _, _j):
                return await ask(kit, client, model=asked), len(server.calls)

        return run(scene())

    @pytest.mark.parametrize("name", ["big", "vision-large", "*"])
    def test_one_under_either_name_is_found(self, run, kit, name):
        response, _ = self.answer(run, kit, {name: PRICE}, "big", {"big": "vision-large"})
        assert response.status_code == 200

    def test_a_model_that_nobody_has_is_a_404(self, run, kit):
        response, calls = self.answer(run, kit, {"fake": PRICE}, "no-such-model")
        assert (response.status_code, calls) == (404, 0)
        assert response.json()["error"]["code"] == "model_not_found"

    def test_one_without_a_price_is_told_and_logged(self, run, kit, caplog):
        response, calls = self.answer(run, kit, {"another": PRICE}, "fake")
        assert (response.status_code, calls) == (500, 0)
        body = response.json()
        assert body["error"]["code"] == "misconfigured"
        assert "advanced.prices" in body["error"]["message"]
        assert body["guardrail"]["reason"] == "misconfigured"
        assert response.headers["x-should-retry"] == "false"
        assert "advanced.prices" in caplog.text


def test_a_refused_key_is_logged(run, kit, caplog):
    async def scene():
        async with proxy(kit, [Step(fault=Fault.STATUS, status=401)]) as (client, _, _, _journal):
            await ask(kit, client)

    run(scene())
    assert "API key" in caplog.text


def test_a_streamed_request_is_told_the_same(run, kit):
    """With its own status, while the stream has not begun."""

    async def scene():
        script = [Step(fault=Fault.STATUS, status=401)]
        async with proxy(kit, script) as (client, _, _, _journal):
            return await ask(kit, client, 1, stream=True)

    response = run(scene())
    assert response.status_code == 502
    assert json.loads(response.text)["error"]["code"] == "upstream_auth"
