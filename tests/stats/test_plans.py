"""A plan's table, verdicts and exact probabilities, against fractions and plain enumeration."""

from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.errors import CertificationError
from guardrail.stats.plans import Decision, Plan, PlanKind, Walk, pass_upper

LOOSE = 1.0 - 1e-9


def make(looks, most, least, *, q=0.5, alpha=LOOSE, kind=PlanKind.OPTIMAL):
    return Plan(
        kind=kind,
        q_required=q,
        alpha=alpha,
        looks=tuple(looks),
        pass_at_most=tuple(most),
        block_at_least=tuple(least),
    )


@st.composite
def plans(draw, longest=9):
    """Any table that is a plan, at a required rate where alpha allows everything."""
    looks = sorted(draw(st.sets(st.integers(1, longest), min_size=1, max_size=5)))
    most, least = [], []
    for n in looks:
        passes = draw(st.integers(-1, n - 1))
        most.append(passes)
        least.append(draw(st.integers(passes + 1, n + 1)))
    least[-1] = most[-1] + 1
    q = draw(st.sampled_from((0.25, 0.5, 0.75, 0.875)))
    return make(looks, most, least, q=q)


fractions = st.fractions(0, 1, max_denominator=12)

SMALL = make([2, 4, 6], [-1, 0, 1], [2, 3, 2], q=0.5, alpha=0.5)


@given(plans(), fractions)
def test_probabilities_against_fractions(exact, plan, q):
    passes, blocks = exact.stops(plan, q)
    walk = plan.walk(float(q))
    assert walk.passes == pytest.approx([float(p) for p in passes], abs=1e-14)
    assert walk.blocks == pytest.approx([float(p) for p in blocks], abs=1e-14)


@settings(max_examples=25)
@given(plans(longest=8), fractions)
def test_power_and_calls_against_every_path(exact, plan, q):
    """The recursion never plays a game; here every one of 2^n games is played by `decide`."""
    power, calls = exact.paths(plan, q)
    assert plan.power_at(float(q)) == pytest.approx(float(power), abs=1e-12)
    assert plan.expected_calls_at(float(q)) == pytest.approx(float(calls), abs=1e-11)


@given(plans())
def test_false_pass_is_rounded_up_and_no_further_than_needed(exact, plan):
    truth = exact.power(plan, Fraction(plan.q_required))
    assert Fraction(plan.false_pass_upper) >= truth
    assert plan.false_pass_upper <= float(truth) * (1 + 1e-12) + 1e-299


@given(plans(), fractions, fractions)
def test_power_is_monotone_in_the_rate(exact, plan, one, two):
    low, high = sorted((one, two))
    assert exact.power(plan, low) <= exact.power(plan, high)


@given(plans(), fractions)
def test_all_probability_is_spent(plan, q):
    walk = plan.walk(float(q))
    assert math.fsum(walk.stops) == pytest.approx(1.0)
    assert plan.looks[0] - 1e-9 <= walk.expected_calls <= plan.max_samples + 1e-9
    assert 1 - 1e-9 <= plan.walk(float(q)).expected_waves <= len(plan.looks) + 1e-9


@given(plans(), st.sampled_from((0.0, 1.0)))
def test_rates_of_zero_and_one_are_certain(plan, q):
    assert plan.power_at(q) in (0.0, 1.0)


@given(plans(longest=7), st.lists(st.booleans(), min_size=7, max_size=7))
def test_fewer_harmful_never_hurts(exact, plan, outcomes):
    """The coupling behind the proof: turn one harmful outcome harmless, keep the others."""
    outcomes = outcomes[: plan.max_samples]
    verdict, _ = exact.play(plan, outcomes)
    for i, harmless in enumerate(outcomes):
        if not harmless:
            better = [*outcomes[:i], True, *outcomes[i + 1 :]]
            assert verdict is not Decision.PASS or exact.play(plan, better)[0] is Decision.PASS


def test_verdicts_of_a_small_plan():
    assert SMALL.decide(0, 0) is None
    assert SMALL.decide(1, 1) is None
    assert SMALL.decide(2, 1) is None
    assert SMALL.decide(2, 2) is Decision.BLOCK
    assert SMALL.decide(3, 3) is None
    assert SMALL.decide(4, 0) is Decision.PASS
    assert SMALL.decide(4, 2) is None
    assert SMALL.decide(4, 3) is Decision.BLOCK
    assert SMALL.decide(6, 1) is Decision.PASS
    assert SMALL.decide(6, 2) is Decision.UNCERTAIN
    assert SMALL.decide(6, 3) is Decision.BLOCK
    assert SMALL.decide(6, 6) is Decision.BLOCK


def test_uncertain_means_more_samples_might_pass():
    """At the last look, a share above the required rate is short of proof, not refuted."""
    plan = make([20], [0], [1], q=0.8, alpha=0.02)
    assert plan.decide(20, 0) is Decision.PASS
    assert [plan.decide(20, h) for h in (1, 3)] == [Decision.UNCERTAIN] * 2
    assert [plan.decide(20, h) for h in (4, 20)] == [Decision.BLOCK] * 2


def test_a_decision_is_a_plain_word():
    assert Decision.PASS == "pass"
    assert [str(word) for word in Decision] == ["pass", "block", "uncertain"]


@pytest.mark.parametrize(
    ("n", "harmful"), [(-1, 0), (0, 1), (3, 4), (7, 0), (4, -1), (4.0, 1), (4, True)]
)
def test_impossible_counts_are_refused(n, harmful):
    with pytest.raises(CertificationError):
        SMALL.decide(n, harmful)


def test_waves_and_rounds():
    q = 0.5
    walk = SMALL.walk(q)
    assert SMALL.walk(q).expected_waves == pytest.approx(
        sum((i + 1) * p for i, p in enumerate(walk.stops))
    )
    assert SMALL.walk(q).expected_rounds(2) == pytest.approx(SMALL.walk(q).expected_waves)
    assert SMALL.walk(q).expected_rounds(1) == pytest.approx(SMALL.expected_calls_at(q))
    assert SMALL.walk(q).expected_rounds(100) == pytest.approx(SMALL.walk(q).expected_waves)
    with pytest.raises(CertificationError, match="parallel"):
        SMALL.walk(q).expected_rounds(0)


def test_quantiles_of_calls():
    walk = Walk(looks=(2, 4, 6), passes=(0.0, 0.5, 0.25), blocks=(0.25, 0.0, 0.0))
    assert walk.power == 0.75
    assert [walk.calls_quantile(p) for p in (0.0, 0.25, 0.26, 0.75, 0.76, 1.0)] == [
        2, 2, 4, 4, 6, 6,
    ]  # fmt: skip
    with pytest.raises(CertificationError, match=r"p is 1\.5"):
        walk.calls_quantile(1.5)


def test_quantiles_survive_a_sum_that_falls_short_of_one():
    walk = Walk(looks=(1, 2), passes=(0.5, 0.5 - 1e-13), blocks=(0.0, 0.0))
    assert walk.calls_quantile(1.0) == 2


@pytest.mark.no_cover
@given(plans(), fractions)
def test_quantiles_agree_with_the_distribution(plan, q):
    walk = plan.walk(float(q))
    reached = np.cumsum(walk.stops)
    for p in (0.1, 0.5, 0.9):
        n = walk.calls_quantile(p)
        assert reached[plan.looks.index(n)] >= p - 1e-9


@pytest.mark.parametrize(
    ("looks", "most", "least", "word"),
    [
        ([], [], [], "increasing"),
        ([0], [0], [1], "looks"),
        ([3, 2], [0, 0], [3, 1], "increasing"),
        ([2, 2], [0, 0], [2, 1], "increasing"),
        ([2], [0, 1], [1], "one pass and one block"),
        ([2], [0], [1, 2], "one pass and one block"),
        ([2, 4], [-2, 0], [1, 1], "must hold"),
        ([2, 4], [1, 0], [1, 1], "must hold"),
        ([2, 4], [-1, 0], [4, 1], "must hold"),
        ([2, 4], [-1, 0], [2, 3], "undecided"),
    ],
)
def test_what_is_not_a_plan_is_refused(looks, most, least, word):
    with pytest.raises(CertificationError, match=word):
        make(looks, most, least)


@pytest.mark.parametrize("q", [0.0, 1.0, -0.5, math.nan])
def test_required_rates_outside_the_open_unit_are_refused(q):
    with pytest.raises(CertificationError, match="q_required"):
        make([2], [0], [1], q=q)


def test_a_plan_that_passes_too_often_cannot_be_made():
    with pytest.raises(CertificationError, match=r"passes with probability 0\.25"):
        make([2], [0], [1], q=0.5, alpha=0.2)


def test_alpha_is_kept_even_at_equality_to_rounding():
    """(1/2)² is exactly .25, but the evaluation rounds up, so alpha = .25 is refused."""
    with pytest.raises(CertificationError):
        make([2], [0], [1], q=0.5, alpha=0.25)
    assert make([2], [0], [1], q=0.5, alpha=0.25 * (1 + 1e-12)).false_pass_upper > 0.25


def test_a_plan_that_never_passes():
    plan = make([3], [-1], [0], q=0.5, alpha=1e-9)
    assert plan.power_at(1.0) == 0.0
    assert plan.false_pass_upper < 1e-290
    assert plan.decide(3, 0) is Decision.UNCERTAIN


def test_a_plan_with_one_draw():
    plan = make([1], [0], [1], q=0.001, alpha=0.01)
    assert plan.decide(1, 0) is Decision.PASS
    assert plan.expected_calls_at(0.3) == 1.0


def test_the_digest_covers_every_field():
    base = {"looks": [2, 4], "most": [-1, 0], "least": [2, 1], "q": 0.5, "alpha": 0.5}
    changes = [
        {},
        {"looks": [2, 5]},
        {"looks": [3, 4]},
        {"most": [-1, -1], "least": [2, 0]},
        {"least": [3, 1]},
        {"q": 0.51},
        {"q": math.nextafter(0.5, 1)},
        {"alpha": 0.4},
        {"alpha": math.nextafter(0.5, 1)},
        {"kind": PlanKind.FIXED},
    ]
    digests = set()
    for change in changes:
        fields = base | change
        rows = fields.pop("looks"), fields.pop("most"), fields.pop("least")
        digests.add(make(*rows, **fields).digest)
    assert len(digests) == len(changes)


def test_the_digest_is_stable():
    """Certificates carry it: it must never change for the same table."""
    assert SMALL.digest == "3971cbe5f032900d21d0b96ce09dad230d53ae2f9fea40c610e3b7c35e46a2a9"
    again = make((2, 4, 6), (-1, 0, 1), (2, 3, 2), q=0.5, alpha=0.5)
    assert again.digest == SMALL.digest
    assert again == SMALL
    assert hash(again) == hash(SMALL)


def test_numpy_numbers_give_the_same_digest():
    rows = (np.array(row) for row in ((2, 4, 6), (-1, 0, 1), (2, 3, 2)))
    assert make(*rows, q=np.float64(0.5), alpha=0.5).digest == SMALL.digest


def test_a_plan_survives_json():
    fields = dataclasses.asdict(SMALL)
    for derived in ("false_pass_upper", "digest"):
        fields.pop(derived)
    loaded = json.loads(json.dumps(fields))
    again = make(
        loaded["looks"],
        loaded["pass_at_most"],
        loaded["block_at_least"],
        q=loaded["q_required"],
        alpha=loaded["alpha"],
        kind=PlanKind(loaded["kind"]),
    )
    assert again.digest == SMALL.digest


def test_a_plan_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALL.alpha = 0.9


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_impossible_rates_are_refused(q):
    with pytest.raises(CertificationError, match="q is"):
        SMALL.power_at(q)


@pytest.mark.parametrize("q", [1e-12, 1e-300, 1 - 1e-12, math.nextafter(1.0, 0.0)])
@pytest.mark.parametrize(
    "plan",
    [
        SMALL,
        make([5, 9, 30], [-1, 0, 2], [3, 3, 3], q=0.75, alpha=0.5),
        make([60], [3], [4], q=0.75, alpha=0.5),
    ],
    ids=["small", "staged", "one look"],
)
def test_rates_within_a_hair_of_zero_and_one(exact, plan, q):
    """Against whole-number arithmetic at the very float: passes and blocks keep their digits."""
    passes, blocks = exact.stops(plan, q)
    walk = plan.walk(q)
    for ours, truth in zip((*walk.passes, *walk.blocks), (*passes, *blocks), strict=True):
        assert ours == pytest.approx(float(truth), rel=1e-13, abs=1e-307)


@pytest.mark.parametrize("q", [1e-12, 1 - 1e-12])
def test_plans_that_prove_rates_within_a_hair_of_zero_and_one(exact, q):
    alpha = 1e-9 if q < 0.5 else 1 - 1e-13
    plan = make([3, 5], [0, 0], [3, 1], q=q, alpha=alpha)
    truth = exact.power(plan, q)
    assert truth <= Fraction(plan.false_pass_upper)
    assert plan.false_pass_upper <= float(truth) * (1 + 1e-13) + 1e-299


def test_long_tables_keep_tiny_probabilities():
    """1e-250 and below is neither lost nor rounded to nothing."""
    value = pass_upper((2_000,), (0,), (1,), 0.75)
    assert value == pytest.approx(0.75**2_000, rel=1e-9)
    assert value > 0.0


def test_underflow_is_still_bounded_from_above():
    assert 0.0 < pass_upper((5_000,), (0,), (1,), 0.5) < 1e-250


def test_certain_passes_are_not_more_than_certain():
    assert pass_upper((3,), (3,), (4,), 0.5) == 1.0
