"""One index, one answer: the exact probability of passing, whatever becomes of harmful answers.

The engine is run along every path that the draws of model and faults can take, so that P(pass) is
a sum over paths and no estimate.
"""

import math
from fractions import Fraction

import pytest

from guardrail.engine.plan import UNSCALED, make_plan, plan_for
from guardrail.engine.rules import Retry
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import OracleError
from guardrail.oracles.base import Judgement
from guardrail.stats import PlanKind, pass_rates_under_faults
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Fault, Scripted, Step
from guardrail.upstreams.undrawn import statuses_undrawn

# A test of three unanimous answers, and one of eleven of which one may be harmful.
UNANIMOUS = {"alpha": 0.4, "expected_harmless_rate": 0.99, "power": 0.9}
TOLERANT = {"alpha": 0.12, "expected_harmless_rate": 0.95, "power": 0.85}
PLANS = {"unanimous": UNANIMOUS, "tolerant": TOLERANT}
HARMLESS, HARMFUL, LOST = "harmless", "harmful", "lost"


def harm_as(step):
    return lambda word: step if word == HARMFUL else Step("A cat.")


# What becomes of a harmful answer before anybody judges it.
DISGUISES = {
    "503": Step(fault=Fault.STATUS, status=503),
    "500": Step(fault=Fault.STATUS, status=500),
    "timeout": Step(fault=Fault.HANG),
    "empty": Step(fault=Fault.EMPTY),
    "reset": Step(fault=Fault.RESET),
    "crash": Step(fault=Fault.CRASH),
    "malformed": Step(fault=Fault.GARBAGE),
    "cut off": Step(fault=Fault.HALF_BODY),
    "error in a 200": Step(response={"error": {"message": "no", "code": 500}}),
    "error in a choice": Step("A", finish_reason="error"),
    "content filter": Step(message={"content": None}, finish_reason="content_filter"),
    "out of a cache": Step(response={"cached": True, "choices": [{"message": {"content": "A"}}]}),
    "429 of a gateway": Step(fault=Fault.STATUS, status=429),
}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Repeats without their pauses."""
    monkeypatch.setattr("guardrail.engine.retry._FIRST_PAUSE_S", 0.0)


class Path:
    """One way through the draws: a given beginning, and after it always the first kind."""

    def __init__(self, kinds, beginning):
        self.kinds, self.beginning, self.taken = kinds, beginning, []

    def draw(self):
        place = len(self.taken)
        drawn = self.beginning[place] if place < len(self.beginning) else self.kinds[0]
        self.taken.append(drawn)
        return drawn

    def siblings(self):
        """The ways that leave this one after its beginning."""
        for place in range(len(self.beginning), len(self.taken)):
            for kind in self.kinds[1:]:
                yield [*self.taken[:place], kind]


def passing(decide, chances):
    """P(pass), exactly; `decide` takes a path and says whether it passes.

    Args:
        decide: runs the engine along a path.
        chances: kind of draw to its probability; they add up to 1.
    """
    left, total, passed = [[]], Fraction(0), Fraction(0)
    while left:
        path = Path(list(chances), left.pop())
        passes = decide(path)
        weight = math.prod((chances[kind] for kind in path.taken), start=Fraction(1))
        total += weight
        passed += weight if passes else 0
        left += path.siblings()
    assert total == 1  # every path was walked, and once
    return passed


def exact(plan, q):
    return pytest.approx(plan.power_at(float(q)), rel=1e-12, abs=1e-15)


def decider(kit, play, *, undrawn=(), oracle=None, **rules):
    """Decides along a path; `play` makes a step of what is drawn."""
    rules = {"retries": 2, "max_parallel": 1, "deadline_s": 60.0, **rules}
    pictures = kit.make_pictures(1)

    def decide(path):
        upstream = Scripted(lambda _: play(path.draw()), undrawn=undrawn)
        judge = None if oracle is None else oracle(path)
        engine = kit.make_engine(upstream=upstream, oracle=judge, **rules)
        verdict = kit.decide(engine, pictures)
        assert (verdict.action is Action.PASS) == (verdict.answer is not None)
        if verdict.reason is Reason.UPSTREAM_FAILED:
            assert verdict.action is Action.FAULT  # a fault is never called a block
        return verdict.action is Action.PASS

    return decide


def plan_of(kit, **rules):
    return plan_for(kit.make_rules(**rules), UNSCALED)


def chances(q):
    return {HARMLESS: q, HARMFUL: 1 - q}


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("disguise", "size"),
    [
        *((disguise, "unanimous") for disguise in DISGUISES),
        *((disguise, "tolerant") for disguise in ("503", "empty", "429 of a gateway")),
    ],
)
def test_harm_in_disguise_passes_no_more_often_than_harm(kit, disguise, size):
    rules = {**PLANS[size], "refusals_are_harmless": False}
    plan = plan_of(kit, **rules)
    limit = {"call_timeout_s": 0.15} if disguise == "timeout" else {}
    decide = decider(kit, harm_as(DISGUISES[disguise]), **rules, **limit)
    for q in (Fraction(plan.q_required), Fraction(1, 2)):
        passed = passing(decide, chances(q))
        if disguise == "429 of a gateway":  # ends the decision where harm might still pass
            assert passed <= plan.power_at(float(q)) * (1 + 1e-12)
        else:
            assert float(passed) == exact(plan, q)
        assert passed <= plan.alpha


@pytest.mark.nightly
def test_side_by_side_calls_change_nothing(kit):
    plan = plan_of(kit, **TOLERANT)
    decide = decider(kit, harm_as(DISGUISES["503"]), **TOLERANT, max_parallel=4)
    # The paths differ, since more may be drawn than is counted; the sum does not.
    q = Fraction(plan.q_required)
    assert float(passing(decide, chances(q))) == exact(plan, q)


def test_a_filter_counts_as_the_policy_counts_refusals(kit):
    """Harmless ones make P(pass) what the policy asked for, and no repeat adds to it."""
    rules = {**UNANIMOUS, "refusals_are_harmless": True}
    decide = decider(kit, harm_as(DISGUISES["content filter"]), **rules)
    filtered = passing(decide, chances(Fraction(1, 2)))
    assert filtered == 1


class Judge:
    """A judge that is asked again; its harmful verdicts come as errors."""

    revision = "judge"

    def __init__(self, path, **says):
        self._path, self.by_text = path, says.get("by_text", False)

    async def judge(self, _):
        if self._path.draw() == HARMFUL:
            raise OracleError("the judge failed")
        return [Judgement(Outcome.HARMLESS, 0.0)]

    async def aclose(self):
        pass


@pytest.mark.no_cover
@pytest.mark.parametrize("size", PLANS)
def test_verdicts_that_come_as_errors_pass_no_more_often_either(kit, size):
    plan = plan_of(kit, **PLANS[size])
    q = Fraction(plan.q_required)
    calls = decider(kit, lambda _: Step("A cat."), oracle=Judge, **PLANS[size])

    def decide(path):
        return calls(_Judged(path))

    assert float(passing(decide, chances(q))) == exact(plan, q)


class _Judged:
    """A path that only the judge draws from."""

    def __init__(self, path):
        self._path, self._asked = path, 0

    def draw(self):
        self._asked += 1
        # Calls and judgements take turns: the model first, then the judge.
        return HARMLESS if self._asked % 2 else self._path.draw()


class TestAny:
    """`retry: any` asks again until something comes: the old way, and what it costs."""

    @pytest.mark.no_cover
    @pytest.mark.parametrize("retries", [0, 1, 2])
    def test_p_pass_is_that_of_the_model_as_it_is_asked(self, kit, retries):
        plan = plan_of(kit, **UNANIMOUS)
        decide = decider(
            kit, harm_as(DISGUISES["503"]), **UNANIMOUS, retry=Retry.ANY, retries=retries
        )
        q = Fraction(1, 2)
        asked = 1 - (1 - q) ** (retries + 1)
        assert float(passing(decide, chances(q))) == exact(plan, asked)

    @pytest.mark.no_cover
    def test_it_passes_far_more_than_alpha(self, kit):
        plan = plan_of(kit, **UNANIMOUS)
        decide = decider(kit, harm_as(DISGUISES["503"]), **UNANIMOUS, retry=Retry.ANY)
        q = Fraction(plan.q_required)
        assert passing(decide, chances(q)) > 2 * Fraction(plan.alpha)

    @pytest.mark.no_cover
    def test_at_the_size_of_a_real_plan(self):
        """28 unanimous answers: .00005 becomes .88 with two repeats."""
        plan = make_plan(PlanKind.OPTIMAL, 0.7772, 0.001, 0.99, 0.99, 200, 4.0, 32)
        harm = 0.3
        passed = [plan.power_at(1 - harm ** (k + 1)) for k in range(4)]
        assert passed[0] < 1e-4
        assert passed[1] > 0.1
        assert passed[2] > 0.8
        assert passed[3] > 0.99

    @pytest.mark.no_cover
    def test_a_wrongly_declared_upstream_is_asked_again_as_well(self, kit):
        """`direct: true` is the operator's word; where it is untrue, so is the bound."""
        plan = plan_of(kit, **UNANIMOUS)
        step = Step(fault=Fault.STATUS, status=429, retry_after="0")
        decide = decider(kit, harm_as(step), **UNANIMOUS, undrawn=statuses_undrawn(direct=True))
        asked = 1 - Fraction(1, 2) ** 3
        assert float(passing(decide, chances(Fraction(1, 2)))) == exact(plan, asked)


class TestAvailability:
    """What the rule costs: clean traffic that does not pass because some answers are lost."""

    @pytest.mark.nightly
    @pytest.mark.parametrize(
        ("size", "share"),
        [
            *(("unanimous", Fraction(share, 100)) for share in (0, 1, 2, 5)),
            ("tolerant", Fraction(1, 20)),
        ],
        ids=str,
    )
    def test_the_pass_rate_is_that_of_the_forecast(self, kit, size, share):
        plan = plan_of(kit, **PLANS[size])
        step = Step(fault=Fault.STATUS, status=503)
        play = {HARMLESS: Step("A cat."), HARMFUL: Step(kit.HARM), LOST: step}
        decide = decider(kit, play.__getitem__, **PLANS[size])
        q1 = Fraction(99, 100)
        drawn = {HARMLESS: q1 * (1 - share), HARMFUL: (1 - q1) * (1 - share), LOST: share}
        (forecast,) = pass_rates_under_faults(plan, float(q1), (float(share),))
        assert float(passing(decide, drawn)) == pytest.approx(forecast.pass_rate, rel=1e-12)

    def test_plans_are_made_for_the_share_of_answers_that_come(self, kit):
        rules = {"kind": PlanKind.OPTIMAL, "alpha": 0.001, "power": 0.99, "max_samples": 400}
        sure = plan_of(kit, **rules)
        ready = plan_of(kit, **rules, expected_success_rate=0.98)
        at = 0.99 * 0.98
        assert sure.power_at(at) < 0.99 <= ready.power_at(at)
