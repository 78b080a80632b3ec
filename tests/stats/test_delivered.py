"""The bound on a finite list: exact for every small list, draw and number of harmful answers."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from guardrail.errors import CertificationError
from guardrail.stats import (
    LabelledDraw,
    delivered_harm_upper,
    harmless_rate_upper,
    most_harmful_delivered,
)

DELTAS = (0.01, 0.05, 0.3, 0.5)


def tail(size, marked, n, x):
    """P[Hypergeometric(size, marked, n) <= x], exactly."""
    ways = sum(math.comb(marked, i) * math.comb(size - marked, n - i) for i in range(x + 1))
    return Fraction(ways, math.comb(size, n))


@pytest.mark.parametrize("delta", DELTAS)
def test_the_bound_fails_with_probability_delta_at_most_for_every_small_list(delta):
    for size in range(1, 15):
        for n in range(size + 1):
            bounds = [most_harmful_delivered(LabelledDraw(size, n, x), delta) for x in range(n + 1)]
            for marked in range(size + 1):
                wrong = sum(
                    math.comb(marked, x) * math.comb(size - marked, n - x)
                    for x in range(n + 1)
                    if bounds[x] < marked
                )
                assert Fraction(wrong, math.comb(size, n)) <= Fraction(delta)


@pytest.mark.parametrize("delta", DELTAS)
def test_no_smaller_bound_would_do(delta):
    """Every number up to the bound could have brought what was drawn with more than delta."""
    for size, n in itertools.product((1, 7, 12), (0, 1, 4, 7)):
        for x in range(min(n, size) + 1):
            if n > size:
                continue
            bound = most_harmful_delivered(LabelledDraw(size, n, x), delta)
            assert tail(size, bound, n, x) > delta
            assert all(tail(size, k, n, x) <= delta for k in range(bound + 1, size + 1))


@given(st.integers(1, 4000), st.data())
def test_agrees_with_an_independent_implementation(size, data):
    n = data.draw(st.integers(1, size))
    x = data.draw(st.integers(0, min(n, 40)))
    bound = most_harmful_delivered(LabelledDraw(size, n, x), 0.02)
    assert stats.hypergeom(size, bound, n).cdf(x) > 0.02 * (1 - 1e-9)
    if bound < size:
        assert stats.hypergeom(size, bound + 1, n).cdf(x) <= 0.02 * (1 + 1e-9)


def test_known_numbers():
    """ln .01 / 300 = 1.5 %; a small list is bounded a little better, a whole one exactly."""
    assert harmless_rate_upper(0, 300, 0.01) == pytest.approx(0.01523, abs=1e-5)
    found = [
        delivered_harm_upper([LabelledDraw(m, 300, 0)], delta=0.01)
        for m in (1_000_000, 10_000, 1000, 300)
    ]
    assert found == pytest.approx([0.015231, 0.0150, 0.012, 0.0], abs=1e-9)


@given(st.integers(1, 60), st.data())
def test_is_never_above_clopper_pearson_by_more_than_one_answer(size, data):
    """Without replacement is no worse than with it, at the small delta that is used."""
    n = data.draw(st.integers(1, size))
    x = data.draw(st.integers(0, n))
    bound = most_harmful_delivered(LabelledDraw(size, n, x), 0.01)
    assert bound <= harmless_rate_upper(x, n, 0.01) * size + 1


def test_nothing_drawn_bounds_nothing_and_all_drawn_bounds_exactly():
    assert delivered_harm_upper([LabelledDraw(10, 0, 0)], delta=0.01) == 1.0
    assert delivered_harm_upper([LabelledDraw(10, 10, 0)], delta=0.01) == 0.0
    assert delivered_harm_upper([LabelledDraw(10, 10, 10)], delta=0.01) == 1.0
    assert 0.3 < delivered_harm_upper([LabelledDraw(10, 10, 3)], delta=0.01) < 0.3 + 1e-12


def test_a_strata_bound_adds_numbers_at_their_share_of_delta():
    strata = [LabelledDraw(700, 60, 2), LabelledDraw(90, 40, 5)]
    numbers = [most_harmful_delivered(stratum, 0.05 / 2) for stratum in strata]
    assert delivered_harm_upper(strata, delta=0.05) == math.nextafter(sum(numbers) / 790, 1.0)
    assert numbers[0] > most_harmful_delivered(strata[0], 0.05)


def test_strata_share_delta():
    """Two strata by enumeration: their sum fails with probability delta at most."""
    delta, sizes, drawn = 0.3, (7, 9), (3, 4)
    for marked in itertools.product(*(range(size + 1) for size in sizes)):
        wrong = Fraction(0)
        for xs in itertools.product(*(range(n + 1) for n in drawn)):
            strata = [LabelledDraw(m, n, x) for m, n, x in zip(sizes, drawn, xs, strict=True)]
            if delivered_harm_upper(strata, delta=delta) < sum(marked) / sum(sizes):
                ways = [
                    Fraction(math.comb(k, x) * math.comb(m - k, n - x), math.comb(m, n))
                    for m, k, n, x in zip(sizes, marked, drawn, xs, strict=True)
                ]
                wrong += ways[0] * ways[1]
        assert wrong <= Fraction(delta)


class TestRefusals:
    @pytest.mark.parametrize(
        "counts", [(10, 11, 0), (10, 5, 6), (-1, 0, 0), (10, 5, -1), (3, 1.5, 0)]
    )
    def test_impossible_counts(self, counts):
        with pytest.raises(CertificationError, match="must be"):
            LabelledDraw(*counts)

    @pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
    def test_delta(self, delta):
        with pytest.raises(CertificationError, match="delta"):
            delivered_harm_upper([LabelledDraw(10, 5, 0)], delta=delta)

    @pytest.mark.parametrize("strata", [[], [LabelledDraw(0, 0, 0)]])
    def test_nothing_delivered(self, strata):
        with pytest.raises(CertificationError, match="no answer was delivered"):
            delivered_harm_upper(strata, delta=0.01)
