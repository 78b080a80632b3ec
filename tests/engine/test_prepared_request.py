"""A prepared request: its digest, its attempt, its variants, its seeds."""

import asyncio
import dataclasses
import os
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine import prepared_request as module
from guardrail.engine.canonical_chat import request_digest
from guardrail.engine.prepared_request import (
    ATTEMPT_BYTES,
    CLEAN_INDEX,
    ONLY_ATTEMPT,
    PreparedRequest,
    choose_attempt,
    derive_seed,
    draw_attempt,
)
from guardrail.images.keys import NoiseKey
from guardrail.testing.attempts import numbered_attempts, same_attempt
from guardrail.types import Chat
from guardrail.upstreams.chain import UpstreamChain

ATTEMPT = bytes(range(16))


@pytest.fixture
def case(kit):
    pictures = [kit.make_picture(3, 4), kit.make_picture(20, 10, seed=1)]
    return kit.prepare(kit.make_rules(), kit.make_chat(2), pictures, ATTEMPT)


def test_a_case_holds_what_the_noise_meets(kit, case):
    assert [canvas.size for canvas in case.canvases] == [(3, 4), (8, 4)]
    assert [grid.shape for grid in case.grids] == [(3, 4, 3), (8, 4, 3)]
    assert case.geometry.operator_norm == 1.0
    assert case.geometry.grid_slack > 0.0


def test_variants_are_repeated_byte_by_byte(kit, case):
    rules = kit.make_rules()
    first, again = case.make_variant(7, rules, kit.KEY), case.make_variant(7, rules, kit.KEY)
    assert [v.tobytes() for v in first] == [v.tobytes() for v in again]
    assert [v.shape for v in first] == [(3, 4, 3), (8, 4, 3)]
    other = case.make_variant(8, rules, kit.KEY)
    assert all(not np.array_equal(one, two) for one, two in zip(first, other, strict=True))


def test_seeds_differ_by_all_that_a_draw_is_of(kit, case):
    rules = kit.make_rules()
    seeds = {
        derive_seed(key, of, digest, attempt, index)
        for key in (kit.KEY, NoiseKey(bytes(32)))
        for of in (rules, kit.make_rules(digest="cd" * 32))
        for digest in (case.digest, bytes(32))
        for attempt in (ATTEMPT, ONLY_ATTEMPT)
        for index in (0, 1, CLEAN_INDEX)
    }
    assert len(seeds) == 48
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert case.derive_seed(1, rules, kit.KEY) == derive_seed(
        kit.KEY, rules, case.digest, ATTEMPT, 1
    )


def test_another_attempt_meets_other_noise(kit, case):
    rules = kit.make_rules()
    again = dataclasses.replace(case, attempt=ONLY_ATTEMPT)
    for index in range(3):
        first, second = (one.make_variant(index, rules, kit.KEY) for one in (case, again))
        pairs = zip(first, second, strict=True)
        assert all(not np.array_equal(one, two) for one, two in pairs)


def test_a_digest_that_is_known_is_not_taken_again(kit):
    pictures = kit.make_pictures(1)
    known = kit.prepare(kit.make_rules(), kit.make_chat(1), pictures, ATTEMPT, digest=bytes(32))
    assert known.digest == bytes(32)


class Making(PreparedRequest):
    """One whose variants are whatever a function makes."""

    def __init__(self, make):
        object.__setattr__(self, "make", make)

    def make_variant(self, *_):
        return self.make()


def draw(make):
    return Making(make).draw_variant(0, None, None)


def test_variants_are_made_off_the_event_loop():
    name = asyncio.run(draw(lambda: threading.current_thread().name))
    assert name.startswith("guardrail-variants")


def test_a_drawn_variant_is_the_one_that_is_made(kit, case):
    rules = kit.make_rules()
    drawn = asyncio.run(case.draw_variant(7, rules, kit.KEY))
    made = case.make_variant(7, rules, kit.KEY)
    assert [v.tobytes() for v in drawn] == [v.tobytes() for v in made]


def test_no_more_threads_than_processors():
    async def many():
        return await asyncio.gather(*(draw(threading.get_ident) for _ in range(200)))

    assert len(set(asyncio.run(many()))) <= min(os.cpu_count() or 1, 8)


def test_faults_come_back():
    with pytest.raises(ZeroDivisionError):
        asyncio.run(draw(lambda: 1 // 0))


def test_what_nobody_waits_for_is_not_begun():
    gate, begun = threading.Event(), []

    async def cancelled():
        busy = [asyncio.create_task(draw(lambda: gate.wait(20))) for _ in range(8)]
        waiting = asyncio.create_task(draw(lambda: begun.append(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        gate.set()
        await asyncio.gather(*busy)
        await draw(int)

    asyncio.run(cancelled())
    assert begun == []


@dataclass
class Part:
    deterministic: object = False
    by_text: object = False


def test_no_two_attempts_are_alike():
    drawn = {draw_attempt() for _ in range(1000)}
    assert len(drawn) == 1000
    assert {len(one) for one in drawn} == {ATTEMPT_BYTES}


@pytest.mark.parametrize(
    ("upstream", "oracle", "fixed"),
    [
        (Part(True), Part(by_text=True), True),
        (Part(True), Part(deterministic=True), True),
        (Part(True), Part(), False),
        (Part(True), object(), False),
        (Part(False), Part(by_text=True), False),
        (Part("yes"), Part(by_text=True), False),
        (object(), Part(by_text=True), False),
        (UpstreamChain([Part(True), Part(True)]), Part(by_text=True), True),
        (UpstreamChain([Part(True), Part(False)]), Part(by_text=True), False),
    ],
)
def test_an_attempt_is_fresh_wherever_something_is_drawn(upstream, oracle, fixed):
    assert (choose_attempt(upstream, oracle) == ONLY_ATTEMPT) is fixed


def test_tests_may_know_the_attempts():
    with numbered_attempts():
        assert [module.draw_attempt()[-1] for _ in range(3)] == [1, 2, 3]
    with same_attempt():
        assert module.draw_attempt() == module.draw_attempt() == ONLY_ATTEMPT


class TestDigest:
    def digest(self, kit, chat=None, pictures=None):
        return request_digest(chat or kit.make_chat(1), pictures or [kit.make_picture()])

    def test_it_is_the_same_for_the_same_request(self, kit):
        assert self.digest(kit) == self.digest(kit)
        assert len(self.digest(kit)) == 32

    @pytest.mark.parametrize(
        "parameters",
        [{"temperature": 0.0}, {"an_unknown_field": 1}, {"max_tokens": 5}],
        ids=str,
    )
    def test_what_may_change_the_answer_changes_it(self, kit, parameters):
        assert self.digest(kit, kit.make_chat(1, **parameters)) != self.digest(kit)

    def test_the_model_changes_it(self, kit):
        chat = kit.make_chat(1)
        other = Chat("other", chat.messages, chat.parameters, chat.pictures)
        assert self.digest(kit, other) != self.digest(kit, chat)

    def test_the_order_of_pictures_changes_it(self, kit):
        one, two = kit.make_pictures(2)
        chat = kit.make_chat(2)
        assert self.digest(kit, chat, [one, two]) != self.digest(kit, chat, [two, one])

    @given(st.text(max_size=20), st.text(max_size=20))
    def test_texts_never_run_together(self, kit, one, other):
        same = request_digest(kit.make_chat(text=one), ()) == request_digest(
            kit.make_chat(text=other), ()
        )
        assert same == (one == other)
