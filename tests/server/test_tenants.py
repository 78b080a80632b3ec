"""Tenants side by side: what one does or knows is not felt by another."""

import asyncio

from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.limits.breaker import BreakerState
from guardrail.upstreams.limits.call_limits import CallLimits
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Step
from guardrail.upstreams.scripted_server import scripted_server

KEPT = {"memory": {"pass": "replay", "block": "replay"}}


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


async def ask(kit, proxy, secret, images=0, path="/v1/chat/completions", **fields):
    body = kit.request(images, **fields)
    return await proxy.client.post(path, json=body, headers=bearer(secret))


def remembered(response):
    return response.headers.get("x-guardrail-remembered") == "true"


class TestMemory:
    def ask_three(self, run, kit, book, **memory):
        keys = [book.create(tenant=tenant) for tenant in ("acme", "acme", "other")]
        policy = kit.make_policy(memory={**KEPT["memory"], **memory})

        async def scene():
            async with kit.proxy(keys=book.authenticator(), policy=policy) as proxy:
                answers = [await ask(kit, proxy, key, 1) for key in keys]
                return [remembered(answer) for answer in answers], len(proxy.calls)

        return run(scene())

    def test_it_is_a_tenants_own(self, run, kit, book):
        assert self.ask_three(run, kit, book) == ([False, True, False], 64)

    def test_unless_the_policy_shares_it(self, run, kit, book):
        assert self.ask_three(run, kit, book, across_tenants=True) == ([False, True, True], 32)

    def test_what_is_remembered_costs_a_key_nothing(self, run, kit, book):
        first = book.create()
        poor = book.create(limits={"calls_per_minute": 1})
        policy = kit.make_policy(**KEPT)

        async def scene():
            async with kit.proxy(keys=book.authenticator(), policy=policy) as proxy:
                return [(await ask(kit, proxy, key, 1)).status_code for key in (poor, first, poor)]

        assert run(scene()) == [429, 200, 200]

    def test_items_of_another_tenant_cannot_be_named(self, run, kit, book):
        mine, theirs = book.create(tenant="acme"), book.create(tenant="other")

        async def respond(proxy, key, items):
            body = {"model": "scripted", "input": items}
            return await proxy.client.post("/v1/responses", json=body, headers=bearer(key))

        async def scene():
            async with kit.proxy(keys=book.authenticator()) as proxy:
                first = (await respond(proxy, mine, "Hello.")).json()
                named = [{"type": "item_reference", "id": first["output"][0]["id"]},
                         {"role": "user", "content": "And?"}]  # fmt: skip
                return [(await respond(proxy, key, named)).status_code for key in (mine, theirs)]

        assert run(scene()) == [200, 404]


class TestHealth:
    def test_one_tenants_500s_leave_the_other_ones_requests_alone(self, run, kit, book):
        """Both on one model; the faults come back to back, the good requests only now and then."""
        bad, good = book.create(tenant="bad"), book.create(tenant="good")

        def answer(call):
            if "poison" in str(call.body["messages"]):
                return Step(fault=Fault.STATUS, status=500)
            return "A cat."

        async def scene():
            async with scripted_server(answer, model="scripted") as server:
                limits = CallLimits(breaker_faults=3, breaker_after_s=0.0, breaker_open_s=0.2)
                upstream = LimitedUpstream(OpenAICompatible(server.base_url), limits)
                async with kit.proxy(upstream, keys=book.authenticator()) as proxy:
                    ended, faults = asyncio.Event(), []

                    async def poison():
                        while not ended.is_set():
                            faults.append(await ask(kit, proxy, bad, prompt="poison"))

                    poisoners = [asyncio.create_task(poison()) for _ in range(3)]
                    answers = []
                    for _ in range(100):
                        await asyncio.sleep(0.01)
                        answers.append(await ask(kit, proxy, good))
                    ended.set()
                    await asyncio.gather(*poisoners)
                    return answers, faults, upstream.limiter.state

        answers, faults, state = run(scene())
        assert sum(answer.status_code == 200 for answer in answers) >= 99
        assert {fault.status_code for fault in faults} >= {503}  # its own breaker opened
        assert state is BreakerState.CLOSED

    def test_a_model_that_is_down_is_left_alone_by_all(self, run, kit, book):
        keys = [book.create(tenant=name) for name in ("a", "b", "c")]

        async def scene():
            script = [Step(fault=Fault.STATUS, status=500)]
            async with scripted_server(script, model="scripted") as server:
                limits = CallLimits(breaker_faults=4, breaker_after_s=0.0, breaker_open_s=60.0)
                upstream = LimitedUpstream(OpenAICompatible(server.base_url), limits)
                async with kit.proxy(upstream, keys=book.authenticator()) as proxy:
                    for key in keys[:2] * 2:
                        await ask(kit, proxy, key)
                    before = len(server.calls)
                    third = await ask(kit, proxy, keys[2])
                    return third, len(server.calls) - before, upstream.limiter.state

        third, calls, state = run(scene())
        assert (third.status_code, calls, state) == (503, 0, BreakerState.OPEN)


def test_each_keys_tries_share_an_alpha_of_their_own(run, kit, book):
    """A block makes the next try of that key cost more, and of no other one."""
    one, other = book.create(tenant="a"), book.create(tenant="b")
    policy = kit.make_policy(spending={"mode": "principal"}, block={"details": "full"})

    async def scene():
        async with kit.proxy([kit.HARM], keys=book.authenticator(), policy=policy) as proxy:
            numbers = []
            for key in (one, one, other):
                body = (await ask(kit, proxy, key, 1, path="/v1/guardrail/check")).json()
                numbers.append(body["guardrail"]["certificate"]["alpha"])
            return numbers

    first, second, others = run(scene())
    assert second < first == others


def test_one_key_cannot_hold_all_places(run, kit, book):
    """Eight places, sixty requests of one key that never end: another key's request is served."""
    greedy, modest = book.create(tenant="a"), book.create(tenant="b")
    policy = kit.make_policy(
        limits={"max_concurrent_requests": 8, "max_waiting_requests": 100, "retries": 0}
    )

    async def scene():
        gate = asyncio.Event()

        class Slow(kit.Scripted):
            async def complete(self, chat, pictures, *, seed):
                if "slow" in str(chat.messages):
                    await gate.wait()
                return await super().complete(chat, pictures, seed=seed)

        async with kit.proxy(Slow(["A."]), keys=book.authenticator(), policy=policy) as proxy:
            first = await ask(kit, proxy, modest)
            tasks = [asyncio.create_task(ask(kit, proxy, greedy, prompt="slow")) for _ in range(60)]
            await asyncio.sleep(0.5)
            async with asyncio.timeout(10):
                served = await ask(kit, proxy, modest)
            gate.set()
            await asyncio.gather(*tasks)
            return first.status_code, served.status_code

    assert run(scene()) == (200, 200)
