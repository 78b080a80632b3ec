"""A decision never makes more calls than are set aside for it."""

import dataclasses

import pytest

from guardrail.engine.budget import Budget
from guardrail.engine.engine import Engine
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.most_calls import most_calls
from guardrail.engine.plan import measure_geometry, plan_for
from guardrail.engine.preprocessing import settle
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.stats import failover_alpha
from guardrail.types import Answer, Usage
from guardrail.upstreams.prices import Price, PriceBook, Tier
from guardrail.upstreams.scripted import Scripted
from tests.policies import arrange


class Words:
    revision = "words"

    async def judge(self, _exchanges):
        raise AssertionError

    async def aclose(self):
        pass


class Compares(Words):
    n0 = 5
    harm = None

    async def reference(self, _selection):
        raise AssertionError


def rules(**fields):
    sections = {"name": "t", "oracle": {"miss_rate_upper": 0.01}, "limits": {"retries": 2}}
    return compile_policy(Policy.model_validate(arrange({**sections, **fields})))


SIZES = [(300, 400), (20, 30)]


def laid(made):
    canvas = settle(made, Scripted(["A cat."]), "model")
    return [canvas.canvas_for(*size) for size in SIZES]


def plan_of(made, alpha=None):
    return plan_for(made, measure_geometry(laid(made)), alpha=alpha)


def test_a_text_is_one_call_and_its_repeats():
    assert most_calls(rules(), Words(), []) == 3


@pytest.mark.no_cover
def test_a_picture_takes_its_plan_and_one_answer():
    made = rules()
    most = plan_of(made).max_samples
    assert most_calls(made, Words(), laid(made)) == most + 3
    assert most_calls(made, Compares(), laid(made)) == most + 3 + 5
    assert most_calls(made, Words(), laid(made), alpha=1e-5) > most + 3


def test_without_a_test_nothing_is_drawn():
    made = rules(sampling={"max_samples": 1000})
    assert most_calls(made, Words(), laid(made), alpha=1e-300) == 3


def test_several_upstreams_each_decide():
    made = rules()
    engine = FailoverEngine(made, [Scripted(["x"]), Scripted(["y"])], Words(), NoiseKey(bytes(32)))
    shares = [failover_alpha(made.alpha, i, 2) for i in range(2)]
    assert engine.most_calls(SIZES, "model") == sum(
        plan_of(made, a).max_samples + 3 for a in shares
    )


@pytest.mark.parametrize(("mode", "sizes", "count"), [("observe", SIZES, 3), ("observe", [], 0),
                                                     ("enforce", SIZES, 0)])  # fmt: skip
def test_calls_that_no_budget_counts(mode, sizes, count):
    engine = Engine(rules(mode=mode), Scripted(["x"]), Words(), NoiseKey(bytes(32)))
    assert engine.unbudgeted_calls(sizes) == count


def test_a_budget_reckons_what_was_not_answered():
    """Three calls, one answer of 0.2 US dollars: at most 0.6."""
    price = Price((Tier(0, 0.1, 0.0),))
    budget = Budget(dataclasses.replace(rules(), prices=PriceBook({"m": price})), caller="acme")
    for _ in range(3):
        budget.open("m")
    assert budget.cost_upper_usd == 0.0
    answer = Answer({"role": "assistant", "content": "x"}, "stop", model="m",
                    usage=Usage(prompt_tokens=2, completion_tokens=1, calls=1))  # fmt: skip
    budget.charge(answer, "m")
    assert (budget.calls, budget.caller) == (3, "acme")
    assert budget.cost_usd == pytest.approx(0.2)
    assert budget.cost_upper_usd == pytest.approx(0.6)
    budget.charge(dataclasses.replace(answer, model="other"), "other")
    assert budget.cost_upper_usd is None
