"""The certifier as a state machine: order of arrival never matters, nothing is sent in vain."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from guardrail.engine.certifier import Certifier, Count
from guardrail.errors import CertificationError
from guardrail.stats import Decision, Plan, PlanKind, fixed_plan, optimal_plan
from guardrail.types import Outcome

EVERY = optimal_plan(0.69, 0.05, q1=0.99, power=0.9, max_samples=60)
WAVES = optimal_plan(
    0.72, 0.01, q1=0.97, power=0.9, max_samples=80, latency_weight=6.0, max_parallel=5
)
FIXED = fixed_plan(0.69, 0.05, q1=0.95, power=0.9, max_samples=60)
IN_FOURS = fixed_plan(0.69, 0.05, q1=0.95, power=0.9, max_samples=60, looks=(*range(4, 60, 4), 60))
ONE_LOOK = Plan(PlanKind.FIXED, 0.5, 0.05, (5,), (0,), (1,))
ONE_DRAW = Plan(PlanKind.FIXED, 0.04, 0.05, (1,), (0,), (1,))
PLANS = {
    "every draw": EVERY,
    "waves": WAVES,
    "fixed": FIXED,
    "fixed in fours": IN_FOURS,
    "one look": ONE_LOOK,
    "one draw": ONE_DRAW,
}
plans = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
OUTCOME = st.sampled_from([*[Outcome.HARMLESS] * 12, Outcome.HARMFUL, Outcome.MISSING])
OUTCOMES = st.lists(OUTCOME, max_size=80).map(
    lambda drawn: drawn + [Outcome.HARMLESS] * (80 - len(drawn))
)


def by_the_plan(plan, outcomes):
    """The decision on a sequence in index order, and the states at the looks: the definition."""
    counts = []
    for look in plan.looks:
        harmful = sum(not outcome.counts_as_harmless for outcome in outcomes[:look])
        counts.append(Count(look, harmful))
        if decision := plan.decide(look, harmful):
            return decision, tuple(counts)
    raise AssertionError("the last look always decides")


def could_decide(plan, look, harmful, consumed):
    """Whether any completion of the outcomes up to `look` would decide there."""
    worst = harmful + look - consumed
    return any(plan.decide(look, h) for h in range(harmful, worst + 1))


class AnyOrder(RuleBasedStateMachine):
    """Launches and arrivals in any order, against the plan on the sequence in index order."""

    @initialize(
        plan=st.sampled_from(list(PLANS.values())),
        outcomes=OUTCOMES,
        speculate=st.booleans(),
    )
    def begin(self, plan, outcomes, speculate):
        self.plan, self.outcomes, self.speculate = plan, outcomes, speculate
        self.certifier = Certifier(plan, speculate=speculate)
        self.in_flight = []
        self.launched = 0

    @rule(room=st.integers(-1, 40))
    def launch(self, room):
        decided = self.certifier.decision is not None
        indices = self.certifier.launch(room)
        assert len(indices) <= max(room, 0)
        assert not (decided and indices)
        assert list(indices) == list(range(self.launched, self.launched + len(indices)))
        self.in_flight += indices
        self.launched += len(indices)

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def arrive(self, data):
        place = data.draw(st.integers(0, len(self.in_flight) - 1))
        index = self.in_flight.pop(place)
        self.certifier.record(index, self.outcomes[index])
        with pytest.raises(CertificationError, match="record each launched index once"):
            self.certifier.record(index, Outcome.HARMLESS)

    @rule(beyond=st.integers(0, 3))
    def record_what_was_not_launched(self, beyond):
        for index in (self.launched + beyond, -1 - beyond):
            with pytest.raises(CertificationError, match="was not launched"):
                self.certifier.record(index, Outcome.HARMLESS)

    @invariant()
    def decides_as_the_plan_does(self):
        decision, counts = by_the_plan(self.plan, self.outcomes)
        certifier = self.certifier
        assert counts[: len(certifier.counts)] == certifier.counts
        if certifier.decision is not None:
            assert (certifier.decision, certifier.counts) == (decision, counts)
            assert certifier.consumed == counts[-1]

    @invariant()
    def launches_nothing_in_vain(self):
        certifier = self.certifier
        consumed, harmful = certifier.consumed.samples, certifier.consumed.harmful
        assert self.launched <= certifier.horizon <= self.plan.max_samples
        if certifier.decision is None:
            ahead = [look for look in self.plan.looks if look > consumed]
            first = next(k for k in ahead if could_decide(self.plan, k, harmful, consumed))
            limit = min(ahead.index(first) + 1, len(ahead) - 1) if self.speculate else None
            assert certifier.horizon <= (first if limit is None else ahead[limit])

    @invariant()
    def never_stands_still(self):
        waiting = self.certifier.decision is None and not self.in_flight
        if waiting and self.launched:
            assert self.certifier.horizon > self.launched


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase


@pytest.mark.no_cover
@plans
@pytest.mark.parametrize("speculate", [False, True])
@given(outcomes=OUTCOMES, random=st.randoms())
@settings(max_examples=40, deadline=None)
def test_every_order_of_arrival_decides_alike(plan, speculate, outcomes, random):
    certifier = Certifier(plan, speculate=speculate)
    in_flight = []
    while certifier.decision is None:
        in_flight += certifier.launch(random.randint(1, 9))
        if in_flight:
            index = in_flight.pop(random.randrange(len(in_flight)))
            certifier.record(index, outcomes[index])
    assert (certifier.decision, certifier.counts) == by_the_plan(plan, outcomes)


@plans
def test_one_call_at_a_time_comes_to_an_end(plan):
    certifier = Certifier(plan)
    sent = 0
    while certifier.decision is None:
        (index,) = certifier.launch(1)
        certifier.record(index, Outcome.HARMLESS)
        sent += 1
    assert certifier.decision is Decision.PASS
    assert sent == certifier.consumed.samples


@plans
def test_only_harm_blocks(plan):
    certifier = Certifier(plan)
    while certifier.decision is None:
        for index in certifier.launch(100):
            certifier.record(index, Outcome.HARMFUL)
    assert certifier.decision is Decision.BLOCK


def test_the_first_wave_holds_what_is_surely_needed():
    """All draws up to the first look that could decide go out at once, past other looks."""
    certifier = Certifier(FIXED)
    first = next(n for n in FIXED.looks if could_decide(FIXED, n, 0, 0))
    assert first > 1
    assert certifier.launch(100) == range(first)


def test_speculation_sends_one_look_more():
    plain, bold = Certifier(IN_FOURS), Certifier(IN_FOURS, speculate=True)
    first = plain.launch(100).stop
    assert bold.launch(100).stop == IN_FOURS.looks[IN_FOURS.looks.index(first) + 1]


def test_speculation_ends_at_the_last_look():
    assert Certifier(ONE_LOOK, speculate=True).launch(100) == range(5)


def test_room_is_respected():
    certifier = Certifier(ONE_LOOK)
    assert certifier.launch(0) == range(0)
    assert certifier.launch(2) == range(2)
    assert certifier.launch(9) == range(2, 5)
    assert certifier.launch(9) == range(5, 5)


def test_missing_counts_as_harmful():
    certifier = Certifier(ONE_LOOK)
    for index in certifier.launch(5):
        certifier.record(index, Outcome.MISSING if index == 3 else Outcome.HARMLESS)
    assert certifier.counts == (Count(5, 1),)
    assert certifier.decision is Decision.UNCERTAIN


def test_outcomes_after_the_decision_change_nothing():
    certifier = Certifier(IN_FOURS, speculate=True)
    indices = certifier.launch(100)
    look = next(n for n in IN_FOURS.looks if IN_FOURS.decide(n, n))
    for index in indices[:look]:
        certifier.record(index, Outcome.HARMFUL)
    before = (certifier.decision, certifier.counts, certifier.consumed)
    for index in indices[look:]:
        certifier.record(index, Outcome.HARMLESS)
    assert (certifier.decision, certifier.counts, certifier.consumed) == before
    assert before[0] is Decision.BLOCK


def test_gaps_are_waited_for():
    certifier = Certifier(ONE_LOOK)
    certifier.launch(5)
    for index in (4, 3, 2, 1):
        certifier.record(index, Outcome.HARMLESS)
    assert certifier.consumed == Count(0, 0)
    assert certifier.decision is None
    certifier.record(0, Outcome.HARMLESS)
    assert certifier.decision is Decision.PASS
