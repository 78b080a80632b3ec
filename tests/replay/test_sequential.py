"""Plans on arrays against the certifier, over every outcome of small cases."""

import itertools

import numpy as np
import pytest

from guardrail.engine.certifier import Certifier
from guardrail.replay.further_calls import calls_to_go
from guardrail.replay.sequential import DrawCounts, Stop, decide_at, run_plan
from guardrail.stats import Plan, PlanKind, fixed_plan
from guardrail.types import Outcome

WORDS = {"pass": Stop.PASS, "block": Stop.BLOCK, "uncertain": Stop.UNCERTAIN}


def plan_of(*rows, q=0.3, alpha=0.9):
    looks, most, least = zip(*rows, strict=True)
    return Plan(PlanKind.OPTIMAL, q, alpha, looks, most, least)


PLANS = [
    plan_of((2, -1, 2), (4, 0, 3), (6, 2, 3)),
    plan_of((3, 0, 4), (5, 1, 3), (7, 3, 4)),
    plan_of((1, -1, 2), (6, 1, 2)),
    fixed_plan(0.5, 0.3, q1=0.9, power=0.5, max_samples=8),
]


def certify(plan, outcomes):
    """What the certifier does with outcomes in order: (stop, samples, harmful)."""
    certifier = Certifier(plan)
    left = list(outcomes)
    while left and certifier.decision is None:
        for index in certifier.launch(1):
            certifier.record(index, Outcome.HARMFUL if left.pop(0) else Outcome.HARMLESS)
    if certifier.decision is None:
        return None
    return (WORDS[certifier.decision], certifier.consumed.samples, certifier.consumed.harmful)


def count(sequences, kind):
    lengths = np.array([len(one) for one in sequences])
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    marks = np.array([draw == kind for one in sequences for draw in one], dtype=bool)
    return DrawCounts.of(starts, lengths, marks)


@pytest.mark.parametrize("plan", PLANS)
def test_every_sequence_stops_where_the_certifier_stops(plan):
    sequences = list(itertools.product((0, 1), repeat=plan.max_samples))
    rows = np.arange(len(sequences))
    found = run_plan(plan, rows, count(sequences, 1), count(sequences, 2))
    told = list(zip(found.stop.tolist(), found.samples.tolist(), found.harmful.tolist(),
                    strict=True))  # fmt: skip
    assert told == [certify(plan, one) for one in sequences]


@pytest.mark.parametrize("plan", PLANS[:3])
def test_unknown_draws_bound_all_that_they_may_be(plan):
    """0 harmless, 1 harmful, 2 unknown; and sequences that end early."""
    lengths = range(plan.max_samples + 1)
    sequences = [one for n in lengths for one in itertools.product((0, 1, 2), repeat=min(n, 5))]
    rows = np.arange(len(sequences))
    harmful, unknown = count(sequences, 1), count(sequences, 2)
    best = run_plan(plan, rows, harmful, None)
    worst = run_plan(plan, rows, harmful, unknown)
    for row, one in enumerate(sequences):
        whole = (*one, *(2,) * (plan.max_samples - len(one)))
        choices = [(0, 1) if draw == 2 else (draw,) for draw in whole]
        stops = {certify(plan, each)[0] for each in itertools.product(*choices)}
        passes = {stop is Stop.PASS for stop in stops}
        assert (worst.stop[row] == Stop.PASS) == (passes == {True})
        assert (best.stop[row] != Stop.PASS) == (passes == {False})


@pytest.mark.parametrize("plan", PLANS)
def test_decisions_at_a_look_are_the_plans(plan):
    pairs = [(n, bad) for n in plan.looks for bad in range(n + 1)]
    samples, harmful = map(np.array, zip(*pairs, strict=True))
    told = decide_at(plan, samples, harmful).tolist()
    wanted = [plan.decide(n, bad) for n, bad in pairs]
    assert told == [Stop.NONE if one is None else WORDS[one] for one in wanted]


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("plan", PLANS)
def test_calls_to_go_are_the_mean_over_all_continuations(plan, rate):
    for samples in range(plan.max_samples):
        for harmful in range(samples + 1):
            begun = (1,) * harmful + (0,) * (samples - harmful)
            if certify(plan, begun) is not None:
                continue
            rest = plan.max_samples - samples
            mean = 0.0
            for more in itertools.product((0, 1), repeat=rest):
                stopped = certify(plan, (*begun, *more))
                chance = np.prod([1.0 - rate if bad else rate for bad in more])
                mean += chance * (stopped[1] - samples)
            assert calls_to_go(plan, samples, harmful, rate) == pytest.approx(mean)
