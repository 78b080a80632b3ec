"""What a refused key, model or account costs: one call, counted at the model's own server."""

import asyncio

import httpx
import pytest

from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.policy.upstreams import UpstreamEntry, open_upstream
from guardrail.server.serve import running_server_async
from guardrail.upstreams.scripted import Fault, Step
from guardrail.upstreams.scripted_server import scripted_server


def refusal(status, code=None):
    body = {} if code is None else {"error": {"code": code, "message": "no"}}
    return Step(fault=Fault.STATUS, status=status, response=body, delay_s=0.05)


KINDS = [(401, None), (402, None), (403, None), (404, None), (429, "insufficient_quota")]


@pytest.fixture
def scene(run, kit):
    """Sends pictures through a proxy whose upstream was opened as `serve` opens it."""

    def play(script, act, **policy):
        async def whole():
            built = kit.make_policy(**policy)
            async with scripted_server(script) as model:
                entry = UpstreamEntry(upstream=f"openai_compatible:{model.base_url}")
                engine = Engine(
                    compile_policy(built), open_upstream(entry), kit.Words(), NoiseKey(bytes(32))
                )
                async with (
                    running_server_async(built, engine) as server,
                    httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client,
                ):
                    return await act(client, model)

        return run(whole())

    return play


async def ask(client, kit, number=0):
    body = kit.request(1, prompt=f"What {number}?")
    return await client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize(("status", "code"), KINDS)
def test_a_refusal_costs_one_call_a_decision(scene, kit, status, code, retries):
    async def act(client, model):
        first = await ask(client, kit)
        after_one = len(model.calls)
        await ask(client, kit, 1)
        after_two = len(model.calls)
        replies = await asyncio.gather(*(ask(client, kit, n) for n in range(2, 6)))
        return [first, *replies], (after_one, after_two, len(model.calls))

    replies, counts = scene([refusal(status, code)], act, limits={"retries": retries})
    assert counts == (1, 2, 6)
    assert all(reply.status_code >= 400 for reply in replies)


def test_once_the_key_is_taken_calls_go_side_by_side(scene, kit):
    async def act(client, model):
        body = (await ask(client, kit)).json()
        return body, model.log.peak_in_flight

    body, most = scene([Step("A picture.", delay_s=0.1)], act)
    assert body["guardrail"]["decision"] == "pass"
    assert most > 8


def test_a_key_that_is_revoked_costs_what_is_in_flight_and_then_one_call(scene, kit):
    good = True

    def script(call):
        return Step("A picture.", delay_s=0.02) if good else refusal(401)

    async def act(client, model):
        nonlocal good
        await ask(client, kit)
        good, before = False, len(model.calls)
        await ask(client, kit, 1)
        wave = len(model.calls) - before
        before = len(model.calls)
        for number in range(2, 5):
            await ask(client, kit, number)
        good, refused = True, len(model.calls) - before
        return wave, refused, (await ask(client, kit, 5)).json()

    wave, refused, body = scene(script, act)
    assert wave <= 32  # what the policy sends at a time
    assert refused == 3
    assert body["guardrail"]["decision"] == "pass"
