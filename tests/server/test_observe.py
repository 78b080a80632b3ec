"""Observe mode: the model's own answer leaves at once, and the decision is recorded behind it."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.api.observer import is_chosen
from guardrail.images.keys import NoiseKey
from guardrail.upstreams.scripted import Fault, Step

KEY = NoiseKey(bytes(32))


@pytest.fixture
def observed(run, kit):
    """Asks a proxy in observe mode; the replies, what was recorded in time, and the model's calls.

    `then` runs before the server ends, with the proxy.
    """

    def asked(script=("A cat.",), *, images=(1,), oracle=None, then=None, **observe):
        records = []

        def record(verdict, chat):
            records.append((verdict, chat))
            return f"r{len(records)}"

        async def scene():
            policy = kit.make_policy(mode="observe", observe=observe)
            async with kit.proxy(script, policy=policy, oracle=oracle, record=record) as proxy:
                replies = [await proxy.chat(images=n, prompt=f"What {i}?")
                           for i, n in enumerate(images)]  # fmt: skip
                if then is not None:
                    await then(proxy, records)
                return replies, records, proxy

        return run(scene())

    return asked


async def decided(_proxy, records, *, count=2):
    """Waits until so many records are there."""
    end = time.monotonic() + 20
    while len(records) < count and time.monotonic() < end:  # noqa: ASYNC110 (another task's list)
        await asyncio.sleep(0.01)


def test_the_answer_leaves_before_anything_is_judged(observed, kit):
    hanging = kit.Words("hang")

    async def nothing_judged(proxy, records):
        assert len(records) == 1

    (reply,), _, _ = observed([kit.HARM], oracle=hanging, then=nothing_judged)
    body = reply.json()
    assert body["choices"][0]["message"]["content"] == kit.HARM
    assert (body["guardrail"]["decision"], body["guardrail"]["reason"]) == ("pass", "not decided")
    assert body["guardrail"]["would_block"] is None
    assert body["guardrail"]["outside_claim"]
    assert body["guardrail"]["unscanned"] == ["answer"]
    assert body["guardrail"]["record_id"] == "r1"
    assert reply.headers["x-guardrail-would-block"] == "unknown"
    assert reply.headers["x-guardrail-mode"] == "observe"


@pytest.mark.parametrize("images", [0, 1])
@pytest.mark.parametrize("harmful", [False, True])
def test_the_decision_is_recorded_behind_it(observed, kit, images, harmful):
    text = kit.HARM if harmful else "A cat."
    _, records, proxy = observed([text], images=[images], then=decided)
    (first, _), (second, _) = records
    assert (first.reason.value, first.answer.text) == ("not decided", text)
    assert second.would_block is harmful
    assert second.reason.is_judgement
    assert second.answer.text == text
    assert (second.certificate is not None) is bool(images)
    # The answer that left is the one that is judged: a text is not asked for again.
    assert len(proxy.calls) == 1 + (second.certificate.samples if images else 0)


def test_a_model_that_is_down_is_told_and_followed_by_nothing(observed, kit):
    (reply,), records, _ = observed([Step(fault=Fault.STATUS, status=503)])
    assert reply.status_code in (502, 503)
    assert len(records) == 1


def test_a_full_line_skips_and_still_answers(observed, kit):
    replies, records, _ = observed(
        oracle=kit.Words("hang"), images=[1] * 5, max_running=1, max_waiting=1
    )
    assert [reply.status_code for reply in replies] == [200] * 5
    assert len(records) == 5


def test_an_oracle_that_fails_is_recorded_and_changes_nothing(observed, kit):
    (reply,), records, _ = observed(oracle=kit.Words(RuntimeError("x")), then=decided)
    assert reply.json()["choices"][0]["message"]["content"] == "A cat."
    assert records[1][0].reason.value == "oracle failed"
    assert not records[1][0].would_block


def test_the_check_route_waits_for_its_verdict(run, kit):
    async def scene():
        async with kit.proxy([kit.HARM], policy=kit.make_policy(mode="observe")) as proxy:
            reply = await proxy.client.post("/v1/guardrail/check", json=kit.request(1))
            return reply.json()["guardrail"]

    assert run(scene())["would_block"] is True


def test_a_share_is_decided(observed, kit):
    async def settle(proxy, records):
        await asyncio.sleep(0.5)

    _, records, _ = observed(images=[0] * 40, share=0.25, then=settle)
    chosen = [verdict for verdict, _ in records if verdict.reason.is_judgement]
    assert 1 <= len(chosen) <= 25
    assert len(records) == 40 + len(chosen)


@given(st.binary(min_size=32, max_size=32))
def test_who_is_chosen_hangs_on_key_and_request_alone(digest):
    assert is_chosen(KEY, digest, 1.0)
    assert is_chosen(KEY, digest, 0.3) == is_chosen(KEY, digest, 0.3)
    if is_chosen(KEY, digest, 0.1):
        assert is_chosen(KEY, digest, 0.2)


def test_the_share_is_about_what_was_asked_for():
    digests = [number.to_bytes(32, "big") for number in range(20_000)]
    count = sum(is_chosen(KEY, digest, 0.05) for digest in digests)
    assert 850 < count < 1150  # 1000, give or take five standard deviations
    other = NoiseKey(bytes([1] * 32))
    assert any(is_chosen(KEY, d, 0.05) != is_chosen(other, d, 0.05) for d in digests)
