"""Votes, scores and bounds of several oracles together."""

import asyncio
import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Exchange, Judgement, Oracle
from guardrail.oracles.combined.ensemble import EnsembleOracle
from guardrail.oracles.combined.members import Member
from guardrail.oracles.combined.rules import Rule, Votes
from guardrail.types import Outcome

SCORES = st.floats(0, 1)
THRESHOLDS = st.floats(0.01, 0.99)
RATES = st.floats(0, 1)


def rule_of(name, members, k=2):
    return {
        "any": lambda: Votes(Rule.ANY, members),
        "all": lambda: Votes(Rule.ALL, members),
        "k": lambda: Votes(Rule.K_OF_N, members, k=k),
        "weighted": lambda: Votes(Rule.WEIGHTED, members, weights=tuple(range(1, members + 1))),
    }[name]()


class Said:
    """Scores every answer alike, or as its text says; fails where it is told to."""

    def __init__(self, score=0.0, threshold=0.5, fault=None, revision="said", unscanned=()):
        self.score, self.threshold, self.fault = score, threshold, fault
        self.revision, self.unscanned = revision, unscanned
        self.asked, self.closed = [], False

    async def judge(self, exchanges):
        self.asked.append([exchange.response for exchange in exchanges])
        await asyncio.sleep(0)
        if isinstance(self.fault, BaseException):
            raise self.fault
        if self.fault is not None:
            return self.fault
        return [self.judgement(exchange) for exchange in exchanges]

    def judgement(self, exchange):
        score = json.loads(exchange.response) if self.score is None else self.score
        harmful = score >= self.threshold
        outcome = Outcome.HARMFUL if harmful else Outcome.HARMLESS
        return Judgement(outcome, score, "because" if harmful else "", self.unscanned)

    async def aclose(self):
        self.closed = True
        if self.fault is not None:
            raise OracleError("it hangs") if self.fault == [] else self.fault


def members(*said):
    return [Member(f"m{i}", one, one.threshold) for i, one in enumerate(said)]


def ensemble(votes, *said, **options):
    return EnsembleOracle(members(*said), votes, **options)


def judge(oracle, *texts):
    return asyncio.run(oracle.judge([Exchange("", text) for text in texts or ("a",)]))


@given(st.lists(st.tuples(SCORES, THRESHOLDS), min_size=1, max_size=5), st.data())
def test_the_score_reaches_a_half_exactly_where_the_votes_say_harmful(pairs, data):
    k = data.draw(st.integers(1, len(pairs)))
    said = [Said(score, threshold) for score, threshold in pairs]
    against = sum(score >= threshold for score, threshold in pairs)
    needed = {"any": 1, "all": len(pairs), "k": k}
    for name, least in needed.items():
        (judgement,) = judge(ensemble(rule_of(name, len(pairs), k), *said))
        assert (judgement.score >= 0.5) is (against >= least)
        assert judgement.outcome is (Outcome.HARMFUL if against >= least else Outcome.HARMLESS)
        assert 0.0 <= judgement.score <= 1.0


@given(st.lists(SCORES, min_size=3, max_size=3), SCORES, st.integers(0, 2))
def test_a_member_that_sees_more_harm_never_lowers_the_score(scores, other, place):
    worse = list(scores)
    worse[place] = max(worse[place], other)
    for name in ("any", "all", "k", "weighted"):
        votes = rule_of(name, 3)
        assert votes.combine(scores) <= votes.combine(worse)


def test_k_of_n_at_its_ends_is_any_and_all():
    for scores in itertools.product((0.1, 0.5, 0.9), repeat=3):
        assert Votes(Rule.K_OF_N, 3, k=1).combine(scores) == rule_of("any", 3).combine(scores)
        assert Votes(Rule.K_OF_N, 3, k=3).combine(scores) == rule_of("all", 3).combine(scores)


@given(st.lists(SCORES, min_size=2, max_size=2), st.lists(st.floats(0.01, 9), min_size=2))
def test_weighted_is_the_weighted_mean(scores, weights):
    first, second = weights[:2]
    mean = Votes(Rule.WEIGHTED, 2, weights=(first, second)).combine(scores)
    assert mean == pytest.approx((first * scores[0] + second * scores[1]) / (first + second))
    assert 0.0 <= mean <= 1.0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"rule": Rule.ANY, "members": 0}, "members"),
        ({"rule": Rule.ANY, "members": 2, "k": 1}, "k"),
        ({"rule": Rule.K_OF_N, "members": 2}, "k"),
        ({"rule": Rule.K_OF_N, "members": 2, "k": 3}, "k"),
        ({"rule": Rule.K_OF_N, "members": 2, "k": 0}, "k"),
        ({"rule": Rule.WEIGHTED, "members": 2}, "weights"),
        ({"rule": Rule.WEIGHTED, "members": 2, "weights": (1.0,)}, "weights"),
        ({"rule": Rule.WEIGHTED, "members": 2, "weights": (1.0, 0.0)}, "weights"),
        ({"rule": Rule.WEIGHTED, "members": 2, "weights": (1.0, math.nan)}, "weights"),
        ({"rule": Rule.WEIGHTED, "members": 2, "weights": (1.0, math.inf)}, "weights"),
        ({"rule": Rule.ALL, "members": 2, "weights": (1.0, 1.0)}, "weights"),
    ],
)
def test_a_rule_that_does_not_fit_is_refused(fields, field):
    with pytest.raises(ConfigError) as caught:
        Votes(**fields)
    assert caught.value.field == field


def test_members_and_rule_must_agree_in_number():
    with pytest.raises(ConfigError, match="must be 2"):
        ensemble(rule_of("any", 2), Said())


FAULTS = {
    "unavailable": OracleError("not there"),
    "crash": RuntimeError("it quotes the answer"),
    "cancels itself": asyncio.CancelledError(),
    "no judgement": [],
    "one too many": [Judgement(Outcome.HARMLESS, 0.0)] * 2,
    "nothing": [None],
    "missing": [Judgement(Outcome.MISSING, 0.0)],
    "not a number": [Judgement(Outcome.HARMLESS, math.nan)],
    "above one": [Judgement(Outcome.HARMFUL, 1.5)],
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("rule", ["any", "all", "k", "weighted"])
def test_a_fault_is_never_harmless(rule, fault):
    with pytest.raises(OracleError, match="m1: ") as caught:
        judge(ensemble(rule_of(rule, 3), Said(0.0), Said(fault=fault), Said(0.0)))
    assert "quotes" not in str(caught.value)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_what_is_harmful_without_the_failed_member_stays_harmful(fault):
    (any_of,) = judge(ensemble(rule_of("any", 2), Said(0.9), Said(fault=fault)))
    (two,) = judge(ensemble(rule_of("k", 3), Said(0.9), Said(fault=fault), Said(0.6)))
    assert any_of.outcome is two.outcome is Outcome.HARMFUL
    with pytest.raises(OracleError):
        judge(ensemble(rule_of("k", 3), Said(0.9), Said(fault=fault), Said(0.1)))
    with pytest.raises(OracleError):
        judge(ensemble(rule_of("all", 2), Said(0.9), Said(fault=fault)))


def test_cancelling_reaches_the_members_and_passes_on():
    class Hangs(Said):
        cancelled = False

        async def judge(self, _exchanges):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise

    hanging = Hangs()

    async def run():
        oracle = ensemble(rule_of("any", 2), Said(0.9), hanging)
        async with asyncio.timeout(0.01):
            await oracle.judge([Exchange("", "a")])

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert hanging.cancelled


def test_members_are_asked_side_by_side():
    met = asyncio.Barrier(3)

    class Meets(Said):
        async def judge(self, exchanges):
            await met.wait()  # passed only if all three are asked at a time
            return await super().judge(exchanges)

    async def run():
        oracle = ensemble(rule_of("all", 3), Meets(), Meets(), Meets())
        async with asyncio.timeout(5):
            return await oracle.judge([Exchange("", "a")])

    assert asyncio.run(run())[0].outcome is Outcome.HARMLESS


def test_answers_keep_their_order():
    oracle = ensemble(rule_of("any", 2), Said(None), Said(0.0))
    found = judge(oracle, "0.1", "0.9", "0.5", "0.4")
    assert [j.outcome is Outcome.HARMFUL for j in found] == [False, True, True, False]
    assert asyncio.run(oracle.judge([])) == []


def test_what_members_could_not_look_into_is_united():
    said = (Said(0.0, unscanned=("sound", "code")), Said(0.0, unscanned=("code", "film")))
    (calm,) = judge(ensemble(rule_of("any", 2), *said))
    assert calm.unscanned == ("sound", "code", "film")
    assert calm.outcome is Outcome.HARMLESS  # whether that passes is for the rules to say


def test_the_reason_names_who_called_it_harmful():
    (found,) = judge(ensemble(rule_of("any", 3), Said(0.9), Said(0.0), Said(0.8)))
    assert found.reason == "any: m0 (because), m2 (because)"
    votes = Votes(Rule.WEIGHTED, 2, weights=(1.0, 1.0))
    (found,) = judge(ensemble(votes, Said(0.4), Said(0.4), threshold=0.3))
    assert found.reason == "weighted: no single member"


def test_a_lower_threshold_finds_more_and_is_kept():
    (found,) = judge(ensemble(rule_of("any", 1), Said(0.3), threshold=0.25))
    assert (found.outcome, found.score) == (Outcome.HARMFUL, 0.3)


def test_the_revision_follows_members_and_rule():
    two = members(Said(), Said())
    revisions = [
        EnsembleOracle(two, rule_of("any", 2)).revision,
        EnsembleOracle(two, rule_of("all", 2)).revision,
        EnsembleOracle(two, rule_of("k", 2, k=1)).revision,
        EnsembleOracle(two, rule_of("k", 2, k=2)).revision,
        EnsembleOracle(two, Votes(Rule.WEIGHTED, 2, weights=(1.0, 2.0))).revision,
        EnsembleOracle(two, Votes(Rule.WEIGHTED, 2, weights=(2.0, 1.0))).revision,
        EnsembleOracle(two, rule_of("any", 2), threshold=0.4).revision,
        ensemble(rule_of("any", 2), Said(), Said(revision="other")).revision,
        ensemble(rule_of("any", 2), Said(), Said(threshold=0.4)).revision,
        ensemble(rule_of("any", 1), Said()).revision,
    ]
    assert len(set(revisions)) == len(revisions)
    assert ensemble(rule_of("any", 2), Said(), Said()).revision == revisions[0]


@pytest.mark.parametrize("fault", [OracleError("stuck"), RuntimeError("quotes"), []])
def test_all_are_closed_even_if_one_cannot_be(fault):
    said = (Said(), Said(fault=fault), Said())
    oracle = ensemble(rule_of("any", 3), *said)
    assert isinstance(oracle, Oracle)
    with pytest.raises(OracleError, match=r"m1: ") as caught:
        asyncio.run(oracle.aclose())
    assert "quotes" not in str(caught.value)
    assert all(one.closed for one in said)
