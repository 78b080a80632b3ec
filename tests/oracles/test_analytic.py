"""The pieces with known truth must be true themselves."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.analytic import (
    BernoulliOracle,
    WordOracle,
    half_space_distance,
    half_space_label,
)
from guardrail.oracles.base import Exchange, Oracle
from guardrail.types import Outcome

SHAPE = (4, 5, 3)


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)


def plane(seed: int) -> np.ndarray:
    return np.random.default_rng(seed + 1000).normal(size=SHAPE)


def judge(oracle: Oracle, *responses: str) -> list[Outcome]:
    async def main():
        judgements = await oracle.judge([Exchange("", response) for response in responses])
        await oracle.aclose()
        return judgements

    judgements = asyncio.run(main())
    for judgement in judgements:
        assert judgement.score == float(judgement.outcome is Outcome.HARMFUL)
    return [judgement.outcome for judgement in judgements]


@given(seed=st.integers(0, 10_000), offset=st.floats(-20, 20))
def test_label_is_the_sign_of_the_distance(seed, offset):
    pixels, normal = image(seed), plane(seed)
    distance = half_space_distance(pixels, normal, offset)
    assert half_space_label(pixels, normal, offset) == ("harmless" if distance > 0 else "harmful")


@given(seed=st.integers(0, 10_000), wanted=st.floats(0.01, 5), scale=st.floats(1e-3, 1e3))
def test_distance_is_the_shortest_way_to_the_plane_and_blind_to_the_normals_length(
    seed, wanted, scale
):
    pixels, normal = image(seed), plane(seed)
    unit = normal / np.linalg.norm(normal)
    offset = -float(np.sum(pixels / 255.0 * unit)) - wanted
    assert half_space_distance(pixels, scale * normal, scale * np.linalg.norm(normal) * offset) == (
        pytest.approx(wanted)
    )
    just_beyond = pixels / 255.0 + unit * wanted * (1 + 1e-9)
    assert np.sum(just_beyond * unit) + offset >= 0
    other = np.random.default_rng(seed).normal(size=SHAPE)
    elsewhere = pixels / 255.0 + other / np.linalg.norm(other) * wanted * (1 - 1e-9)
    assert np.sum(elsewhere * unit) + offset < 0


def test_smoothed_probability_is_phi_of_distance_over_sigma():
    rng = np.random.default_rng(5)
    sigma, wanted, n = 0.1, 0.08, 4000
    normal = plane(3) / np.linalg.norm(plane(3))
    pixels = np.full(SHAPE, 128, dtype=np.uint8)
    offset = -float(np.sum(pixels / 255.0 * normal)) - wanted
    noise = np.rint(rng.normal(0.0, sigma * 255.0, size=(n, *SHAPE))).astype(np.int64)
    noisy = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    harmless = sum(half_space_label(one, normal, offset) == "harmless" for one in noisy)
    expected = norm.cdf(half_space_distance(pixels, normal, offset) / sigma)
    assert binomtest(harmless, n, expected).pvalue > 1e-6
    assert expected == pytest.approx(norm.cdf(0.8))


@pytest.mark.parametrize(
    "normal",
    [np.zeros(SHAPE), np.full(SHAPE, math.nan), np.full(SHAPE, math.inf), np.ones((5, 4, 3))],
)
def test_what_is_no_plane_is_refused(normal):
    with pytest.raises(ConfigError, match="normal"):
        half_space_label(image(0), normal, 0.0)
    with pytest.raises(ConfigError, match="normal"):
        half_space_distance(image(0), normal, 0.0)


def test_offset_must_be_finite():
    with pytest.raises(ConfigError):
        half_space_label(image(0), plane(0), math.nan)


def test_word_oracle_reads_the_half_space():
    pixels, normal = image(1), plane(1)
    both = [half_space_label(pixels, normal, offset) for offset in (-1e3, 1e3)]
    assert judge(WordOracle(), *both) == [Outcome.HARMLESS, Outcome.HARMFUL]


def test_word_oracle_overlooks_case_and_blanks():
    assert judge(WordOracle(), " Harmless\n", "HARMFUL") == [Outcome.HARMLESS, Outcome.HARMFUL]


@pytest.mark.parametrize("response", ["", "harmles", "not harmless", "harmful!"])
def test_unknown_word_is_an_error_that_does_not_quote_it(response):
    with pytest.raises(OracleError) as caught:
        judge(WordOracle(), "harmless", response)
    assert "harmless" not in str(caught.value)


def test_words_can_be_chosen_but_missing_is_no_judgement():
    words = {"a cat": Outcome.HARMLESS, "a gun": Outcome.HARMFUL}
    assert judge(WordOracle(words), "a gun", "A cat ") == [Outcome.HARMFUL, Outcome.HARMLESS]
    assert WordOracle(words).revision != WordOracle().revision == WordOracle().revision
    with pytest.raises(ConfigError, match="missing"):
        WordOracle({"?": Outcome.MISSING})


@given(rate=st.floats(0, 1), seed=st.integers(0, 2**32), cut=st.integers(0, 20))
def test_bernoulli_outcomes_do_not_depend_on_the_batches(rate, seed, cut):
    async def main(batches):
        oracle = BernoulliOracle(rate, seed)
        drawn = [await oracle.judge([Exchange("", "x")] * size) for size in batches]
        return [judgement for batch in drawn for judgement in batch]

    whole = asyncio.run(main([20]))
    assert asyncio.run(main([cut, 20 - cut])) == whole
    oracle = BernoulliOracle(rate, seed)
    assert [judgement.outcome for judgement in whole] == [oracle.outcome(i) for i in range(20)]


@pytest.mark.parametrize(("rate", "outcome"), [(0.0, Outcome.HARMFUL), (1.0, Outcome.HARMLESS)])
def test_bernoulli_at_the_ends_is_certain(rate, outcome):
    assert judge(BernoulliOracle(rate), *["x"] * 50) == [outcome] * 50


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.97])
def test_bernoulli_keeps_its_rate(rate):
    oracle = BernoulliOracle(rate, seed=4)
    harmless = sum(oracle.outcome(i).counts_as_harmless for i in range(4000))
    assert binomtest(harmless, 4000, rate).pvalue > 1e-6


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_bernoulli_rate_is_a_probability(rate):
    with pytest.raises(ConfigError, match="harmless_rate"):
        BernoulliOracle(rate)


def test_revisions_tell_oracles_apart():
    oracles = [BernoulliOracle(0.5), BernoulliOracle(0.5, 1), BernoulliOracle(0.6), WordOracle()]
    assert len({oracle.revision for oracle in oracles}) == 4
    assert all(isinstance(oracle, Oracle) for oracle in oracles)
