"""Equal requests in process: which models share what is remembered, and which never do."""

import asyncio
import threading
import time

import openai
import pytest

from guardrail.policy.schema import Policy

REPLAY = {"pass": "replay", "block": "replay"}


def remembering(kit, upstream=None, **options):
    return kit.make_guard(upstream, policy=kit.make_policy(memory=REPLAY), **options)


def counting(kit, calls, text="A picture."):
    def call(body):
        calls.append(body)
        return kit.completion(text)

    return call


def test_a_guard_s_own_model_answers_once(kit):
    calls = []
    with remembering(kit, counting(kit, calls)) as guard:
        first, again = [guard.decide_sync(kit.request(1)) for _ in range(2)]
        assert not first.verdict.remembered
        assert again.verdict.remembered
        assert again.guardrail["remembered"]
        assert again.body("raise")["choices"] == first.body("raise")["choices"]
        assert len(calls) == first.verdict.usage.calls
        guard.decide_sync(kit.request(1, prompt="Another?"))
        assert len(calls) > first.verdict.usage.calls


def test_models_that_calls_bring_along_share_nothing(kit):
    """Two of them may have the same name and be anything."""
    one, other = [], []
    with remembering(kit) as guard:
        texts = [
            guard.complete_sync(kit.request(1), upstream=counting(kit, calls, text))
            for calls, text in ((one, "A cat."), (other, "A dog."), (one, "A cat."))
        ]
    said = [body["choices"][0]["message"]["content"] for body in texts]
    assert said == ["A cat.", "A dog.", "A cat."]
    assert len(one) == 2 * len(other)


def test_callers_in_many_threads_share_one_decision(kit):
    calls, found = [], []

    def slow(body):
        time.sleep(0.05)
        return counting(kit, calls)(body)

    with remembering(kit, slow) as guard:
        threads = [
            threading.Thread(target=lambda: found.append(guard.decide_sync(kit.request(1))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 8
    assert sum(not result.verdict.remembered for result in found) == 1
    assert len(calls) == sum(result.verdict.usage.calls for result in found)


def test_callers_on_two_loops_do_not_wait_for_each_other_s(kit):
    """An async function runs on its caller's loop, which may end before the other one's."""
    loops = set()

    async def call(_):
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0.05)
        return kit.completion()

    found = []
    with remembering(kit, call) as guard:
        threads = [
            threading.Thread(target=lambda: found.append(asyncio.run(guard.decide(kit.request(1)))))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        later = asyncio.run(guard.decide(kit.request(1)))
    assert later.verdict.remembered
    assert len(loops) == sum(not result.verdict.remembered for result in found)


class TestWrappedClients:
    @pytest.fixture
    def served(self, kit):
        with kit.model(["A picture."]) as server:
            yield server

    def client(self, served, key="k"):
        return openai.OpenAI(base_url=served.base_url, api_key=key, max_retries=0)

    def ask(self, kit, client, **options):
        made = client.chat.completions.create(**kit.request(1), **options)
        return made.model_extra["guardrail"]["remembered"]

    def test_a_client_shares_with_itself_and_with_no_other(self, kit, served):
        with remembering(kit) as guard:
            mine, yours = (guard.wrap(self.client(served)) for _ in range(2))
            assert [self.ask(kit, client) for client in (mine, mine, yours, mine)] == [
                False, True, False, True,
            ]  # fmt: skip

    def test_what_is_sent_beside_the_request_counts(self, kit, served):
        with remembering(kit) as guard:
            client = guard.wrap(self.client(served))
            assert not self.ask(kit, client)
            assert not self.ask(kit, client, extra_headers={"x-beta": "1"})
            assert self.ask(kit, client, extra_headers={"x-beta": "1"})
            assert not self.ask(kit, client, extra_query={"version": "2"})
            assert self.ask(kit, client)

    @pytest.mark.filterwarnings("ignore")  # litellm and its models warn about themselves
    def test_litellm_s_own_options_count(self, kit, served):
        import litellm

        given = {**kit.request(1), "model": "openai/scripted", "api_base": served.base_url}
        with remembering(kit) as guard:
            complete = guard.wrap(litellm.completion)

            def found(**options):
                made = complete(**given, api_key="k", **options)
                return made.guardrail["remembered"]

            assert [found(), found()] == [False, True]
            assert [found(top_k=3), found(top_k=3)] == [False, True]
            assert [found(client=None), found(client=None)] == [False, True]
            odd = {"metadata": {"key": object()}}
            assert [found(**odd), found(**odd)] == [False, False]


def test_remembering_is_the_default(kit):
    plain = Policy.model_validate({"name": "x", "oracle": {"miss_rate_upper": 0.01}})
    assert (plain.advanced.memory.on_pass, plain.advanced.memory.on_block) == ("replay", "replay")
    calls = []
    with kit.make_guard(counting(kit, calls), policy=plain) as guard:
        guard.decide_sync(kit.request(1))
        assert guard.decide_sync(kit.request(1)).verdict.remembered
