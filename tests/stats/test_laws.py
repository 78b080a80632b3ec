"""Planning laws: the exact values of the design page, and the papers' law beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from guardrail.errors import CertificationError
from guardrail.stats.binomial import harmless_rate_lower
from guardrail.stats.laws import (
    Prior,
    mean_radius_limit,
    paper_accuracy_loss,
    paper_radius_ratio,
    scaling_law,
)

SIZES = (25, 50, 100, 250, 500, 1_000, 10_000, 100_000)
EXACT = (0.168, 0.332, 0.486, 0.651, 0.744, 0.815, 0.939, 0.980)
PAPER = (-0.079, 0.237, 0.460, 0.659, 0.759, 0.829, 0.946, 0.983)


@pytest.mark.parametrize(("n", "exact", "paper"), list(zip(SIZES, EXACT, PAPER, strict=True)))
def test_radius_ratios_of_the_design_page(n, exact, paper):
    law = scaling_law(n, 1e-3)
    assert law.radius_ratio == pytest.approx(exact, abs=6e-4)
    assert law.radius_ratio_paper == pytest.approx(paper, abs=6e-4)
    assert law.n == n


def test_the_papers_law_is_pessimistic_below_and_optimistic_above():
    signs = [
        math.copysign(1, law.radius_ratio - law.radius_ratio_paper)
        for law in (scaling_law(n, 1e-3) for n in SIZES)
    ]
    assert signs == [1, 1, 1, -1, -1, -1, -1, -1]


def test_the_limit_of_the_uniform_prior_has_a_closed_form():
    """∫ Φ⁻¹(q) 2 dq from ½ to 1 is 2 φ(0)."""
    assert mean_radius_limit(Prior()) == pytest.approx(2 * stats.norm.pdf(0), rel=1e-6)


@pytest.mark.parametrize(("a", "b", "low"), [(1, 1, 0.5), (20, 1, 0.0), (5, 2, 0.3), (2, 2, 0.8)])
def test_the_limit_against_quadrature(a, b, low):
    prior = Prior(a, b, low)
    mass = stats.beta.sf(low, a, b)
    expected, _ = integrate.quad(
        lambda q: max(stats.norm.ppf(q), 0.0) * stats.beta.pdf(q, a, b) / mass,
        max(low, 0.5), 1.0, limit=400,
    )  # fmt: skip
    assert mean_radius_limit(prior) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("prior", [Prior(), Prior(20, 1, 0.0), Prior(2, 3, 0.2)])
@pytest.mark.parametrize("n", [1, 7, 60])
def test_counts_are_a_distribution_and_match_quadrature(prior, n):
    weights = prior.harmless_counts(n)
    assert weights.shape == (n + 1,)
    assert math.fsum(weights) == pytest.approx(1.0)
    mass = stats.beta.sf(prior.low, prior.a, prior.b)
    for k in {0, n // 2, n}:
        expected, _ = integrate.quad(
            lambda q, k=k: stats.binom.pmf(k, n, q) * stats.beta.pdf(q, prior.a, prior.b) / mass,
            prior.low, 1.0,
        )  # fmt: skip
        assert weights[k] == pytest.approx(expected, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("prior", [Prior(), Prior(20, 1, 0.0), Prior(1, 1, 0.9)])
def test_the_share_beyond_a_radius(prior):
    z = np.array([0.0, 0.5, 1.5, 3.0])
    rates = np.maximum(stats.norm.cdf(z), prior.low)
    expected = stats.beta.sf(rates, prior.a, prior.b) / stats.beta.sf(prior.low, prior.a, prior.b)
    assert prior.beyond(z) == pytest.approx(expected, rel=1e-9)


def test_the_far_tail_is_not_lost():
    """Φ(10) is 1 in floats; a prior that piles up at 1 still has mass beyond."""
    assert 0.1 < float(Prior(1.0, 0.01, 0.5).beyond(np.asarray(10.0))) < 1.0


def test_pass_rate_by_hand():
    """n = 40 at R/sigma = 1: only all-harmless passes; ∫ q^40 over the uniform prior."""
    law = scaling_law(40, 1e-3, radius_in_sigmas=1.0)
    expected = 2 * (1 - 0.5**41) / 41
    assert law.pass_rate == pytest.approx(expected, rel=1e-9)
    truth = 2 * (1 - stats.norm.cdf(1.0))
    assert law.accuracy_loss == pytest.approx(truth - expected, rel=1e-9)


def test_pass_rate_at_no_radius_counts_what_does_not_abstain():
    law = scaling_law(30, 0.01)
    weights = Prior().harmless_counts(30)
    passing = [k for k in range(31) if harmless_rate_lower(k, 30, 0.01) > 0.5]
    assert law.pass_rate == pytest.approx(math.fsum(weights[passing]), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 400), st.sampled_from((0.05, 1e-3)), st.floats(0.0, 2.0))
def test_more_samples_never_hurt_on_average(n, alpha, radius):
    less = scaling_law(n, alpha, radius_in_sigmas=radius)
    more = scaling_law(4 * n, alpha, radius_in_sigmas=radius)
    assert more.radius_ratio >= less.radius_ratio - 1e-9
    assert less.radius_ratio <= 1.0
    assert -1.0 <= less.accuracy_loss <= 1.0


def test_large_sizes_are_interpolated_without_visible_loss():
    n, alpha = 6_000, 1e-3
    k = np.arange(1, n + 1)
    radii = np.maximum(special.ndtri(special.betaincinv(k, n - k + 1, alpha)), 0.0)
    expected = math.fsum(Prior().harmless_counts(n)[1:] * radii) / mean_radius_limit(Prior())
    assert scaling_law(n, alpha).radius_ratio == pytest.approx(expected, abs=1e-8)


def test_the_papers_formulas():
    z = stats.norm.isf(0.0005)
    assert paper_radius_ratio(1_000, 1e-3) == pytest.approx(1 - 1.64 * z / math.sqrt(1_000))
    assert paper_accuracy_loss(1_000, 1e-3) == pytest.approx(z / math.sqrt(1_000))
    assert paper_accuracy_loss(1, 1e-3) == 1.0


@pytest.mark.parametrize(
    ("n", "alpha", "radius", "word"),
    [(0, 0.1, 0.0, "n is"), (5, 0.0, 0.0, "alpha"), (5, 0.1, -1.0, "radius_in_sigmas")],
)
def test_impossible_arguments_are_refused(n, alpha, radius, word):
    with pytest.raises(CertificationError, match=word):
        scaling_law(n, alpha, radius_in_sigmas=radius)


@pytest.mark.parametrize(("a", "b", "low", "word"), [
    (0.0, 1.0, 0.5, "a is"), (1.0, 0.0, 0.5, "b is"), (1.0, 1.0, 1.0, "low"),
    (1.0, 1.0, -0.1, "low"),
])  # fmt: skip
def test_impossible_priors_are_refused(a, b, low, word):
    with pytest.raises(CertificationError, match=word):
        Prior(a, b, low)
