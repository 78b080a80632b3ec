"""Actions end to end: a model whose probabilities are known, the reference, the test, the proof."""

import asyncio
import json
import random

import pytest
from scipy.stats import binom

from guardrail.engine.certificate.codec import decode_certificate, encode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.certifier import Certifier
from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.engine.promise import Claim
from guardrail.engine.verdict import Action, Reason
from guardrail.oracles.action.arguments import Arguments
from guardrail.oracles.action.oracle import ActionOracle
from guardrail.oracles.action.space import ActionRule, ActionSource, ActionSpace
from guardrail.oracles.base import Exchange
from guardrail.stats import Decision
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted, Step

MOVE = {"properties": {"to": {"enum": ["left", "right"]}}, "required": ["to"]}
SPACE = ActionSpace(
    {
        "move": ActionRule(Arguments(MOVE, matter=frozenset({"to"}))),
        "stop": ActionRule(),
        "fire": ActionRule(forbidden=True),
    },
    ActionSource.TOOL_CALLS,
)
LEFT, RIGHT = (("move", {"to": to, "why": "?"}) for to in ("left", "right"))
STOP, FIRE = ("stop", {}), ("fire", {})


def message(*calls, text=None):
    functions = [{"name": name, "arguments": json.dumps(given)} for name, given in calls]
    made = [{"id": "1", "type": "function", "function": function} for function in functions]
    return {"role": "assistant", "content": text, "tool_calls": made}


def acting(*weighted):
    """A script that answers by the call's seed, each message with its probability."""
    messages, weights = zip(*weighted, strict=True)

    def answer(call):
        (chosen,) = random.Random(call.seed).choices(messages, weights)
        return Step(message=chosen)

    return answer


def decided(kit, *weighted, pictures=1, **changes):
    upstream = Scripted(acting(*weighted))
    rules = {"claim": Claim.VERDICT, "alpha": 0.001, **changes}
    engine = kit.make_engine(upstream=upstream, oracle=ActionOracle(SPACE), **rules)
    return kit.decide(engine, pictures)


def test_a_stable_action_passes_and_is_what_leaves(kit):
    verdict = decided(kit, (message(LEFT), 0.97), (message(STOP), 0.02), ({"content": "?"}, 0.01))
    assert (verdict.action, verdict.reason) == (Action.PASS, Reason.CERTIFIED)
    (call,) = verdict.answer.message["tool_calls"]
    assert json.loads(call["function"]["arguments"])["to"] == "left"
    certificate = verdict.certificate
    assert certificate.reference_kind == "action"
    assert certificate.reference.startswith("move(to=left) #")
    assert "of the action 'move(to=left) #" in certificate.statement
    verify_certificate(decode_certificate(json.loads(json.dumps(encode_certificate(certificate)))))


def test_the_counts_are_those_of_the_true_probability(kit):
    """Of the counted draws as many take the action as are said to."""
    verdict = decided(kit, (message(LEFT), 0.9), (message(RIGHT), 0.1))
    taken = [
        json.loads(sample.answer.message["tool_calls"][0]["function"]["arguments"])["to"]
        for sample in verdict.samples
    ]
    told = [Outcome.HARMLESS if to == "left" else Outcome.OTHER_ACTION for to in taken]
    assert [sample.outcome for sample in verdict.samples] == told
    assert verdict.certificate.harmful == taken[: verdict.certificate.samples].count("right")


@pytest.mark.parametrize(
    ("weighted", "reason"),
    [
        ([(message(LEFT), 0.34), (message(RIGHT), 0.33), (message(STOP), 0.33)], "nothing"),
        ([({"content": "I would rather talk."}, 1.0)], "nothing"),
        ([(message(("dance", {})), 1.0)], "nothing"),
        ([(message(FIRE), 1.0)], "harm"),
        ([(message(LEFT, FIRE), 1.0)], "harm"),
        ([(message(LEFT), 0.55), (message(RIGHT), 0.45)], ""),
    ],
)
def test_what_is_not_stable_or_not_allowed_never_passes(kit, weighted, reason):
    verdict = decided(kit, *weighted)
    assert verdict.action is Action.BLOCK
    assert verdict.answer is None
    assert reason in verdict.reason


def test_the_most_frequent_action_is_tested_and_no_other(kit):
    """The rare action shares words with the frequent one, and is never delivered."""
    for seed in range(5):
        chatty = message(RIGHT, text="I move left. " * 20)
        verdict = decided(
            kit,
            (message(LEFT), 0.93),
            (chatty, 0.07),
            pictures=[kit.make_picture(seed=seed)],
        )
        if verdict.action is Action.PASS:
            assert "left" in json.dumps(verdict.answer.message["tool_calls"])


def test_another_action_blocks_as_that_and_is_never_called_harm(kit):
    asked = []

    def answer(call):
        asked.append(call.seed)
        return Step(message=message(LEFT if len(asked) <= 8 else RIGHT))

    engine = kit.make_engine(
        upstream=Scripted(answer), oracle=ActionOracle(SPACE), claim=Claim.VERDICT
    )
    verdict = kit.decide(engine, 1)
    assert (verdict.action, verdict.reason) == (Action.BLOCK, Reason.OTHER_ACTION)
    assert {sample.outcome for sample in verdict.samples} == {Outcome.OTHER_ACTION}
    assert {sample.reason for sample in verdict.samples} == {"another action"}
    assert verdict.harmful == ()
    assert verdict.reason.is_judgement


def test_without_a_picture_an_allowed_action_passes_uncertified(kit):
    passed, blocked, unread = (
        decided(kit, (message(c), 1.0), pictures=0) for c in (LEFT, FIRE, ("dance", {}))
    )
    assert (passed.action, passed.reason) == (Action.PASS, Reason.NO_IMAGE)
    assert (blocked.action, blocked.reason) == (Action.BLOCK, Reason.HARMFUL)
    assert (unread.action, unread.reason) == (Action.BLOCK, Reason.OTHER_ACTION)


class TestFalsePasses:
    """Thousands of decisions about a model whose action is just not stable enough."""

    RUNS = 3000
    ALPHA = 0.05

    @pytest.fixture
    def plan(self, kit):
        rules = kit.make_rules(claim=Claim.VERDICT, alpha=self.ALPHA, power=0.9)
        return plan_for(rules, UNSCALED)

    def passes(self, plan, q):
        """How many of the runs pass if one of two actions has probability `q`."""
        return asyncio.run(self._passes(plan, q, random.Random(17)))

    async def _passes(self, plan, q, draws):
        oracle, passed = ActionOracle(SPACE, n0=8), 0
        exchanges = [Exchange("", "", message(LEFT)), Exchange("", "", message(RIGHT))]
        outcomes = await self._outcomes(oracle, exchanges)
        for _ in range(self.RUNS):
            rare = sum(draws.random() >= q for _ in range(oracle.n0))
            if 2 * rare == oracle.n0:
                continue  # no majority, no test
            chosen = int(2 * rare > oracle.n0)
            certifier = Certifier(plan)
            while certifier.decision is None:
                for index in certifier.launch(64):
                    certifier.record(index, outcomes[chosen][int(draws.random() >= q)])
            passed += certifier.decision is Decision.PASS
        return passed

    async def _outcomes(self, oracle, exchanges):
        """What each reference says of each answer, by the oracle itself."""
        references = [await oracle.reference([exchange]) for exchange in exchanges]
        judged = [await reference.oracle.judge(exchanges) for reference in references]
        return [[judgement.outcome for judgement in row] for row in judged]

    def test_they_keep_to_the_exact_bound_and_come_near_it(self, plan):
        passed = self.passes(plan, plan.q_required - 1e-9)
        assert plan.false_pass_upper <= self.ALPHA
        assert binom.sf(passed - 1, self.RUNS, plan.false_pass_upper) > 1e-9
        assert binom.cdf(passed, self.RUNS, 0.9 * plan.false_pass_upper) > 1e-9

    def test_an_action_as_likely_as_another_hardly_ever_passes(self, plan):
        assert self.passes(plan, 0.5) < self.passes(plan, plan.q_required) / 2

    @pytest.mark.no_cover
    def test_a_stable_action_passes_as_often_as_planned(self, plan):
        passed = self.passes(plan, 0.99)
        assert binom.cdf(passed, self.RUNS, plan.power_at(0.99)) > 1e-9
