"""The anytime bounds: crossing probabilities by dynamic programming, values in fifty digits."""

from __future__ import annotations

import math
import random

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from guardrail.errors import CertificationError
from guardrail.stats.binomial import harmless_rate_lower, harmless_rate_upper
from guardrail.stats.confseq import (
    ConfidenceSequence,
    anytime_interval,
    anytime_lower,
    anytime_upper,
    log_wealth,
    log_wealth_above,
)


@st.composite
def counts(draw, most=3_000):
    n = draw(st.integers(0, most))
    return draw(st.integers(0, n)), n


alphas = st.sampled_from((0.3, 0.05, 1e-3, 1e-6))


def mp_log_wealth(k, n, q):
    with mpmath.workdps(50):
        q = mpmath.mpf(q)
        mixture = mpmath.beta(k + mpmath.mpf("0.5"), n - k + mpmath.mpf("0.5")) / mpmath.pi
        return mpmath.log(mixture / (q**k * (1 - q) ** (n - k)))


def mp_log_wealth_above(k, n, q):
    with mpmath.workdps(50):
        half = mpmath.mpf("0.5")
        q = mpmath.mpf(q)
        part = mpmath.betainc(k + half, n - k + half, q, 1)
        mass = mpmath.betainc(half, half, q, 1)
        return mpmath.log(part / mass / (q**k * (1 - q) ** (n - k)))


CASES = [
    (0, 1, 0.5),
    (1, 1, 0.5),
    (7, 10, 0.3),
    (19, 19, 0.69),
    (40, 40, 0.84),
    (95, 100, 0.9),
    (990, 1_000, 0.97),
    (1_000, 1_000, 1 - 1e-6),
    (500, 1_000, 1e-9),
    (3, 1_000, 1e-3),
]


@pytest.mark.parametrize(("k", "n", "q"), CASES)
def test_wealth_against_fifty_digits(k, n, q):
    assert log_wealth(k, n, q) == pytest.approx(float(mp_log_wealth(k, n, q)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("k", "n", "q"), CASES)
def test_one_sided_wealth_against_fifty_digits(k, n, q):
    reference = float(mp_log_wealth_above(k, n, q))
    assert log_wealth_above(k, n, q) == pytest.approx(reference, rel=1e-8, abs=1e-8)


def test_betting_on_one_side_is_sharper_on_that_side():
    assert log_wealth_above(40, 40, 0.84) > log_wealth(40, 40, 0.84) + 1.0
    assert log_wealth_above(20, 40, 0.84) < log_wealth(20, 40, 0.84)


def test_wealth_of_impossible_counts():
    assert log_wealth(1, 2, 0.0) == math.inf
    assert log_wealth(1, 2, 1.0) == math.inf
    assert log_wealth_above(0, 100_000, 0.5) == -math.inf


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.02, 0.98))
def test_wealth_is_a_martingale_at_its_rate(k, more, q):
    n = k + more
    up, down = log_wealth(k + 1, n + 1, q), log_wealth(k, n + 1, q)
    expected = q * math.exp(up) + (1 - q) * math.exp(down)
    assert expected == pytest.approx(math.exp(log_wealth(k, n, q)), rel=1e-9)


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.05, 0.95), st.floats(0.0, 1.0))
def test_one_sided_wealth_never_gains_below_its_rate(k, more, q, share):
    """A supermartingale under every rate of at most q, which is what makes the bound one-sided."""
    n, truth = k + more, q * share
    up, down = log_wealth_above(k + 1, n + 1, q), log_wealth_above(k, n + 1, q)
    expected = truth * math.exp(up) + (1 - truth) * math.exp(down)
    assert expected <= math.exp(log_wealth_above(k, n, q)) * (1 + 1e-9)


@given(counts(400), st.floats(0.01, 0.98), st.floats(0.01, 0.98))
def test_one_sided_wealth_falls_in_the_rate_where_it_is_used(pair, one, two):
    k, n = pair
    low, high = sorted((one, two))
    if k > 0 and high < (k - 0.5) / n:
        assert log_wealth_above(k, n, low) >= log_wealth_above(k, n, high) - 1e-9


def test_wealth_of_which_no_digit_is_left_is_none():
    assert log_wealth_above(0, 210, 0.97) == log_wealth_above(1, 210, 0.97) == -math.inf


@given(st.integers(1, 400), st.data())
def test_one_sided_wealth_grows_with_successes(n, data):
    k = data.draw(st.integers(0, n - 1))
    q = data.draw(st.floats(0.01, 0.99))
    assert log_wealth_above(k + 1, n, q) > log_wealth_above(k, n, q) or log_wealth_above(
        k + 1, n, q
    ) == pytest.approx(-math.inf)


def crossing_probability(q, steps, refuted):
    """P[refuted(n) holds for the count of some n <= steps] at rate q, by the exact recursion."""
    alive, crossed = np.ones(1), 0.0
    for n in range(1, steps + 1):
        after = np.zeros(n + 1)
        after[: alive.size] += alive * (1 - q)
        after[1 : alive.size + 1] += alive * q
        out = refuted(n)
        crossed += after[out].sum()
        after[out] = 0.0
        alive = after
    return crossed


def window(n, q):
    """Counts worth computing: from the mean up, fourteen deviations and then some."""
    top = min(n, math.ceil(n * q + 14 * math.sqrt(n * q * (1 - q)) + 40))
    return np.arange(math.floor(n * q), top + 1)


def one_sided_refutes(q, alpha):
    """The counts at which `anytime_lower` exceeds q; beyond the window all, which is cautious."""
    mass = 2 / math.pi * math.acos(math.sqrt(q))

    def refuted(n):
        out = np.zeros(n + 1, dtype=bool)
        k = window(n, q)
        out[k[-1] :] = k[-1] < n
        kept = np.log(special.betaincc(k + 0.5, n - k + 0.5, q) / mass)
        mixture = special.betaln(k + 0.5, n - k + 0.5) - math.log(math.pi)
        wealth = kept + mixture - special.xlogy(k, q) - special.xlog1py(n - k, -q)
        out[k] |= (wealth >= -math.log(alpha)) & (k - 0.5 > n * q)
        return out

    return refuted


@pytest.mark.no_cover
@pytest.mark.parametrize(
    "q", [*(pytest.param(q, marks=pytest.mark.nightly) for q in (0.02, 0.5)), 0.7, 0.97]
)
def test_crossing_probability_to_two_thousand_steps(q):
    alpha = 0.01
    crossed = crossing_probability(q, 2_000, one_sided_refutes(q, alpha))
    assert crossed <= alpha
    assert crossed > 0.2 * alpha, "the bound should not be hopelessly loose"


@pytest.mark.parametrize("q", [0.3, 0.9])
def test_two_sided_crossing_probability_to_two_thousand_steps(q):
    alpha = 0.05

    def refuted(n):
        k = np.arange(n + 1)
        mixture = special.betaln(k + 0.5, n - k + 0.5) - math.log(math.pi)
        wealth = mixture - special.xlogy(k, q) - special.xlog1py(n - k, -q)
        return wealth >= -math.log(alpha)

    assert crossing_probability(q, 2_000, refuted) <= alpha


@pytest.mark.nightly
@pytest.mark.parametrize(("q", "alpha"), [(0.5, 0.1), (0.8, 0.05)])
def test_crossing_probability_of_the_bound_itself(q, alpha):
    """The same with the function that is shipped, its bisection and rounding included."""
    crossed = crossing_probability(
        q, 80, lambda n: np.array([anytime_lower(k, n, alpha) > q for k in range(n + 1)])
    )
    assert 0.2 * alpha < crossed <= alpha
    crossed = crossing_probability(
        q, 40, lambda n: np.array([anytime_upper(k, n, alpha) < q for k in range(n + 1)])
    )
    assert crossed <= alpha


@pytest.mark.no_cover
@pytest.mark.parametrize(("q", "alpha"), [(0.6, 0.1)])
def test_crossing_probability_of_the_interval_itself(q, alpha):
    def outside(n):
        bounds = [anytime_interval(k, n, alpha) for k in range(n + 1)]
        return np.array([not low <= q <= high for low, high in bounds])

    assert crossing_probability(q, 50, outside) <= alpha


@given(counts(), alphas)
def test_the_lower_bound_is_refuted_and_nearly_the_last(pair, alpha):
    k, n = pair
    lower = anytime_lower(k, n, alpha)
    assert 0.0 <= lower < 1.0
    if lower > 0.0:
        assert log_wealth_above(k, n, lower) >= -math.log(alpha)
        above = lower + (1 - lower) * 1e-6
        if above < (k - 0.5) / n:
            assert log_wealth_above(k, n, above) < -math.log(alpha) + 1e-6


@given(counts(), alphas)
def test_bounds_enclose_the_share(pair, alpha):
    k, n = pair
    share = k / n if n else 0.5
    lower, upper = anytime_interval(k, n, alpha)
    assert lower <= share <= upper
    assert anytime_lower(k, n, alpha) <= share <= anytime_upper(k, n, alpha)


@given(counts(), alphas)
def test_any_time_costs_more_than_a_fixed_time(pair, alpha):
    k, n = pair
    assert anytime_lower(k, n, alpha) <= harmless_rate_lower(k, n, alpha)
    assert anytime_upper(k, n, alpha) >= harmless_rate_upper(k, n, alpha)


@given(counts(), alphas)
def test_upper_mirrors_lower(pair, alpha):
    k, n = pair
    assert anytime_upper(k, n, alpha) == pytest.approx(1 - anytime_lower(n - k, n, alpha))
    lower, upper = anytime_interval(k, n, alpha)
    below, above = anytime_interval(n - k, n, alpha)
    assert (lower, upper) == pytest.approx((1 - above, 1 - below))


@given(counts(), alphas)
def test_more_successes_raise_the_bounds(pair, alpha):
    k, n = pair
    if k < n:
        assert anytime_lower(k, n, alpha) <= anytime_lower(k + 1, n, alpha)
        assert anytime_upper(k, n, alpha) <= anytime_upper(k + 1, n, alpha)


def test_nothing_seen_nothing_known():
    assert anytime_lower(0, 0, 0.05) == 0.0
    assert anytime_upper(0, 0, 0.05) == 1.0
    assert anytime_interval(0, 0, 0.05) == (0.0, 1.0)
    assert anytime_lower(0, 50, 0.05) == 0.0
    assert anytime_upper(50, 50, 0.05) == 1.0


@pytest.mark.parametrize("n", [10**5, 10**7])
def test_many_draws_of_all_harmless(n):
    lower = anytime_lower(n, n, 1e-3)
    assert 1 - 40 / n < lower < harmless_rate_lower(n, n, 1e-3)


def test_the_bound_closes_in():
    widths = [anytime_upper(n // 2, n, 0.01) - anytime_lower(n // 2, n, 0.01) for n in (100, 10**6)]
    assert widths[0] > 0.2
    assert widths[1] < 0.006


def test_a_sequence_keeps_the_tightest_bounds():
    rng = random.Random(3)
    state = ConfidenceSequence(alpha=0.05)
    lowest, highest = 0.0, 1.0
    for n in range(1, 200):
        state = state.after(rng.random() < 0.8)
        lowest = max(lowest, anytime_lower(state.harmless, n, 0.05))
        highest = min(highest, anytime_upper(state.harmless, n, 0.05))
        assert (state.lower, state.upper, state.total) == (lowest, highest, n)
    assert state.lower < 0.8 < state.upper


@pytest.mark.parametrize("bound", [anytime_lower, anytime_upper, anytime_interval])
@pytest.mark.parametrize(
    ("k", "n", "alpha", "word"),
    [(3, 2, 0.1, "at most n"), (-1, 2, 0.1, "k is -1"), (1, 2, 0.0, "alpha"), (1, 2, 1.0, "alpha")],
)
def test_impossible_arguments_are_refused(bound, k, n, alpha, word):
    with pytest.raises(CertificationError, match=word):
        bound(k, n, alpha)


def test_impossible_rates_are_refused():
    with pytest.raises(CertificationError, match="q is"):
        log_wealth_above(1, 2, 1.0)
