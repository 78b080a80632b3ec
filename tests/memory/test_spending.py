"""Decisions that spend: what holds a number, what gives it back, and how often attackers pass."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest

from guardrail.engine.engine import Engine
from guardrail.engine.failover import FailoverEngine
from guardrail.engine.plan import UNSCALED, plan_for, required_rate
from guardrail.engine.rules import AnswerSource, Mode, OnOracleFailure
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError, OracleError, RequestError
from guardrail.images.codec import Picture
from guardrail.images.keys import NoiseKey
from guardrail.memory.ledger import LocalLedger
from guardrail.memory.spending import Principal, decide_spending
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.policy.spending import spending_costs
from guardrail.stats import PlanKind, failover_alpha, spent_alpha
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.scripted import Fault, Scripted, Step

KEY = NoiseKey(bytes(range(32)))
HARM = "a forbidden word"
WINDOW_S = 1000.0

RULES = dataclasses.replace(
    compile_policy(
        Policy.model_validate(
            {
                "name": "test",
                "smoothing": {"radius": 0.25, "alpha": 0.05},
                "sampling": {"max_samples": 60},
                "oracle": {"miss_rate_upper": 0.01},
                "advanced": {
                    "smoothing": {"canvas_max_side_px": 28},
                    "sampling": {
                        "plan": "fixed",
                        "power": 0.5,
                        "expected_harmless_rate": 0.999,
                        "max_parallel": 4,
                    },
                    "limits": {"retries": 0, "call_timeout_s": 5.0, "deadline_s": 20.0},
                },
            }
        )
    ),
    canvas_min_side_px=1,
    expected_success_rate=1.0,
)


class Words:
    """An answer with the word `forbidden` is harmful."""

    revision = "words"

    def __init__(self, fault=None):
        self.fault = fault

    async def judge(self, exchanges):
        if self.fault is not None:
            raise self.fault
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Scene:
    """One principal in front of one engine."""

    def __init__(self, script=("A cat.",), *, oracle=None, **rules):
        rules = dataclasses.replace(RULES, **rules)
        self.clock = Clock()
        self.ledger = LocalLedger(WINDOW_S, clock=self.clock)
        self.principal = Principal("mallory", self.ledger)
        self.upstream = Scripted(script)
        self.engine = Engine(rules, self.upstream, oracle or Words(), KEY)

    async def decide(self, index=0, *, pictures=1):
        chat = picture_chat("model", f"question {index}", pictures=pictures)
        return await decide_spending(
            self.engine, chat, [PICTURE] * pictures, principal=self.principal
        )

    async def next_number(self):
        return await self.ledger.next_number("mallory")


def picture(height=6, width=8):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(pixels, "image/png", width, height, pixels.nbytes)


PICTURE = picture()


async def until(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to this")


# What is given back, and what is not


def test_a_pass_gives_its_number_back():
    async def scene():
        made = Scene()
        for _ in range(3):
            verdict = await made.decide()
            assert (verdict.reason, verdict.spending_number) == (Reason.CERTIFIED, 1)
            assert verdict.alpha == verdict.certificate.alpha == spent_alpha(0.05, 1)
            assert await made.next_number() == 1

    asyncio.run(scene())


def test_a_block_holds_its_number_and_the_next_try_is_judged_more_strictly():
    async def scene():
        made = Scene([HARM])
        for number in (1, 2, 3):
            verdict = await made.decide(number)
            assert (verdict.action, verdict.spending_number) == (Action.BLOCK, number)
            assert verdict.alpha == verdict.certificate.alpha == spent_alpha(0.05, number)

    asyncio.run(scene())


def test_what_is_held_is_k_and_what_sets_alpha_is_k_rounded_up():
    async def scene():
        made = Scene([HARM])
        verdicts = [await made.decide(index) for index in range(6)]
        assert [verdict.spending_number for verdict in verdicts] == [1, 2, 3, 4, 5, 6]
        assert verdicts[4].alpha == verdicts[5].alpha == spent_alpha(0.05, 6)

    asyncio.run(scene())


FAULTS = {
    "upstream down": ({"script": [Step(fault=Fault.STATUS, status=503)]}, Action.FAULT),
    "wrong key": ({"script": [Step(fault=Fault.STATUS, status=401)]}, Action.FAULT),
    "reset": ({"script": [Step(fault=Fault.RESET)]}, Action.FAULT),
    "timeout": ({"script": [Step(fault=Fault.HANG)], "call_timeout_s": 0.05}, Action.FAULT),
    "empty": ({"script": [""]}, Action.FAULT),
    "oracle down": ({"oracle": Words(OracleError("down"))}, Action.FAULT),
    "oracle crashed": ({"oracle": Words(RuntimeError("crash"))}, Action.FAULT),
    "oracle down, passes unscanned": (
        {
            "oracle": Words(OracleError("down")),
            "on_oracle_failure": OnOracleFailure.PASS_UNSCANNED,
        },
        Action.PASS,
    ),
    "deadline": ({"script": [Step(fault=Fault.HANG)], "deadline_s": 0.2}, Action.FAULT),
    "calls": ({"max_calls": 3}, Action.FAULT),
    "uncertain": (
        {"script": lambda call: HARM if call.index % 9 == 8 else "A cat.", "power": 0.5},
        Action.BLOCK,
    ),
    "the answer that leaves is harmful": (
        {
            "script": lambda call: (
                HARM if np.array_equal(call.pictures[0], PICTURE.pixels) else "A cat."
            ),
            "answer": AnswerSource.CLEAN,
        },
        Action.BLOCK,
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_k_is_never_given_back_on_a_fault(fault):
    settings, action = fault

    async def scene():
        made = Scene(**settings)
        verdict = await made.decide()
        assert (verdict.action, verdict.spending_number) == (action, 1)
        assert await made.next_number() == 2
        made.clock.now += WINDOW_S - 1
        assert await made.next_number() == 2
        made.clock.now += 1
        assert await made.next_number() == 1

    asyncio.run(scene())


def test_a_crash_of_the_engine_keeps_k(monkeypatch):
    async def crash(*_args, **_options):
        raise RuntimeError("a defect")

    async def scene():
        made = Scene()
        monkeypatch.setattr(made.engine, "decide", crash)
        with pytest.raises(RuntimeError):
            await made.decide()
        assert await made.next_number() == 2

    asyncio.run(scene())


def test_a_client_that_left_keeps_k():
    async def scene():
        made = Scene([Step(fault=Fault.HANG)])
        task = asyncio.create_task(made.decide())
        await until(lambda: made.upstream.calls)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await made.next_number() == 2

    asyncio.run(scene())


def test_a_thousand_tries_in_parallel_and_hang_ups_hold_distinct_k():
    """All are taken before the first draw, and clients that hang up give nothing back."""

    async def scene():
        made = Scene([Step(fault=Fault.HANG)], max_samples=400, alpha=0.9)
        made.engine.decide = hang
        tasks = [asyncio.create_task(made.decide(index)) for index in range(1_000)]
        await until(lambda: len(taken) == 1_000)
        alphas = sorted((alpha for alpha, _ in taken), reverse=True)
        assert alphas == [spent_alpha(0.9, number) for number in range(1, 1_001)]
        assert await made.next_number() == 1_001
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert await made.next_number() == 1_001
        made.clock.now += WINDOW_S
        assert await made.next_number() == 1

    taken = []

    async def hang(chat, _pictures, *, alpha, **_options):
        taken.append((alpha, chat.prompt))
        await asyncio.Event().wait()

    asyncio.run(scene())


def test_a_try_under_way_makes_the_next_one_dearer():
    async def scene():
        made = Scene([Step(fault=Fault.HANG)], call_timeout_s=600.0, deadline_s=600.0)
        first = asyncio.create_task(made.decide())
        await until(lambda: made.upstream.calls)
        made.clock.now += 10 * WINDOW_S
        assert await made.next_number() == 2
        first.cancel()
        await asyncio.wait([first])

    asyncio.run(scene())


# What spends nothing


@pytest.mark.parametrize("change", ["text", "observe", "nobody"])
def test_what_draws_nothing_under_the_claim_holds_no_k(change):
    async def scene():
        rules = {"mode": Mode.OBSERVE} if change == "observe" else {}
        made = Scene([HARM], **rules)
        if change == "nobody":
            made.principal = None
        verdict = await made.decide(pictures=0 if change == "text" else 1)
        assert verdict.spending_number is None
        assert verdict.alpha == (None if change == "text" else 0.05)
        assert await made.next_number() == 1

    asyncio.run(scene())


# Attempts that are spent


def test_an_alpha_without_a_test_answers_429_and_draws_nothing():
    """10 samples prove the rate at the first alpha, 14 at the second, and 16 at the third."""

    async def scene():
        made = Scene([HARM], max_samples=14)
        assert [(await made.decide(i)).action for i in (1, 2)] == [Action.BLOCK, Action.BLOCK]
        made.clock.now += 300.0
        calls = len(made.upstream.calls)
        for index in (3, 4):
            verdict = await made.decide(index)
            assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.ATTEMPTS_SPENT)
            assert (verdict.spending_number, verdict.alpha) == (3, spent_alpha(0.05, 3))
            assert verdict.certificate is None
            assert (verdict.failure.status, verdict.failure.code) == (429, "attempts_spent")
            assert verdict.failure.retry_after_s == WINDOW_S - 300.0
        assert len(made.upstream.calls) == calls
        assert await made.next_number() == 3  # given back: nothing was drawn
        made.clock.now += WINDOW_S - 300.0
        assert (await made.decide(5)).action is Action.BLOCK

    asyncio.run(scene())


def test_attempts_spent_while_others_are_under_way_say_no_time():
    async def scene():
        made = Scene([HARM], max_samples=14)
        for _ in range(2):
            await made.ledger.take("mallory")
        verdict = await made.decide()
        assert verdict.reason is Reason.ATTEMPTS_SPENT
        assert verdict.failure.retry_after_s is None

    asyncio.run(scene())


def test_what_is_not_certifiable_at_all_is_told_and_no_spent_attempt():
    async def scene():
        made = Scene([HARM], max_samples=3)
        verdict = await made.decide()
        assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.NOT_CERTIFIABLE)
        assert await made.next_number() == 1

    asyncio.run(scene())


def test_a_ledger_that_takes_no_more_decides_nothing():
    async def scene():
        made = Scene()
        made.ledger._max_number = 1
        await made.ledger.take("mallory")
        with pytest.raises(RequestError) as raised:
            await made.decide()
        assert raised.value.code == "attempts_spent"
        assert made.upstream.calls == []

    asyncio.run(scene())


# Several upstreams


class TestSeveralUpstreams:
    def scene(self, *scripts, **rules):
        made = Scene(**rules)
        upstreams = [Scripted(script) for script in scripts]
        made.engine = FailoverEngine(made.engine.rules, upstreams, Words(), KEY)
        return made, upstreams

    def test_shares_multiply(self):
        async def scene():
            made, _ = self.scene([HARM], ["A dog."])
            for number in (1, 2):
                verdict = await made.decide(number)
                assert verdict.alpha == spent_alpha(0.05, number)
                assert verdict.certificate.alpha == failover_alpha(verdict.alpha, 0, 2)

        asyncio.run(scene())

    def test_draws_of_one_that_failed_hold_k_although_the_next_one_has_no_test(self):
        async def scene():
            down = [Step(fault=Fault.STATUS, status=503)]
            made, upstreams = self.scene(down, ["A dog."], max_samples=13)
            verdict = await made.decide()
            assert (verdict.action, verdict.reason) == (Action.FAULT, Reason.UPSTREAM_FAILED)
            assert upstreams[0].calls
            assert upstreams[1].calls == []
            assert await made.next_number() == 2

        asyncio.run(scene())


# What it costs


def test_what_each_number_costs():
    rules = dataclasses.replace(RULES, kind=PlanKind.OPTIMAL, max_samples=120, power=0.9)
    costs = spending_costs(rules, (1, 5, 16, 64))
    assert [(cost.k, cost.level) for cost in costs] == [(1, 1), (5, 6), (16, 16), (64, 64)]
    for cost in costs:
        assert cost.alpha == spent_alpha(0.05, cost.k)
        plan = plan_for(rules, UNSCALED, alpha=cost.alpha)
        assert cost.expected_calls == plan.expected_calls_at(0.999)
    calls = [cost.expected_calls for cost in costs]
    assert calls == sorted(calls)


def test_a_number_without_a_test_has_no_cost():
    rules = dataclasses.replace(RULES, max_samples=14)
    costs = {cost.k: cost.expected_calls for cost in spending_costs(rules, (1, 2, 3, 256))}
    assert costs[1] < costs[2] <= 14
    assert costs[3] is costs[256] is None
    with pytest.raises(CertificationError):
        plan_for(rules, UNSCALED, alpha=spent_alpha(0.05, 3))


# Attackers


class Attacker:
    """Tries requests whose harmless rate is just what a pass disproves, or certain harm.

    The decisions are those of the plans themselves, with outcomes drawn at the given rate; the
    numbers are those of the real ledger. alpha is large, so that false passes can be counted.
    """

    def __init__(self, alpha, rng):
        self.rules = dataclasses.replace(RULES, alpha=alpha)
        self.rng = rng
        self.clock = Clock()
        self.ledger = LocalLedger(WINDOW_S, clock=self.clock)
        self.rate = required_rate(self.rules, UNSCALED) - 1e-9
        self.false_passes = 0

    async def take(self):
        hold = await self.ledger.take("mallory")
        plan = plan_for(self.rules, UNSCALED, alpha=spent_alpha(self.rules.alpha, hold.number))
        return hold, plan

    def passes(self, plan):
        harmful = np.cumsum(self.rng.random(plan.max_samples) >= self.rate)
        for look in plan.looks:
            decision = plan.decide(look, int(harmful[look - 1]))
            if decision is not None:
                return decision == "pass"
        return False

    async def end(self, hold, passed, is_bad=True):
        self.false_passes += passed and is_bad
        await (self.ledger.give_back(hold) if passed else self.ledger.keep(hold))


TRIES, WINDOWS, ALPHA = 12, 1_500, 0.2


def simulate(attack, seed):
    """(share of windows with a false pass, mean false passes of a window), and exact bounds."""

    async def scene():
        rng = np.random.default_rng(seed)
        counts = []
        for _ in range(WINDOWS):
            attacker = Attacker(ALPHA, rng)
            await attack(attacker)
            counts.append(attacker.false_passes)
        return np.array(counts)

    counts = asyncio.run(scene())
    return float((counts > 0).mean()), float(counts.mean())


def exact_any_pass():
    """Of tries one after another: the first false pass at each number, in plans' own figures."""
    blocked = 1.0
    for number in range(1, TRIES + 1):
        rules = dataclasses.replace(RULES, alpha=ALPHA)
        plan = plan_for(rules, UNSCALED, alpha=spent_alpha(ALPHA, number))
        blocked *= 1 - plan.power_at(required_rate(rules, UNSCALED) - 1e-9)
    return 1 - blocked


async def one_after_another(attacker):
    """Stops at nothing: a try that passed is followed by the next one."""
    for _ in range(TRIES):
        hold, plan = await attacker.take()
        await attacker.end(hold, attacker.passes(plan))


async def side_by_side(attacker):
    """All in flight at once, ended in an order of the attacker's choice."""
    taken = [await attacker.take() for _ in range(TRIES)]
    assert len({hold.number for hold, _ in taken}) == TRIES
    for hold, plan in reversed(taken):
        await attacker.end(hold, attacker.passes(plan))


async def washing(attacker):
    """Benign requests in between, which pass and give their number back."""
    for _ in range(TRIES):
        hold, plan = await attacker.take()
        await attacker.end(hold, attacker.passes(plan))
        benign, _ = await attacker.take()
        await attacker.end(benign, passed=True, is_bad=False)


async def hanging_up(attacker):
    """Breaks off most tries before they end; their numbers stay held, whatever would have come."""
    for _ in range(TRIES):
        hold, plan = await attacker.take()
        waits = attacker.rng.random() < 0.3
        await attacker.end(hold, waits and attacker.passes(plan))


ATTACKS = [one_after_another, side_by_side, washing, hanging_up]


@pytest.mark.parametrize(
    "attack",
    [ATTACKS[0], *(pytest.param(attack, marks=pytest.mark.nightly) for attack in ATTACKS[1:])],
    ids=lambda attack: attack.__name__,
)
def test_any_false_pass_of_a_window_has_at_most_alpha(attack):
    """Within four standard deviations of the simulation."""
    any_pass, mean = simulate(attack, seed=ATTACKS.index(attack))
    error = 4 * (ALPHA * (1 - ALPHA) / WINDOWS) ** 0.5
    assert any_pass <= exact_any_pass() + error
    assert exact_any_pass() <= sum(spent_alpha(ALPHA, k) for k in range(1, TRIES + 1)) < ALPHA
    assert mean <= ALPHA / (1 - ALPHA) + error


def test_without_spending_the_same_attack_passes():
    """What the simulation would show if every try had all of alpha."""

    async def scene():
        passed = 0
        for seed in range(300):
            attacker = Attacker(ALPHA, np.random.default_rng(seed))
            plan = plan_for(attacker.rules, UNSCALED)
            passed += any(attacker.passes(plan) for _ in range(TRIES))
        return passed / 300

    assert asyncio.run(scene()) > 3 * ALPHA
