"""A request prepared: its digest, its variants, its seeds."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.attempt import ONLY_ATTEMPT
from guardrail.engine.case import CLEAN_INDEX, prepare, sampling_seed
from guardrail.engine.digest import request_digest
from guardrail.images.keys import NoiseKey
from guardrail.types import Chat

ATTEMPT = bytes(range(16))


@pytest.fixture
def case(kit):
    pictures = [kit.make_picture(3, 4), kit.make_picture(20, 10, seed=1)]
    return prepare(kit.make_rules(), kit.make_chat(2), pictures, ATTEMPT)


def test_a_case_holds_what_the_noise_meets(kit, case):
    assert [canvas.size for canvas in case.canvases] == [(3, 4), (8, 4)]
    assert [grid.shape for grid in case.grids] == [(3, 4, 3), (8, 4, 3)]
    assert case.where.operator_norm == 1.0
    assert case.where.grid_slack > 0.0


def test_variants_are_repeated_byte_by_byte(kit, case):
    rules = kit.make_rules()
    first, again = case.variants(7, rules, kit.KEY), case.variants(7, rules, kit.KEY)
    assert [v.tobytes() for v in first] == [v.tobytes() for v in again]
    assert [v.shape for v in first] == [(3, 4, 3), (8, 4, 3)]
    other = case.variants(8, rules, kit.KEY)
    assert all(not np.array_equal(one, two) for one, two in zip(first, other, strict=True))


def test_seeds_differ_by_all_that_a_draw_is_of(kit, case):
    rules = kit.make_rules()
    seeds = {
        sampling_seed(key, of, digest, attempt, index)
        for key in (kit.KEY, NoiseKey(bytes(32)))
        for of in (rules, kit.make_rules(digest="cd" * 32))
        for digest in (case.digest, bytes(32))
        for attempt in (ATTEMPT, ONLY_ATTEMPT)
        for index in (0, 1, CLEAN_INDEX)
    }
    assert len(seeds) == 48
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert case.seed(1, rules, kit.KEY) == sampling_seed(kit.KEY, rules, case.digest, ATTEMPT, 1)


def test_another_attempt_meets_other_noise(kit, case):
    rules = kit.make_rules()
    again = dataclasses.replace(case, attempt=ONLY_ATTEMPT)
    for index in range(3):
        first, second = (one.variants(index, rules, kit.KEY) for one in (case, again))
        pairs = zip(first, second, strict=True)
        assert all(not np.array_equal(one, two) for one, two in pairs)


def test_a_digest_that_is_known_is_not_taken_again(kit):
    pictures = kit.make_pictures(1)
    known = prepare(kit.make_rules(), kit.make_chat(1), pictures, ATTEMPT, digest=bytes(32))
    assert known.digest == bytes(32)


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
