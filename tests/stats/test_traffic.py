"""Mixtures of harmless rates: path probabilities against sums in plain floats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from guardrail.errors import CertificationError
from guardrail.stats.traffic import Traffic

inner = st.floats(0.01, 0.99)
weights = st.floats(0.01, 10.0)


@given(st.lists(st.tuples(inner, weights), min_size=1, max_size=5), st.integers(0, 30))
def test_path_probabilities(parts, n):
    traffic = Traffic.mixture(parts)
    harmful = np.arange(n + 1.0)
    total = sum(w for _, w in parts)
    expected = sum(w / total * q ** (n - harmful) * (1 - q) ** harmful for q, w in parts)
    assert np.exp(traffic.log_path(n, harmful)) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.tuples(inner, weights), min_size=1, max_size=5))
def test_all_paths_together_are_certain(parts):
    traffic = Traffic.mixture(parts)
    for n in (0, 1, 7):
        h = np.arange(n + 1.0)
        paths = np.exp(special.gammaln(n + 1) - special.gammaln(h + 1) - special.gammaln(n - h + 1))
        assert (paths * np.exp(traffic.log_path(n, h))).sum() == pytest.approx(1.0)


def test_weights_are_normalised():
    assert Traffic((0.5, 0.7), (2.0, 6.0)).weights == (0.25, 0.75)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (20.0, 1.0), (2.5, 0.7), (0.5, 0.5)])
def test_a_beta_prior_has_the_moments_of_the_beta_law(a, b):
    traffic = Traffic.beta(a, b)
    for power in range(6):
        moment = sum(w * q**power for q, w in zip(traffic.rates, traffic.weights, strict=True))
        assert moment == pytest.approx(stats.beta.moment(power, a, b) if power else 1.0, rel=1e-6)


def test_a_beta_prior_gives_beta_binomial_paths():
    """With enough nodes the mixture's path probability is a ratio of beta functions."""
    traffic = Traffic.beta(3.0, 2.0, atoms=24)
    h = np.arange(13.0)
    expected = special.betaln(3 + 12 - h, 2 + h) - special.betaln(3, 2)
    assert traffic.log_path(12, h) == pytest.approx(expected, rel=1e-8)


def test_certain_rates_are_moved_inside():
    assert 0.0 < Traffic.at(0.0).rates[0] < 1e-11
    assert 1.0 - 1e-11 < Traffic.at(1.0).rates[0] < 1.0


def test_a_certain_rate_may_be_part_of_a_mixture():
    traffic = Traffic.mixture([(0.9, 0.5), (0.0, 0.5)])
    assert math.exp(traffic.log_path(1, np.array([1.0]))[0]) == pytest.approx(0.55)
    assert math.exp(traffic.log_path(1, np.array([0.0]))[0]) == pytest.approx(0.45)


def test_deep_paths_do_not_underflow():
    traffic = Traffic.mixture([(0.9, 0.5), (0.5, 0.5)])
    assert np.isfinite(traffic.log_path(20_000, np.array([0.0, 20_000.0]))).all()


@pytest.mark.parametrize(
    ("rates", "shares", "word"),
    [
        ((), (), "at least one rate"),
        ((0.5,), (1.0, 2.0), "one weight for each"),
        ((1.5,), (1.0,), "a rate of the traffic"),
        ((0.5,), (0.0,), "a weight of the traffic"),
        ((0.5,), (-1.0,), "a weight of the traffic"),
        ((0.0, 1.0), (1.0, 1.0), "strictly between"),
    ],
)
def test_impossible_traffic_is_refused(rates, shares, word):
    with pytest.raises(CertificationError, match=word):
        Traffic(rates, shares)


@pytest.mark.parametrize(("a", "b", "atoms", "word"), [
    (0.0, 1.0, 8, "a is"), (1.0, -1.0, 8, "b is"), (1.0, 1.0, 0, "atoms"),
])  # fmt: skip
def test_impossible_priors_are_refused(a, b, atoms, word):
    with pytest.raises(CertificationError, match=word):
        Traffic.beta(a, b, atoms=atoms)


def test_an_impossible_rate_is_refused():
    with pytest.raises(CertificationError, match="rate"):
        Traffic.at(1.5)
