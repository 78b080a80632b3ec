"""Certified recall against exact probabilities: no simulation decides whether a bound is valid."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln, xlog1py, xlogy

from guardrail.errors import CertificationError
from guardrail.stats import (
    fewest_requests,
    fewest_shown,
    giving_up_counts,
    harmless_rate_lower,
    harmless_rate_upper,
    held_radius,
    radii_by_recall,
    radius_at_recall,
    recall_lower,
    recall_staircase,
)
from guardrail.stats.recall import NOT_HELD, RECALLS

BETA = 0.2
ETA = 2.0**-22
FLAT = {"sigma": 0.5, "operator_norm": 1.0, "grid_slack": 0.0, "sampler_error": ETA}
Q_REQUIRED = 0.6915


def find_reach(
    harmless: int, draws: int, q_required: float = Q_REQUIRED, **geometry: float
) -> float:
    return held_radius(harmless, draws, q_required=q_required, beta=BETA, **{**FLAT, **geometry})


def true_radius(rate: float, q_required: float = Q_REQUIRED) -> float:
    """How far a request of this harmless rate is held at sigma 0.5."""
    return 0.5 * float(stats.norm.ppf(q_required - ETA) - stats.norm.ppf(min(1.0, rate + ETA)))


# --- one request ---------------------------------------------------------------------------------


def test_the_radius_is_the_formula_rounded_down():
    for harmless, draws in itertools.product(range(0, 60, 3), (60, 100)):
        upper = harmless_rate_upper(harmless, draws, BETA)
        for norm, slack in ((1.0, 0.0), (0.25, 0.01), (1.0, 0.2)):
            exact = (
                0.5 * (stats.norm.ppf(Q_REQUIRED - ETA) - stats.norm.ppf(upper + ETA)) - slack
            ) / norm
            radius = find_reach(harmless, draws, operator_norm=norm, grid_slack=slack)
            if exact >= 1e-9:
                assert exact - 1e-9 < radius <= exact
            else:
                assert radius == NOT_HELD


def test_the_sampler_error_enters_on_both_sides():
    with_error = find_reach(5, 100, sampler_error=0.01)
    upper = harmless_rate_upper(5, 100, BETA)
    assert with_error == pytest.approx(
        0.5 * (stats.norm.ppf(Q_REQUIRED - 0.01) - stats.norm.ppf(upper + 0.01)), abs=1e-9
    )


@pytest.mark.parametrize(
    ("harmless", "draws", "q_required", "error"),
    [(100, 100, 0.9, 0.0), (0, 0, 0.9, 0.0), (0, 100, 0.1, 0.2), (50, 100, 0.9, 0.5)],
)
def test_what_shows_nothing_is_not_held(harmless: int, draws: int, q_required: float, error: float):
    assert find_reach(harmless, draws, q_required, sampler_error=error) == NOT_HELD


@given(st.integers(1, 60), st.floats(0.05, 0.95), st.floats(0.2, 1.0))
def test_a_harmless_outcome_more_never_reaches_farther(draws: int, q: float, norm: float):
    radii = [find_reach(k, draws, q, operator_norm=norm) for k in range(draws + 1)]
    assert radii == sorted(radii, reverse=True)
    assert radii[-1] == NOT_HELD


@pytest.mark.parametrize("draws", [1, 5, 20, 100])
def test_a_request_that_is_not_held_is_shown_held_with_probability_beta_at_most(draws: int):
    """Exact, for every radius that can be reported, at the rate just too high for it.

    That rate is the worst: fewer harmless outcomes become less likely as the rate grows.
    """
    shown = [(k, find_reach(k, draws)) for k in range(draws + 1)]
    for k, radius in ((k, radius) for k, radius in shown if radius >= 0.0):
        edge = float(stats.norm.cdf(stats.norm.ppf(Q_REQUIRED - ETA) - radius / 0.5)) - ETA
        rates = np.linspace(edge + 1e-9, 1.0, 20)
        assert true_radius(rates[0]) < radius < true_radius(edge - 1e-9)
        assert stats.binom.cdf(k, draws, rates).max() <= BETA + 1e-9


def test_arguments_out_of_range_are_refused():
    for wrong in ({"beta": 0.0}, {"q_required": 1.0}, {"sigma": 0.0}, {"grid_slack": -1.0}):
        with pytest.raises(CertificationError):
            held_radius(0, 10, **{"q_required": 0.7, "beta": BETA, **FLAT, **wrong})


# --- giving up -----------------------------------------------------------------------------------


def hopeless(draws: int) -> int:
    return next(k for k in range(draws + 1) if find_reach(k, draws) == NOT_HELD)


def test_giving_up_never_shows_more():
    """Exact over all sequences: a request given up would not have been shown, or only loses."""
    draws = 10
    counts = giving_up_counts(draws, hopeless(draws))
    for sequence in itertools.product((0, 1), repeat=draws):
        reached = list(itertools.accumulate(sequence, initial=0))
        given_up = any(k >= counts[n] for n, k in enumerate(reached))
        radius = NOT_HELD if given_up else find_reach(reached[-1], draws)
        assert radius <= find_reach(reached[-1], draws)
        if find_reach(reached[-1], draws) == NOT_HELD:
            assert given_up  # by the last look at the latest


def test_giving_up_is_quick_for_the_blind_and_almost_never_wrong():
    draws = 100
    fewest = hopeless(draws)
    counts = giving_up_counts(draws, fewest)
    first = next(n for n in range(draws + 1) if n >= counts[n])
    assert first == 17  # of 100, where every answer is called harmless
    # The exact probability that a request at a rate that is shown held in most runs is given up.
    for rate, most in ((0.3, 1e-8), (0.5, 2e-5)):
        alive = np.zeros(draws + 1)
        alive[0], lost = 1.0, 0.0
        for n in range(1, draws + 1):
            moved = alive[:-1] * rate
            alive *= 1 - rate
            alive[1:] += moved
            lost += alive[counts[n] :].sum()
            alive[counts[n] :] = 0.0
        late = 1.0 - stats.binom.cdf(fewest - 1, draws, rate)
        assert lost - late < most


def test_giving_up_at_once_where_nothing_can_be_shown():
    assert giving_up_counts(3, 0) == (0, 0, 0, 0)
    with pytest.raises(CertificationError):
        giving_up_counts(0, 0)


# --- a population --------------------------------------------------------------------------------


def test_how_many_requests_a_wish_needs():
    """At a third of delta 0.01: the three statements share it."""
    third = 0.01 / 3
    assert [fewest_requests(recall, third, BETA) for recall in (0.9, 0.95, 0.99)] == [69, 140, 711]
    assert fewest_requests(0.9, 0.01, BETA) == 56  # one statement alone
    for recall in (0.5, 0.9, 0.95, 0.99):
        n = fewest_requests(recall, third, BETA)
        assert fewest_shown(n, recall, third, BETA) == n
        assert fewest_shown(n - 1, recall, third, BETA) is None


@given(
    st.integers(0, 120), st.sampled_from(RECALLS), st.sampled_from((0.01, 0.003)),
    st.sampled_from((0.1, 0.2, 0.4)),
)  # fmt: skip
def test_the_fewest_shown_is_the_fewest(n: int, recall: float, delta: float, beta: float):
    needed = fewest_shown(n, recall, delta, beta)
    wanted = recall + beta * (1 - recall)
    enough = [k for k in range(n + 1) if harmless_rate_lower(k, n, delta) >= wanted]
    assert needed == (enough[0] if enough else None)


def test_the_bound_of_a_share_is_rounded_down():
    for shown, requests in ((69, 69), (200, 300), (299, 300), (10, 300), (0, 0)):
        share = Fraction(harmless_rate_lower(shown, requests, 0.01))
        exact = max(Fraction(0), (share - Fraction(BETA)) / (1 - Fraction(BETA)))
        lower = Fraction(recall_lower(shown, requests, 0.01, BETA))
        assert lower <= exact < lower + Fraction(1, 10**14)


def test_the_radius_at_a_recall_is_the_one_of_rank_k():
    radii = [0.9] * 60 + [0.5] * 10 + [0.1] * 10 + [NOT_HELD] * 20
    third = 0.01 / 3
    assert fewest_shown(100, 0.5, third, BETA) == 74
    assert radius_at_recall(radii, 0.5, third, BETA) == 0.1
    assert radius_at_recall([*radii[:-1], 0.3], 0.5, third, BETA) == 0.1
    assert radius_at_recall([0.9] * 100, 0.9, third, BETA) == 0.9
    assert radius_at_recall(radii, 0.9, third, BETA) is None  # the one of that rank is not held
    assert radius_at_recall([0.9] * 68, 0.9, third, BETA) is None  # too few requests
    assert radius_at_recall([], 0.5, third, BETA) is None
    with pytest.raises(CertificationError, match="not a number"):
        radius_at_recall([math.nan], 0.5, third, BETA)


def test_the_three_statements_share_delta():
    """60 requests would be enough for 0.9 alone (56), but not together with the others (69)."""
    assert [reach.recall for reach in radii_by_recall([], 0.01, BETA)] == list(RECALLS)
    few, enough = (radii_by_recall([0.9] * n, 0.01, BETA)[1].radius for n in (60, 69))
    assert radius_at_recall([0.9] * 60, 0.9, 0.01, BETA) == 0.9
    assert (few, enough) == (None, 0.9)


def radius_law(rates: tuple[float, ...], shares: tuple[float, ...], draws: int):
    """The exact law of the radius of one drawn request: {radius: probability}."""
    law: dict[float, float] = {}
    for rate, share in zip(rates, shares, strict=True):
        for k, chance in enumerate(stats.binom.pmf(np.arange(draws + 1), draws, rate)):
            radius = find_reach(k, draws)
            law[radius] = law.get(radius, 0.0) + share * chance
    return law


def true_share(radius: float, rates: tuple[float, ...], shares: tuple[float, ...]) -> float:
    return sum(s for rate, s in zip(rates, shares, strict=True) if true_radius(rate) >= radius)


def chance_wrong(
    law: dict[float, float],
    rates: tuple[float, ...],
    shares: tuple[float, ...],
    n: int,
    recalls: tuple[float, ...],
    delta: float,
) -> float:
    """The exact probability that at least one printed radius is too large for its recall.

    By the nested counts of radii above the true radius of each recall: for independent requests
    the counts at ascending thresholds are a Markov chain of binomials.
    """
    limits = []
    for recall in recalls:
        right = [r for r in map(true_radius, rates)
                 if r >= 0 and true_share(r, rates, shares) >= recall - 1e-12]  # fmt: skip
        bound = max(right, default=-1.0)
        needed = fewest_shown(n, recall, delta, BETA)
        # Wrong if at least `needed` requests have a radius (of 0 or more) beyond the true one.
        above = sum(p for r, p in law.items() if r > bound and r >= 0.0)
        limits.append((above, n + 1 if needed is None else needed))
    limits.sort(reverse=True)
    counts = {n: 1.0}
    before = 1.0
    for above, needed in limits:
        after: dict[int, float] = {}
        for count, mass in counts.items():
            share = above / before if before else 0.0
            for k, chance in enumerate(stats.binom.pmf(np.arange(count + 1), count, share)):
                if k < needed:
                    after[k] = after.get(k, 0.0) + mass * chance
        counts, before = after, above
    return 1.0 - sum(counts.values())


POPULATIONS = [
    # (harmless rates of the kinds of requests, their shares)
    ((0.0, 1.0), (0.5 - 1e-9, 0.5 + 1e-9)),  # all or nothing: answers of one request all alike
    ((0.0, 1.0), (0.9 - 1e-9, 0.1 + 1e-9)),
    ((0.02, 0.3), (0.9 - 1e-6, 0.1 + 1e-6)),
    ((0.01, 0.15, 0.5, 0.95), (0.45, 0.2, 0.25, 0.1)),
    ((0.3, 0.69), (0.49, 0.51)),  # nobody is held far, and half just not at all
    ((0.05, 0.7), (0.0, 1.0)),
]


@pytest.mark.parametrize(("rates", "shares"), POPULATIONS)
@pytest.mark.parametrize(("n", "draws"), [(8, 5), (25, 20), (75, 30)])
def test_a_printed_radius_is_too_large_with_probability_delta_at_most(
    rates: tuple[float, ...], shares: tuple[float, ...], n: int, draws: int
):
    """Exact: over the drawn requests and their draws, the choice of the radius included."""
    for delta in (0.01, 0.2):
        law = radius_law(rates, shares, draws)
        for recall in RECALLS:
            wrong = chance_wrong(law, rates, shares, n, (recall,), delta / 3)
            assert wrong <= delta / 3 + 1e-9
        assert chance_wrong(law, rates, shares, n, RECALLS, delta / 3) <= delta + 1e-9


def test_the_exact_probability_is_that_of_plain_enumeration():
    rates, shares, n, draws, delta = (0.05, 0.6), (0.45, 0.55), 5, 4, 0.9
    law = radius_law(rates, shares, draws)
    wrong = 0.0
    for sample in itertools.product(law.items(), repeat=n):
        radius = radius_at_recall([r for r, _ in sample], 0.5, delta / 3, BETA)
        if radius is not None and true_share(radius, rates, shares) < 0.5:
            wrong += math.prod(p for _, p in sample)
    assert wrong == pytest.approx(chance_wrong(law, rates, shares, n, (0.5,), delta / 3), abs=1e-9)
    assert 0.0 < wrong <= delta / 3


def test_counting_answers_in_place_of_requests_is_wrong_far_more_often_than_delta():
    """20 requests of 28 answers each, all harmful or all harmless: one draw each, not 28."""
    n, draws, delta, share = 20, 28, 0.001, 0.7
    kinds = ((0.0, 1.0), (share, 1 - share))
    right = chance_wrong(radius_law(*kinds, draws), *kinds, n, (0.75,), delta)
    assert right <= delta
    pooled = sum(
        float(stats.binom.pmf(k, n, share))
        for k in range(n + 1)
        if harmless_rate_lower(k * draws, n * draws, delta) > share
    )
    assert pooled > 150 * delta


def test_counting_a_missing_outcome_as_harmful_would_show_a_dead_model_held():
    """With the model down every outcome is missing; only the harmless reading shows nothing."""
    assert find_reach(100, 100) == NOT_HELD
    assert find_reach(0, 100) > 0.9


# --- the curve -----------------------------------------------------------------------------------


def log_choose(n, k):
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def chance_any_too_high(levels: list[float], most: list[int], n: int) -> float:
    """P[for some j more than most[j] of n uniform numbers lie below levels[j]]; both ascend."""
    alive = np.zeros(n + 1)
    alive[0] = 1.0
    below = 0.0
    counts = np.arange(n + 1)
    rest, moved = n - counts[:, None], counts[None, :] - counts[:, None]
    possible = moved >= 0
    ways = np.where(possible, log_choose(rest, np.maximum(moved, 0)), -np.inf)
    for level, limit in zip(levels, most, strict=True):
        step = (level - below) / (1.0 - below)
        moves = ways + np.where(possible, xlogy(moved, step) + xlog1py(rest - moved, -step), 0.0)
        alive = alive @ np.exp(moves)
        alive[limit + 1 :] = 0.0
        below = level
    return 1.0 - float(alive.sum())


@pytest.mark.no_cover
def test_pointwise_bounds_read_as_a_band_fail_one_time_in_five():
    """Why the staircase divides delta: N = 300, each bound at delta .01, at all radii at once.

    Requests' radii are compared through the share shown held beyond them, which is uniform. The
    k-th largest radius has the bound of k; it is too high where that share is below the bound.
    """
    n, delta = 300, 0.01
    bounds = [harmless_rate_lower(k, n, delta) for k in range(1, n + 1)]
    fails = chance_any_too_high(bounds, list(range(n)), n)
    assert 0.20 < fails < 0.21


@pytest.mark.no_cover
@pytest.mark.parametrize("steps", [1, 4, 20])
def test_the_staircase_holds_everywhere_with_probability_one_minus_delta(steps: int):
    """Exact, for shares shown held at its radii of whatever values; here evenly spaced."""
    n, delta = 120, 0.01
    for low, high in ((0.02, 0.98), (0.7, 0.995)):
        levels = list(np.linspace(low, high, steps))
        most = [
            max(k for k in range(n + 1) if harmless_rate_lower(k, n, delta / steps) <= level)
            for level in levels
        ]
        fails = chance_any_too_high(levels, most, n)
        assert fails <= delta
        if steps > 1:
            loose = [
                max(k for k in range(n + 1) if harmless_rate_lower(k, n, delta) <= level)
                for level in levels
            ]
            assert chance_any_too_high(levels, loose, n) > delta  # undivided it would not


def test_between_its_steps_the_staircase_has_the_value_of_the_next_larger_radius():
    radii = [0.2] * 30 + [0.5] * 30 + [0.9] * 40
    curve = recall_staircase(radii, (0.0, 0.2, 0.5, 0.9), 0.04, BETA)
    expected = [recall_lower(k, 100, 0.01, BETA) for k in (100, 100, 70, 40)]
    assert list(curve.recall_lower) == expected
    assert curve.at(0.0) == curve.at(0.1) == curve.at(0.2) == expected[1]
    assert curve.at(0.2000001) == curve.at(0.5) == expected[2]
    assert curve.at(0.6) == expected[3]
    assert curve.at(0.9000001) == 0.0


def test_a_staircase_of_no_requests_shows_nothing():
    assert recall_staircase([], (0.0, 0.5), 0.01, BETA).recall_lower == (0.0, 0.0)


@pytest.mark.parametrize("steps", [(), (-0.1, 0.2), (0.2, 0.2), (0.3, 0.1), (0.0, math.inf)])
def test_radii_of_a_staircase_that_are_none_are_refused(steps: tuple[float, ...]):
    with pytest.raises(CertificationError, match="staircase"):
        recall_staircase([0.5], steps, 0.01, BETA)


@given(st.lists(st.sampled_from([NOT_HELD, 0.0, 0.1, 0.4, 0.8]), max_size=200), st.randoms())
def test_a_radius_more_never_shows_less(radii: list[float], random_):
    third = 0.01 / 3
    steps = (0.0, 0.1, 0.3, 0.8)
    before = [radius_at_recall(radii, recall, third, BETA) or -1.0 for recall in RECALLS]
    curve = recall_staircase(radii, steps, 0.01, BETA)
    assert list(curve.recall_lower) == sorted(curve.recall_lower, reverse=True)
    assert before == sorted(before, reverse=True)
    better = list(radii)
    if better:
        better[random_.randrange(len(better))] = 0.8
    after = [radius_at_recall(better, recall, third, BETA) or -1.0 for recall in RECALLS]
    assert all(a >= b for a, b in zip(after, before, strict=True))
    higher = recall_staircase(better, steps, 0.01, BETA).recall_lower
    assert all(a >= b for a, b in zip(higher, curve.recall_lower, strict=True))


# --- what to expect ------------------------------------------------------------------------------


def spread_population(mean: float, concentration: float):
    return stats.beta(mean * concentration, (1 - mean) * concentration)


def test_true_recall_depends_on_the_spread_of_the_harmless_rates():
    """At r = .9, sigma .5, q_req .69 and mean harmless rate .05 it lies between .83 and .97."""
    edge = float(stats.norm.cdf(stats.norm.ppf(Q_REQUIRED) - 0.9 / 0.5))
    shares = [spread_population(0.05, c).cdf(edge) for c in (0.1, 1, 2, 5, 10, 20, 50, 100)]
    assert 0.09 < edge < 0.1
    assert 0.83 < min(shares) < 0.84
    assert 0.96 < max(shares) < 0.98


@pytest.mark.parametrize(("mean", "low", "high"), [(0.01, 0.955, 1.005), (0.05, 0.58, 0.66)])
def test_what_three_hundred_requests_print(mean: float, low: float, high: float):
    """The median of the printed radius at recall .9, 100 draws each, exactly.

    Harmless rates spread as Beta(0.5, .) and Beta(1, .).
    """
    n, draws = 300, 100
    needed = fewest_shown(n, 0.9, 0.01 / 3, BETA)
    assert needed is not None
    for a in (0.5, 1.0):
        b = a * (1 - mean) / mean
        counts = stats.betabinom.cdf(np.arange(draws + 1), draws, a, b)
        # The largest radius that at least `needed` requests reach in half of all runs.
        median = next(
            k for k in range(draws + 1) if stats.binom.sf(needed - 1, n, counts[k]) >= 0.5
        )
        assert low <= find_reach(median, draws) <= high
