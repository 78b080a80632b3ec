"""Spending over the wire: what raises the price of a try, what is answered when none is left."""

import asyncio

import pytest

from guardrail.api.service import Service
from guardrail.api.settings import ServerSettings
from guardrail.engine.plan import UNSCALED, required_rate
from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy
from guardrail.stats import spent_alpha
from guardrail.stats.fixed import smallest_fixed
from guardrail.upstreams.scripted import Fault, Step

ROUTES = ["/v1/chat/completions", "/v1/responses", "/v1/guardrail/check", "/v1/messages"]


def spending(kit, **fields):
    return kit.make_policy(spending={"mode": "principal"}, **fields)


def only_for_the_first(kit):
    """A policy with a test at the first number's alpha and none at the second's."""
    rules = compile_policy(kit.make_policy())
    asked = required_rate(rules, UNSCALED), rules.q1, rules.power
    first, second = (
        smallest_fixed(asked[0], spent_alpha(rules.alpha, k), *asked[1:])[0] for k in (1, 2)
    )
    assert first < second
    return spending(kit, sampling={"max_samples": first})


def body(kit, route, index, **fields):
    if route == "/v1/messages":
        source = {"type": "base64", "data": kit.data_url().partition(",")[2]}
        parts = [{"type": "text", "text": f"question {index}"}, {"type": "image", "source": source}]
        asked = {"model": "scripted", "max_tokens": 9, **fields}
        return {**asked, "messages": [{"role": "user", "content": parts}]}
    if route != "/v1/responses":
        return kit.request(1, prompt=f"question {index}", **fields)
    parts = [
        {"type": "input_text", "text": f"question {index}"},
        {"type": "input_image", "image_url": kit.data_url()},
    ]
    return {"model": "scripted", "input": [{"role": "user", "content": parts}], **fields}


async def ask(proxy, kit, index=0, route=ROUTES[0], **fields):
    return await proxy.client.post(route, json=body(kit, route, index, **fields))


def alpha_of(response):
    return float(response.headers["x-guardrail-alpha"])


def test_all_routes_spend_from_one_account(run, kit):
    async def scenario():
        async with kit.proxy([kit.HARM], policy=spending(kit)) as proxy:
            found = [await ask(proxy, kit, i, route) for i, route in enumerate(ROUTES)]
            litellm = {
                "input_type": "request",
                "structured_messages": kit.request(1)["messages"],
                "model": "scripted",
            }
            path = "/beta/litellm_basic_guardrail_api"
            blocked = await proxy.client.post(path, json=litellm)
            return found, blocked, await ask(proxy, kit, 5)

    found, blocked, last = run(scenario())
    due = [spent_alpha(0.001, k) for k in (1, 2, 3, 4)]
    assert [alpha_of(response) for response in found] == due
    assert [response.json()["guardrail"]["alpha"] for response in found] == due
    assert blocked.json()["action"] == "BLOCKED"
    assert alpha_of(last) == spent_alpha(0.001, 6)


@pytest.mark.parametrize("mode", ["end_user", "off"])
def test_without_client_keys_nobody_spends_by_default(run, kit, mode):
    async def scenario():
        policy = kit.make_policy(spending={"mode": mode})
        async with kit.proxy([kit.HARM], policy=policy) as proxy:
            named = {"user": "mallory", "safety_identifier": "mallory"}
            return [await ask(proxy, kit, i, **named) for i in range(3)]

    assert [alpha_of(response) for response in run(scenario())] == [0.001] * 3


def test_a_field_of_the_request_names_no_principal(run, kit):
    """Who could choose a name for each try would have all of alpha at each."""

    async def scenario():
        async with kit.proxy([kit.HARM], policy=spending(kit)) as proxy:
            return [await ask(proxy, kit, i, user=f"user {i}") for i in range(2)]

    assert [alpha_of(response) for response in run(scenario())] == [
        spent_alpha(0.001, k) for k in (1, 2)
    ]


def test_a_block_that_is_remembered_holds_no_number(run, kit):
    """Nothing is drawn; and where it was found at a larger alpha, it serves a stricter try too."""

    async def scenario():
        policy = spending(kit, memory={"block": "replay"})
        async with kit.proxy([kit.HARM], policy=policy) as proxy:
            return [await ask(proxy, kit, index) for index in (0, 0, 0, 1)]

    first, again, once_more, other = run(scenario())
    assert alpha_of(first) == alpha_of(again) == alpha_of(once_more) == spent_alpha(0.001, 1)
    assert alpha_of(other) == spent_alpha(0.001, 2)


def test_texts_and_passes_spend_nothing(run, kit):
    def script(call):
        return kit.HARM if "harm" in str(call.body["messages"]) else "A picture."

    async def scenario():
        async with kit.proxy(script, policy=spending(kit)) as proxy:
            text = await proxy.chat(prompt="harm")
            return text, [await ask(proxy, kit, i) for i in range(3)]

    text, passed = run(scenario())
    assert text.headers["x-guardrail-decision"] == "block"
    assert "x-guardrail-alpha" not in text.headers
    assert text.json()["guardrail"]["alpha"] is None
    for response in passed:
        assert response.headers["x-guardrail-decision"] == "pass"
        assert alpha_of(response) == spent_alpha(0.001, 1)
        assert response.json()["guardrail"]["certificate"]["alpha"] == spent_alpha(0.001, 1)


def test_spent_attempts_are_a_429_and_no_block(run, kit):
    async def scenario():
        async with kit.proxy([kit.HARM], policy=only_for_the_first(kit)) as proxy:
            first = await ask(proxy, kit)
            calls = len(proxy.calls)
            later = [await ask(proxy, kit, i, route) for i, route in enumerate(ROUTES, start=1)]
            assert len(proxy.calls) == calls
            return first, later

    first, later = run(scenario())
    assert first.headers["x-guardrail-decision"] == "block"
    for response in later:
        assert response.status_code == 429
        error = kit.error_of(response)
        assert (error["code"], error["type"]) == ("attempts_spent", "rate_limit_error")
        assert 86_000 < int(response.headers["retry-after"]) <= 86_400
        about = response.json()["guardrail"]
        assert (about["decision"], about["reason"]) == ("fault", "attempts spent")
        assert about["alpha"] == spent_alpha(0.001, 2)
        assert "samples" not in about


def test_a_client_that_hangs_up_has_spent_its_try(run, kit):
    async def scenario():
        async with kit.proxy([Step(fault=Fault.HANG)], policy=spending(kit)) as proxy:
            task = asyncio.create_task(ask(proxy, kit))
            async with asyncio.timeout(15):
                while not proxy.calls:  # noqa: ASYNC110 (the calls have no event)
                    await asyncio.sleep(0.005)
                task.cancel()
                while proxy.upstream.log.in_flight:  # noqa: ASYNC110 (as above)
                    await asyncio.sleep(0.005)
            proxy.upstream.log.script = ["A picture."]
            return await ask(proxy, kit)

    assert alpha_of(run(scenario())) == spent_alpha(0.001, 2)


def test_observing_spends_nothing(run, kit):
    async def scenario():
        policy = spending(kit, mode="observe", observe={"wait": True})
        async with kit.proxy([kit.HARM], policy=policy) as proxy:
            return [await ask(proxy, kit, i) for i in range(2)]

    for response in run(scenario()):
        assert alpha_of(response) == 0.001
        assert response.headers["x-guardrail-would-block"] == "true"


def test_a_stream_that_began_ends_in_the_error(run, kit):
    async def scenario():
        policy, settings = (
            only_for_the_first(kit),
            ServerSettings(first_byte_s=0.0, heartbeat_s=0.001),
        )
        async with kit.proxy([kit.HARM], policy=policy, settings=settings) as proxy:
            await ask(proxy, kit)
            return await ask(proxy, kit, 1, stream=True)

    *_, error, done = kit.events_of(run(scenario()).text)
    assert (error["error"]["code"], done) == ("attempts_spent", "[DONE]")


class TestService:
    def service(self, kit, **sections):
        from guardrail.engine.engine import Engine
        from guardrail.images.keys import NoiseKey
        from guardrail.upstreams.scripted import Scripted

        policy = kit.make_policy(**sections)
        rules = compile_policy(policy)
        return Service(policy, Engine(rules, Scripted(["x"]), kit.Words(), NoiseKey(bytes(32))))

    @pytest.mark.parametrize(
        ("mode", "nobody", "somebody"),
        [("off", False, False), ("end_user", False, True), ("principal", True, True)],
    )
    def test_whose_tries_are_counted(self, kit, mode, nobody, somebody):
        service = self.service(kit, spending={"mode": mode})
        assert (service.principal() is not None) is nobody
        assert (service.principal("mallory") is not None) is somebody

    def test_nobody_can_take_the_name_of_all(self, kit):
        service = self.service(kit, spending={"mode": "principal"})
        everybody = service.principal()
        names = {service.principal(name).name for name in (everybody.name, "mallory", "end user: ")}
        assert len(names | {everybody.name}) == 4

    def test_principals_are_not_shown(self, kit):
        service = self.service(kit)
        assert "mallory" not in repr(service.principal("mallory"))

    def test_an_empty_name_is_refused(self, kit):
        with pytest.raises(ConfigError, match="principal"):
            self.service(kit).principal("")

    def test_a_policy_that_leaves_no_first_try_is_refused_when_somebody_is_named(self, kit):
        rules = compile_policy(kit.make_policy())
        asked = rules.alpha, rules.q1, rules.power
        enough, _ = smallest_fixed(required_rate(rules, UNSCALED), *asked)
        service = self.service(kit, sampling={"max_samples": enough})
        assert service.principal() is None
        with pytest.raises(ConfigError, match="the first try of a principal"):
            service.principal("mallory")
        with pytest.raises(ConfigError, match="the first try of a principal"):
            self.service(kit, sampling={"max_samples": enough}, spending={"mode": "principal"})
