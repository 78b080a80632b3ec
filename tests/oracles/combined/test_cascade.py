"""The cheap oracle decides what it is sure of, and the expensive one the rest."""

import asyncio
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange, Judgement, Oracle
from guardrail.oracles.combined.cascade import CascadeOracle
from guardrail.oracles.combined.members import Member
from guardrail.stats import cascade_miss_upper
from guardrail.types import Outcome

LOW, HIGH, MIDDLE = 0.2, 0.8, 0.5
SCORES = st.floats(0, 1)


class Part:
    """Reads its score from its place in the answer, `[cheap, expensive]`."""

    def __init__(self, place, threshold, fault=None, unscanned=(), reason="because"):
        self.place, self.threshold, self.fault = place, threshold, fault
        self.unscanned, self.reason = unscanned, reason
        self.revision = f"part {place}"
        self.asked, self.closed = [], False

    async def judge(self, exchanges):
        self.asked += [exchange.response for exchange in exchanges]
        if self.fault is not None:
            raise self.fault
        return [self.judgement(json.loads(one.response)[self.place]) for one in exchanges]

    def judgement(self, score):
        harmful = score >= self.threshold
        outcome = Outcome.HARMFUL if harmful else Outcome.HARMLESS
        return Judgement(outcome, score, self.reason if harmful else "", self.unscanned)

    async def aclose(self):
        self.closed = True
        if self.fault is not None:
            raise self.fault


def cascade(cheap=None, expensive=None, high=HIGH, threshold=0.5):
    cheap, expensive = cheap or Part(0, LOW), expensive or Part(1, MIDDLE)
    return CascadeOracle(
        Member("cheap", cheap, cheap.threshold),
        Member("expensive", expensive, expensive.threshold),
        high=high,
        threshold=threshold,
    )


def judge(oracle, *pairs):
    return asyncio.run(oracle.judge([Exchange("", json.dumps(pair)) for pair in pairs]))


@given(SCORES, SCORES)
def test_the_verdict_is_the_rule_s_and_the_score_agrees(first, second):
    (found,) = judge(cascade(), (first, second))
    harmful = first >= HIGH or (first >= LOW and second >= MIDDLE)
    assert (found.outcome is Outcome.HARMFUL) is harmful
    assert (found.score >= 0.5) is harmful
    assert 0.0 <= found.score <= 1.0


@given(SCORES, SCORES, SCORES, SCORES)
def test_the_score_grows_with_each_of_the_two(first, second, more, further):
    pairs = (first, second), (max(first, more), second), (first, max(second, further))
    calm, other, another = judge(cascade(), *pairs)
    assert calm.score <= other.score
    assert calm.score <= another.score


def test_the_expensive_one_is_asked_about_the_band_only():
    expensive = Part(1, MIDDLE)
    grid = [(first / 20, second) for first in range(21) for second in (0.1, 0.9)]
    judge(cascade(expensive=expensive), *grid)
    band = [json.dumps(pair) for pair in grid if LOW <= pair[0] < HIGH]
    assert expensive.asked == band
    assert len(band) == 24


def test_nothing_in_the_band_asks_nobody():
    expensive = Part(1, MIDDLE, fault=OracleError("not there"))
    calm, sure = judge(cascade(expensive=expensive), (0.1, 0.9), (0.9, 0.1))
    assert (calm.outcome, sure.outcome) == (Outcome.HARMLESS, Outcome.HARMFUL)
    assert expensive.asked == []


@pytest.mark.parametrize("fault", [OracleError("not there"), RuntimeError("quotes")])
def test_a_fault_of_either_is_never_harmless(fault):
    with pytest.raises(OracleError, match="cheap: ") as caught:
        judge(cascade(cheap=Part(0, LOW, fault)), (0.1, 0.1))
    assert "quotes" not in str(caught.value)
    with pytest.raises(OracleError, match="expensive: "):
        judge(cascade(expensive=Part(1, MIDDLE, fault)), (0.5, 0.1))


def test_the_ends_of_the_score():
    found = judge(cascade(), (0.0, 1.0), (LOW, 0.0), (HIGH, 0.0), (1.0, 0.0))
    assert [judgement.score for judgement in found] == [0.0, 0.25, 0.75, 1.0]


def test_without_an_upper_end_only_certainty_skips_the_expensive_one():
    calm, sure = judge(cascade(high=1.0), (0.99, 0.1), (1.0, 0.1))
    assert (calm.outcome, sure.outcome) == (Outcome.HARMLESS, Outcome.HARMFUL)
    assert sure.score == 1.0


@pytest.mark.parametrize("high", [LOW, 0.1, 1.1, float("nan")])
def test_an_empty_band_is_refused(high):
    with pytest.raises(ConfigError, match=r"above the cheap oracle's threshold 0\.2"):
        cascade(high=high)


def test_reasons_say_who_decided():
    _, sure, asked = judge(cascade(), (0.1, 0.9), (0.9, 0.1), (0.5, 0.9))
    assert (sure.reason, asked.reason) == ("cascade: cheap: because", "cascade: expensive: because")
    (bare,) = judge(cascade(cheap=Part(0, LOW, reason="")), (0.9, 0.1))
    assert bare.reason == "cascade: cheap"


def test_what_could_not_be_looked_into_is_named_by_whoever_was_asked():
    parts = Part(0, LOW, unscanned=("sound",)), Part(1, MIDDLE, unscanned=("film", "sound"))
    alone, both = judge(cascade(*parts), (0.1, 0.1), (0.5, 0.1))
    assert (alone.unscanned, both.unscanned) == (("sound",), ("sound", "film"))


@given(SCORES, SCORES)
def test_a_lower_threshold_finds_more(first, second):
    (usual,) = judge(cascade(), (first, second))
    (strict,) = judge(cascade(threshold=0.4), (first, second))
    assert strict.score == usual.score
    assert strict.outcome is Outcome.HARMFUL or usual.outcome is Outcome.HARMLESS


def test_no_cascade_misses_more_than_both_together():
    """Every joint distribution of eight kinds of harmful answers with weights in eighths."""
    kinds = [*itertools.product((0.1, 0.5, 0.9), (0.1, 0.9))]
    found = judge(cascade(), *kinds)
    missed = [judgement.outcome is Outcome.HARMLESS for judgement in found]
    for counts in itertools.product(range(5), repeat=len(kinds)):
        if total := sum(counts):
            cheap = sum(n for n, (first, _) in zip(counts, kinds, strict=True) if first < LOW)
            dear = sum(n for n, (_, second) in zip(counts, kinds, strict=True) if second < MIDDLE)
            both = sum(n for n, miss in zip(counts, missed, strict=True) if miss)
            assert both / total <= cascade_miss_upper(cheap / total, dear / total)


def test_the_bound_is_attained():
    """One answer is missed by the cheap one alone, the other one by the expensive one alone."""
    found = judge(cascade(), (0.1, 0.9), (0.5, 0.1))
    assert all(judgement.outcome is Outcome.HARMLESS for judgement in found)
    assert cascade_miss_upper(0.5, 0.5) == 1.0


def test_the_revision_follows_parts_and_band():
    revisions = {
        cascade().revision,
        cascade(high=0.9).revision,
        cascade(threshold=0.4).revision,
        cascade(cheap=Part(0, 0.3)).revision,
        cascade(expensive=Part(1, 0.6)).revision,
        cascade(expensive=Part(0, MIDDLE)).revision,
    }
    assert len(revisions) == 6
    assert cascade().revision in revisions


def test_both_are_closed_even_if_one_cannot_be():
    cheap, expensive = Part(0, LOW, fault=OracleError("stuck")), Part(1, MIDDLE)
    oracle = cascade(cheap, expensive)
    assert isinstance(oracle, Oracle)
    assert oracle.threshold == 0.5
    with pytest.raises(OracleError, match="cheap: stuck"):
        asyncio.run(oracle.aclose())
    assert cheap.closed
    assert expensive.closed
