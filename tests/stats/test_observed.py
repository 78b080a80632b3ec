"""Intervals with unknown outcomes, by exact enumeration of everything that can come about."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from guardrail.errors import CertificationError
from guardrail.stats import (
    LabelledDraw,
    ObservedCounts,
    ObservedStratum,
    anytime_rate_interval,
    anytime_upper,
    fewest_harmful_delivered,
    fewest_observed,
    harmless_rate_lower,
    harmless_rate_upper,
    mixture_interval,
    rate_interval,
    stratified_list_interval,
)

DELTAS = (0.01, 0.05, 0.3)


def list_interval(size, seen, delta):
    return stratified_list_interval([ObservedStratum(size, seen)], delta)


def rates(n):
    """A grid, and the places where coverage jumps: just beside every bound."""
    grid = [i / 40 for i in range(41)]
    bounds = [harmless_rate_upper(k, n, 0.025) for k in range(n + 1)]
    return [*grid, *(b for b in bounds if 0 < b < 1), *(b - 1e-9 for b in bounds if b > 1e-9)]


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize(("n", "u"), [(1, 0), (2, 1), (5, 0), (5, 3), (13, 1), (30, 0), (30, 2)])
def test_the_interval_covers_every_rate_whatever_hides_outcomes(n, u, delta):
    """The adversary sees all outcomes and hides up to u of them so that the interval misses."""
    shown = [
        [
            rate_interval(ObservedCounts(n, k - among, hidden), delta)
            for hidden in range(min(u, n) + 1)
            for among in range(min(hidden, k) + 1)
            if hidden - among <= n - k
        ]
        for k in range(n + 1)
    ]
    for q in rates(n):
        missed = sum(
            math.comb(n, k) * q**k * (1 - q) ** (n - k)
            for k in range(n + 1)
            if any(not one.lower <= q <= one.upper for one in shown[k])
        )
        assert missed <= delta * (1 + 1e-9)


@pytest.mark.no_cover
@pytest.mark.parametrize("delta", DELTAS)
def test_the_share_of_a_list_is_covered_for_every_small_list(delta):
    for size, u in itertools.product(range(1, 12), (0, 2)):
        for n, marked in itertools.product(range(size + 1), range(size + 1)):
            ways = 0
            for x in range(max(0, n - (size - marked)), min(n, marked) + 1):
                can_miss = any(
                    not (interval.lower <= marked / size <= interval.upper)
                    for hidden in range(min(u, n) + 1)
                    for among in range(min(hidden, x) + 1)
                    if hidden - among <= n - x
                    for interval in [
                        list_interval(size, ObservedCounts(n, x - among, hidden), delta)
                    ]
                )
                ways += can_miss * math.comb(marked, x) * math.comb(size - marked, n - x)
            assert Fraction(ways, math.comb(size, n)) <= Fraction(delta)


def crossing(interval, rate, delta, most, rounds):
    """P[the interval misses the rate at a look after 1 … most draws], with the last one hidden."""
    alive, crossed = [1.0], 0.0
    for n in range(1, most + 1):
        alive = [
            (alive[k] * (1 - rate) if k < n else 0.0) + (alive[k - 1] * rate if k else 0.0)
            for k in range(n + 1)
        ]
        if n % rounds:
            continue
        for k in range(n + 1):
            if alive[k] < 1e-9:
                continue
            # Of k that occurred one may be hidden, or one of the others.
            shown = [ObservedCounts(n, k - j, 1) for j in (0, 1) if j <= k < n + j]
            if any(not one.lower <= rate <= one.upper
                   for one in (interval(seen, delta) for seen in shown)):  # fmt: skip
                crossed, alive[k] = crossed + alive[k], 0.0
    return crossed


@pytest.mark.no_cover
@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_only_the_anytime_interval_may_be_looked_at_again_and_again(rate):
    looks = {"delta": 0.3, "most": 100, "rounds": 5}
    assert crossing(anytime_rate_interval, rate, **looks) <= 0.3
    assert crossing(rate_interval, rate, **looks) > 0.3


def test_the_anytime_interval_is_that_of_both_one_sided_sequences():
    one = anytime_rate_interval(ObservedCounts(300, 4, 3), 0.05)
    assert one.upper == anytime_upper(7, 300, 0.025)
    assert 0.0 < one.lower < 4 / 300
    assert (one.lower, one.upper) < (1.0, 1.0)
    fixed = rate_interval(ObservedCounts(300, 4, 3), 0.05)
    assert one.lower < fixed.lower
    assert one.upper > fixed.upper
    nothing = anytime_rate_interval(ObservedCounts(0, 0), 0.05)
    assert (nothing.lower, nothing.upper) == (0.0, 1.0)


def strata_of(always, sampled, drawn):
    """Lists of outcomes, the first looked at whole, of the second those at some places."""
    seen = [sampled[place] for place in drawn]
    return [
        ObservedStratum(len(always), ObservedCounts(len(always), sum(always))),
        ObservedStratum(len(sampled), ObservedCounts(len(seen), sum(seen))),
    ]


@pytest.mark.no_cover
@pytest.mark.parametrize("delta", DELTAS)
def test_a_list_of_two_strata_is_covered_for_every_choice(delta):
    for stops, size, n in itertools.product((0, 1, 4), (3, 8), (0, 1, 3)):
        always = [True] * stops + [False] * (4 - stops)
        for marked in range(size + 1):
            sampled = [True] * marked + [False] * (size - marked)
            share = (stops + marked) / (4 + size)
            missed = 0
            for drawn in itertools.combinations(range(size), n):
                one = stratified_list_interval(strata_of(always, sampled, drawn), delta)
                missed += not one.lower <= share <= one.upper
            assert Fraction(missed, math.comb(size, n)) <= Fraction(delta)


def test_pooling_strata_that_were_drawn_unequally_would_not_hold():
    """40 requests decided on a route that always decides, all stopped, beside 400 harmless ones."""
    strata = strata_of([True] * 40, [False] * 400, range(40))
    share, rate = 40 / 440, 40 / 440
    pooled = ObservedCounts(80, 40)
    assert not list_interval(440, pooled, 0.05).lower <= share
    assert not rate_interval(pooled, 0.05).lower <= rate
    assert stratified_list_interval(strata, 0.05).lower <= share
    for interval in (rate_interval, anytime_rate_interval):
        one = mixture_interval(strata, 0.05, interval)
        assert one.lower <= rate <= one.upper < 0.35


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("interval", [rate_interval, anytime_rate_interval])
def test_the_rate_of_a_mixture_is_covered(interval, delta):
    """Every pair of counts of a stratum that is drawn whole and of one that is drawn in part."""
    sizes, drawn = (6, 20), (6, 5)
    bounds = {
        (i, j): mixture_interval(
            [ObservedStratum(size, ObservedCounts(n, k))
             for size, n, k in zip(sizes, drawn, (i, j), strict=True)], delta, interval)
        for i in range(drawn[0] + 1) for j in range(drawn[1] + 1)
    }  # fmt: skip
    for p, q in itertools.product((0.0, 0.02, 0.3, 0.9, 1.0), repeat=2):
        rate = (sizes[0] * p + sizes[1] * q) / sum(sizes)
        missed = sum(
            math.comb(drawn[0], i) * p**i * (1 - p) ** (drawn[0] - i)
            * math.comb(drawn[1], j) * q**j * (1 - q) ** (drawn[1] - j)
            for (i, j), one in bounds.items()
            if not one.lower <= rate <= one.upper
        )  # fmt: skip
        assert missed <= delta * (1 + 1e-9)


def test_strata_that_were_drawn_whole_are_one_sample():
    strata = [ObservedStratum(n, ObservedCounts(n, k, u)) for n, k, u in ((5, 1, 1), (9, 2, 0))]
    assert mixture_interval(strata, 0.05, rate_interval) == rate_interval(
        ObservedCounts(14, 3, 1), 0.05
    )
    assert mixture_interval([], 0.05, rate_interval).upper == 1.0
    undrawn = [ObservedStratum(3, ObservedCounts(0, 0)), ObservedStratum(0, ObservedCounts(0, 0))]
    assert mixture_interval(undrawn, 0.05, rate_interval).upper == 1.0
    with pytest.raises(CertificationError, match="must be"):
        ObservedStratum(3, ObservedCounts(4, 0))


@pytest.mark.parametrize("delta", DELTAS)
def test_no_larger_lower_number_would_do(delta):
    for size, n in itertools.product((1, 6, 11), (0, 1, 4)):
        for x in range(min(n, size) + 1):
            if n > size:
                continue
            bound = fewest_harmful_delivered(LabelledDraw(size, n, x), delta)

            def tail(marked, n=n, x=x, size=size):
                ways = sum(
                    math.comb(marked, i) * math.comb(size - marked, n - i) for i in range(x, n + 1)
                )
                return Fraction(ways, math.comb(size, n))

            assert tail(bound) > Fraction(delta)
            assert all(tail(k) <= Fraction(delta) for k in range(bound))


def test_it_is_clopper_pearson_where_all_is_known():
    interval = rate_interval(ObservedCounts(300, 4), 0.05)
    assert interval.lower == harmless_rate_lower(4, 300, 0.025)
    assert interval.upper == harmless_rate_upper(4, 300, 0.025)
    assert rate_interval(ObservedCounts(0, 0), 0.05).lower == 0.0
    assert rate_interval(ObservedCounts(0, 0), 0.05).upper == 1.0


def test_unknown_outcomes_widen_the_upper_side_alone():
    known, unknown = (rate_interval(ObservedCounts(300, 4, u), 0.05) for u in (0, 9))
    assert known.lower == unknown.lower
    assert unknown.upper == harmless_rate_upper(13, 300, 0.025)
    whole = list_interval(300, ObservedCounts(300, 4, 9), 0.05)
    assert whole.lower == pytest.approx(4 / 300)
    assert whole.upper == pytest.approx(13 / 300)


def test_a_list_that_was_seen_whole_is_known_exactly():
    for occurred in (0, 3, 8):
        interval = list_interval(8, ObservedCounts(8, occurred), 0.05)
        assert interval.lower <= occurred / 8 <= interval.upper
        assert interval.upper - interval.lower < 1e-12


def test_as_many_are_foretold_as_are_enough():
    needed = fewest_observed(0.0, 0.01, 0.05)
    assert anytime_upper(0, needed, 0.025) <= 0.01 < anytime_upper(0, needed - 1, 0.025)
    more = fewest_observed(0.005, 0.01, 0.05)
    assert anytime_rate_interval(ObservedCounts(more, math.ceil(0.005 * more)), 0.05).upper <= 0.01
    assert more > needed
    assert fewest_observed(0.0, 0.999, 0.9) == 1


@pytest.mark.parametrize(
    "counts", [(3, 4, 0), (3, 2, 2), (-1, 0, 0), (3, -1, 0), (3, 0, -1), (3, 1.5, 0), (3, 0, 4)]
)
def test_impossible_counts_are_refused(counts):
    with pytest.raises(CertificationError, match="must be"):
        ObservedCounts(*counts)


def test_arguments_out_of_range_are_refused():
    seen = ObservedCounts(3, 1)
    for delta in (0.0, 1.0, math.nan):
        with pytest.raises(CertificationError, match="delta"):
            rate_interval(seen, delta)
        with pytest.raises(CertificationError, match="delta"):
            list_interval(3, seen, delta)
        with pytest.raises(CertificationError, match="delta"):
            fewest_observed(0.0, 0.1, delta)
        with pytest.raises(CertificationError, match="delta"):
            fewest_harmful_delivered(LabelledDraw(3, 3, 1), delta)
    for size in (0, 2):
        with pytest.raises(CertificationError):
            list_interval(size, seen, 0.05)
    for rate, limit in ((0.1, 0.1), (-0.1, 0.1), (0.0, 0.0), (0.0, 1.0), (math.nan, 0.1)):
        with pytest.raises(CertificationError):
            fewest_observed(rate, limit, 0.05)
    with pytest.raises(CertificationError, match="too close"):
        fewest_observed(0.1, math.nextafter(0.1, 1.0), 0.05)
