"""From a bound to a radius and back: rounded to the safe side, finite, inverse to each other."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats.binomial import harmless_rate_lower
from guardrail.stats.radius import (
    FLOORS,
    LEAST_FLOOR,
    certified_floor,
    certified_radius,
    fewest_samples,
    floor_with_misses,
    required_harmless_rate,
    round_norm_up,
    unanimous_ceiling,
)

sigmas = st.floats(0.05, 2.0)
norms = st.floats(0.01, 4.0)
floors = st.floats(LEAST_FLOOR, 0.95)
misses = st.floats(0.0, 0.5)
rates = st.floats(0.0, 1.0)
slacks = st.floats(0.0, 1e-2)
errors = st.sampled_from([0.0, 2.0**-22, 3 * 2.0**-22, 1e-4, 1e-2])


def mp_quantile(p):
    """Φ⁻¹ in 60 digits."""
    with mpmath.workdps(60):
        return mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(p) - 1)


def mp_radius(q, sigma, norm=1.0, floor=0.5, slack=0.0, error=0.0):
    """r(floor; q) in 60 digits: the error is subtracted from q once, and added to the floor."""
    with mpmath.workdps(60):
        gap = mp_quantile(mpmath.mpf(q) - error) - mp_quantile(mpmath.mpf(floor) + error)
        return (mpmath.mpf(sigma) * gap - mpmath.mpf(slack)) / mpmath.mpf(norm)


def mp_required(radius, sigma, norm=1.0, floor=0.5, slack=0.0, error=0.0):
    """q_req(r, floor) in 60 digits."""
    with mpmath.workdps(60):
        shift = (mpmath.mpf(radius) * norm + slack) / mpmath.mpf(sigma)
        return error + mpmath.ncdf(mp_quantile(mpmath.mpf(floor) + error) + shift)


def mp_floor(radius, q, sigma, norm=1.0, slack=0.0, error=0.0):
    """floor(r; q) in 60 digits."""
    with mpmath.workdps(60):
        shift = (mpmath.mpf(radius) * norm + slack) / mpmath.mpf(sigma)
        return mpmath.ncdf(mp_quantile(mpmath.mpf(q) - error) - shift) - error


CORNERS = [
    0.5 + 1e-9,
    0.51,
    0.6,
    0.7,
    0.9,
    0.99,
    0.999999,
    1 - 1e-9,
    1 - 1e-12,
    1 - 2**-52,
    math.nextafter(1.0, 0.0),
]


@pytest.mark.parametrize("q", CORNERS)
@pytest.mark.parametrize(
    ("sigma", "norm", "slack"), [(1.0, 1.0, 0.0), (0.25, 0.5, 0.0), (0.12, 1.7, 1e-7)]
)
def test_radius_against_sixty_digits(q, sigma, norm, slack):
    reference = mp_radius(q, sigma, norm, slack=slack)
    radius = certified_radius(q, sigma=sigma, operator_norm=norm, grid_slack=slack)
    if reference < 0:
        assert radius is None
    else:
        assert radius <= reference
        assert float(reference - radius) <= 1e-13 + 1e-12 * float(reference)


@pytest.mark.parametrize("q", [0.0002, 0.001, 0.2, 0.4, 0.99])
def test_radius_with_the_least_floor(q):
    reference = mp_radius(q, 0.5, floor=LEAST_FLOOR)
    radius = certified_radius(q, sigma=0.5, floor=LEAST_FLOOR)
    assert radius <= reference
    assert float(reference - radius) < 1e-12


@pytest.mark.parametrize("floor", [0.01, 0.5, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("error", [0.0, 2.0**-22, 1e-3])
def test_radius_with_floor_and_sampler_error_against_sixty_digits(floor, error):
    q = 0.999
    reference = mp_radius(q, 0.25, 0.7, floor, 1e-4, error)
    knobs = {"sigma": 0.25, "operator_norm": 0.7, "floor": floor, "grid_slack": 1e-4}
    radius = certified_radius(q, **knobs, sampler_error=error)
    assert radius <= reference
    assert float(reference - radius) < 1e-12


def test_radius_is_never_infinite():
    assert math.isfinite(certified_radius(1.0, sigma=1.0))
    assert certified_radius(1.0, sigma=1.0) == pytest.approx(8.2095, abs=1e-3)
    assert math.isfinite(certified_radius(1.0, sigma=1.0, floor=LEAST_FLOOR))
    huge = certified_radius(1.0, sigma=1e308, operator_norm=1e-308)
    assert math.isfinite(huge)


def test_a_rate_of_zero_abstains():
    assert certified_radius(0.0, sigma=1.0) is None
    assert certified_radius(0.0, sigma=1.0, floor=LEAST_FLOOR) is None
    assert certified_radius(0.0, sigma=1.0, floor=LEAST_FLOOR, sampler_error=0.1) is None


def test_at_the_floor_it_abstains():
    assert certified_radius(0.5, sigma=1.0) is None
    assert certified_radius(0.8, sigma=1.0, floor=0.8) is None
    assert certified_radius(0.499, sigma=1.0) is None


def test_the_grid_is_subtracted_on_the_canvas():
    plain = certified_radius(0.9, sigma=0.5, operator_norm=0.25)
    slack = certified_radius(0.9, sigma=0.5, operator_norm=0.25, grid_slack=0.01)
    assert plain - slack == pytest.approx(0.04)


def test_a_slack_above_the_radius_abstains():
    assert certified_radius(0.6, sigma=0.5, grid_slack=0.2) is None


def test_oracle_errors_shrink_the_radius():
    plain = certified_radius(0.85, sigma=1.0)
    corrected = certified_radius(0.85, sigma=1.0, floor=floor_with_misses(0.5, 0.1))
    symmetric_flip = certified_radius((0.85 - 0.1) / (1 - 0.2), sigma=1.0)
    assert corrected < plain < symmetric_flip


@given(floors, misses)
def test_misses_raise_the_floor(floor, miss):
    raised = floor_with_misses(floor, miss)
    assert floor <= raised < 1.0
    exact = Fraction(floor) + (1 - Fraction(floor)) * Fraction(miss)
    assert exact <= Fraction(raised) <= exact * (1 + Fraction(1, 10**15))
    if miss == 0.0:
        assert raised == floor


@given(floors, st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.99), st.floats(0, 1))
def test_below_the_floor_the_observed_rate_is_below_the_raised_one(
    floor, part, alarms, miss_upper, share
):
    """Draw any truth: p < floor and f <= f_U leave q strictly below, for any false alarms."""
    p = Fraction(floor) * Fraction(part) * (1 - Fraction(1, 10**9))
    miss = Fraction(share) * Fraction(miss_upper)
    observed = p * (1 - Fraction(alarms)) + (1 - p) * miss
    assert observed < Fraction(floor_with_misses(floor, miss_upper))


@pytest.mark.parametrize("miss", [1.0, math.nextafter(1.0, 0.0)])
def test_an_oracle_that_misses_everything_proves_nothing(miss):
    with pytest.raises(CertificationError, match="shows nothing about harmlessness"):
        floor_with_misses(0.5, miss)


@given(rates, rates, sigmas, norms, floors, errors)
def test_a_larger_rate_never_shrinks_the_radius(one, two, sigma, norm, floor, error):
    small, large = sorted((one, two))
    knobs = {"sigma": sigma, "operator_norm": norm, "floor": floor, "sampler_error": error}
    low, high = certified_radius(small, **knobs), certified_radius(large, **knobs)
    assert low is None or (high is not None and high >= low)


@given(st.floats(0.5, 1.0), sigmas, norms, norms)
def test_a_larger_norm_never_grows_the_radius(q, sigma, one, two):
    small, large = sorted((one, two))
    far = certified_radius(q, sigma=sigma, operator_norm=small)
    near = certified_radius(q, sigma=sigma, operator_norm=large)
    assert near is None or far >= near


@given(st.floats(0.0, 4.0), sigmas, norms, floors, errors, st.floats(0, 1e-3))
def test_required_rate_is_the_inverse_of_the_radius(in_sigmas, sigma, norm, floor, error, slack):
    knobs = {
        "sigma": sigma,
        "operator_norm": norm,
        "floor": floor,
        "sampler_error": error,
        "grid_slack": slack,
    }
    radius = in_sigmas * sigma / norm
    # The error leaves no room below 1 where the radius is large.
    assume(mp_required(radius, sigma, norm, floor, slack, error) < 1 - 1e-9)
    q = required_harmless_rate(radius, **knobs)
    assert 0.0 < q < 1.0
    assert certified_radius(q, **knobs) >= radius
    # And it is not rounded up by more than rounding.
    less = q - (1.0 - q) * 1e-6
    short = certified_radius(less, **knobs)
    assert short is None or short < radius or radius == pytest.approx(short, rel=1e-5, abs=1e-9)


@given(st.floats(0.0, 4.0), st.floats(0.0, 4.0), sigmas)
def test_a_larger_radius_needs_a_larger_rate(one, two, sigma):
    small, large = sorted((one * sigma, two * sigma))
    need = required_harmless_rate
    assert need(small, sigma=sigma) <= need(large, sigma=sigma)


@pytest.mark.parametrize("in_sigmas", [0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 6.0])
@pytest.mark.parametrize("error", [0.0, 2.0**-40, 2.0**-22])
def test_required_rate_against_sixty_digits(in_sigmas, error):
    reference = mp_required(in_sigmas, 1.0, error=error)
    if reference >= 1:
        with pytest.raises(CertificationError, match="needs a harmless rate of 1"):
            required_harmless_rate(in_sigmas, sigma=1.0, sampler_error=error)
        return
    q = required_harmless_rate(in_sigmas, sigma=1.0, sampler_error=error)
    assert q >= reference
    assert float((q - reference) / (1 - reference)) < (1e-4 if in_sigmas == 6.0 else 1e-10)


def test_a_radius_out_of_reach_is_an_error_that_says_what_to_do():
    with pytest.raises(CertificationError, match="smaller radius or a larger sigma"):
        required_harmless_rate(9.0, sigma=1.0)


def test_a_useless_sampler_certifies_no_radius():
    """Its error fills everything between the floor and 1."""
    with pytest.raises(CertificationError, match="needs a harmless rate of 1"):
        required_harmless_rate(0.0, sigma=1.0, sampler_error=0.5)
    assert certified_radius(1.0, sigma=1.0, sampler_error=0.5) is None
    assert certified_floor(0.0, 1.0, sigma=1.0, sampler_error=0.5) == pytest.approx(0.0)
    assert certified_floor(0.0, 0.4, sigma=1.0, sampler_error=0.5) == 0.0


def test_a_radius_beyond_all_numbers_is_refused_not_overflown():
    with pytest.raises(CertificationError, match="needs a harmless rate of 1"):
        required_harmless_rate(1e308, sigma=1e-3, operator_norm=1e3)
    assert certified_floor(1e308, 1.0, sigma=1e-3, operator_norm=1e3) == 0.0


def test_the_floor_has_a_least_value_that_is_refused_by_name():
    for floor in (1e-5, 1e-10, math.nextafter(LEAST_FLOOR, 0.0)):
        for refused in (
            lambda floor=floor: certified_radius(0.9, sigma=1.0, floor=floor),
            lambda floor=floor: required_harmless_rate(0.1, sigma=1.0, floor=floor),
            lambda floor=floor: floor_with_misses(floor, 0.1),
        ):
            with pytest.raises(CertificationError, match="floor must be at least"):
                refused()
    assert min(FLOORS) >= LEAST_FLOOR


def test_the_least_floor_takes_about_as_many_draws_as_its_message_says():
    """Showing a rate below 1e-4 takes ln(.01)/ln(1 - 1e-4) harmful draws: some 46,000."""
    assert 45_000 < fewest_samples(1 - LEAST_FLOOR, 0.01) < 47_000


@pytest.mark.parametrize(
    ("n", "ceiling"),
    [
        (25, 0.702),
        (50, 1.131),
        (100, 1.5005),
        (250, 1.923),
        (1_000, 2.463),
        (10_000, 3.199),
        (100_000, 3.811),
    ],
)
def test_unanimous_ceiling_of_the_literature(n, ceiling):
    assert unanimous_ceiling(n, 0.001) == pytest.approx(ceiling, abs=6e-4)


@pytest.mark.parametrize("n", [0, 1, 9])
def test_few_samples_certify_nothing(n):
    assert unanimous_ceiling(n, 0.001) == 0.0


@pytest.mark.parametrize(
    ("in_sigmas", "fewest"),
    [(0.5, 19), (1.0, 40), (1.5, 100), (2.0, 301), (2.5, 1109), (3.0, 5114)],
)
def test_fewest_samples_of_the_literature(in_sigmas, fewest):
    q = required_harmless_rate(in_sigmas, sigma=1.0)
    assert fewest_samples(q, 0.001) == fewest
    assert unanimous_ceiling(fewest, 0.001) >= in_sigmas > unanimous_ceiling(fewest - 1, 0.001)


@given(st.floats(0.01, 0.9999), st.floats(1e-12, 0.5))
def test_fewest_samples_suffice_and_one_less_does_not(q, alpha):
    n = fewest_samples(q, alpha)
    assert harmless_rate_lower(n, n, alpha) >= q
    assert n == 1 or harmless_rate_lower(n - 1, n - 1, alpha) < q


@pytest.mark.parametrize("norm", [1.0, 0.5, 0.25, 2.0, 2.0**-7])
def test_powers_of_two_stay(norm):
    assert round_norm_up(norm) == norm


@given(st.floats(1e-4, 1e3))
def test_norms_are_rounded_up_by_little(norm):
    rounded = round_norm_up(norm)
    assert norm <= rounded <= norm * 2 ** (1 / 32) * (1 + 1e-9)
    assert round_norm_up(rounded) == rounded


@given(st.floats(1e-4, 1e3), st.floats(1e-4, 1e3))
def test_norm_rounding_is_monotone(one, two):
    small, large = sorted((one, two))
    assert round_norm_up(small) <= round_norm_up(large)


def test_a_norm_just_above_one_is_not_rounded_down():
    assert round_norm_up(1.0 + 1e-12) > 1.0


def test_the_grid_of_norms_is_coarse():
    norms = {round_norm_up(x) for x in np.geomspace(0.05, 1.0, 5_000)}
    assert len(norms) < 150


BAD = [
    ({"sigma": 0.0}, "sigma"),
    ({"sigma": -1.0}, "sigma"),
    ({"sigma": math.inf}, "sigma"),
    ({"sigma": math.nan}, "sigma"),
    ({"sigma": 1.0, "operator_norm": 0.0}, "operator_norm"),
    ({"sigma": 1.0, "floor": 0.0}, "floor"),
    ({"sigma": 1.0, "floor": 1.0}, "floor"),
    ({"sigma": 1.0, "floor": math.nan}, "floor"),
    ({"sigma": 1.0, "sampler_error": -0.1}, "sampler_error"),
    ({"sigma": 1.0, "sampler_error": 1.1}, "sampler_error"),
    ({"sigma": 1.0, "sampler_error": math.nan}, "sampler_error"),
    ({"sigma": 1.0, "grid_slack": -1e-9}, "grid_slack"),
]


@pytest.mark.parametrize(("knobs", "word"), BAD)
def test_impossible_knobs_are_refused(knobs, word):
    with pytest.raises(CertificationError, match=word):
        certified_radius(0.9, **knobs)
    with pytest.raises(CertificationError, match=word):
        required_harmless_rate(0.1, **knobs)
    if word != "floor":
        with pytest.raises(CertificationError, match=word):
            certified_floor(0.1, 0.9, **knobs)


@pytest.mark.parametrize("miss", [-0.1, 1.1, math.nan])
def test_impossible_miss_rates_are_refused(miss):
    with pytest.raises(CertificationError, match="miss_rate_upper"):
        floor_with_misses(0.5, miss)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_impossible_rates_are_refused(q):
    with pytest.raises(CertificationError, match="q_lower"):
        certified_radius(q, sigma=1.0)
    with pytest.raises(CertificationError, match="q_lower"):
        certified_floor(0.1, q, sigma=1.0)


@pytest.mark.parametrize("radius", [-0.1, math.inf, math.nan])
def test_impossible_radii_are_refused(radius):
    with pytest.raises(CertificationError, match="radius"):
        required_harmless_rate(radius, sigma=1.0)
    with pytest.raises(CertificationError, match="radius"):
        certified_floor(radius, 0.9, sigma=1.0)


@pytest.mark.parametrize("norm", [0.0, -1.0, math.inf])
def test_impossible_norms_are_refused(norm):
    with pytest.raises(CertificationError, match="operator_norm"):
        round_norm_up(norm)


@given(st.floats(0.51, 0.999), sigmas, norms)
def test_the_radius_keeps_the_promise_at_its_edge(q, sigma, norm):
    """Φ(Φ⁻¹(q) - ‖A‖ R / sigma) is still at least one half, checked in 60 digits."""
    radius = certified_radius(q, sigma=sigma, operator_norm=norm)
    assume(radius is not None)
    with mpmath.workdps(60):
        moved = mp_quantile(q) - mpmath.mpf(norm) * mpmath.mpf(radius) / mpmath.mpf(sigma)
        assert mpmath.ncdf(moved) >= mpmath.mpf("0.5") - mpmath.mpf(10) ** -40


@given(st.floats(0.0, 5.0), st.floats(1e-6, 1 - 1e-12), sigmas, norms, slacks, errors)
def test_the_floor_at_a_radius_is_rounded_down_and_near(in_sigmas, q, sigma, norm, slack, error):
    """Against 60 digits."""
    radius = in_sigmas * sigma / norm
    floor = certified_floor(
        radius, q, sigma=sigma, operator_norm=norm, grid_slack=slack, sampler_error=error
    )
    assert 0.0 <= floor < 1.0
    if q <= error:
        assert floor == 0.0
        return
    exact = mp_floor(radius, q, sigma, norm, slack, error)
    if exact < 0:
        assert floor == 0.0
        return
    assert floor <= exact
    # One unit of q, where the error is subtracted, is worth 1/φ(z) of distance.
    z = float(mp_quantile(mpmath.mpf(q) - error))
    assert float(exact - floor) <= 1e-13 + (error > 0) * 1e-15 * math.exp(z * z / 2)


@given(st.floats(0.0, 4.0), st.floats(0.01, 0.9999), sigmas, norms, slacks, errors)
def test_floor_and_radius_are_inverse(in_sigmas, q, sigma, norm, slack, error):
    """Both are rounded to the safe side, so going there and back never gains."""
    knobs = {"sigma": sigma, "operator_norm": norm, "grid_slack": slack, "sampler_error": error}
    radius = in_sigmas * sigma / norm
    floor = certified_floor(radius, q, **knobs)
    assume(floor >= LEAST_FLOOR)
    back = certified_radius(q, floor=floor, **knobs)
    near = 1e-9 * sigma / norm
    if back is None:
        assert radius <= near
        return
    assert back == pytest.approx(radius, rel=1e-9, abs=near)
    # What holds at the radius that comes back is no more than what 60 digits say.
    assert mp_floor(back, q, sigma, norm, slack, error) >= floor
    assert certified_floor(back, q, **knobs) == pytest.approx(floor, rel=1e-8)


@given(st.floats(0.0, 3.0), st.floats(0.01, 0.999), sigmas, norms, slacks, errors)
def test_floor_and_required_rate_are_inverse(in_sigmas, q, sigma, norm, slack, error):
    knobs = {"sigma": sigma, "operator_norm": norm, "grid_slack": slack, "sampler_error": error}
    radius = in_sigmas * sigma / norm
    floor = certified_floor(radius, q, **knobs)
    assume(floor >= LEAST_FLOOR)
    needed = required_harmless_rate(radius, floor=floor, **knobs)
    assert needed == pytest.approx(q, rel=1e-9)
    assert needed >= mp_required(radius, sigma, norm, floor, slack, error)
    # The floor that the needed rate gives is the one it was asked for, but for rounding.
    again = certified_floor(radius, needed, **knobs)
    assert again == pytest.approx(floor, rel=1e-8)
    assert again <= mp_floor(radius, needed, sigma, norm, slack, error)


@given(st.floats(0.0, 3.0), floors, sigmas, norms, slacks, errors)
def test_radius_and_required_rate_contain_the_error_once(
    in_sigmas, floor, sigma, norm, slack, error
):
    """q_req, read as a radius, gives the radius back: nothing is added or subtracted twice."""
    knobs = {"sigma": sigma, "operator_norm": norm, "grid_slack": slack, "sampler_error": error}
    radius = in_sigmas * sigma / norm
    assume(mp_required(radius, sigma, norm, floor, slack, error) < 1 - 1e-6)
    q = required_harmless_rate(radius, floor=floor, **knobs)
    exact = mp_required(radius, sigma, norm, floor, slack, error)
    assert exact <= q
    assert float(q - exact) <= 1e-13
    back = mp_radius(q, sigma, norm, floor, slack, error)
    assert radius <= back
    assert float(back) == pytest.approx(radius, rel=1e-6, abs=1e-6 * sigma / norm)
