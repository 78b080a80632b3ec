"""The promise, end to end: false passes against their exact probability.

Thresholds are set so that a sound guard fails such a test with probability at most 1e-9.
"""

import asyncio
import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.certifier import Certifier
from guardrail.engine.engine import Engine
from guardrail.engine.plan import plan_for
from guardrail.engine.verdict import Action, Reason
from guardrail.images.codec import Picture
from guardrail.stats import Decision, PlanKind, fixed_plan, optimal_plan
from guardrail.testing.attempts import same_attempt
from guardrail.testing.half_space import HalfSpaceUpstream
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted, Step

pytestmark = pytest.mark.no_cover  # counting lines would take as long again

FALSE_ALARM = 1e-9
RUNS = 20_000


def plausible(runs, probability):
    """Counts that a binomial leaves with probability at most 1e-9."""
    binomial = scipy_stats.binom(runs, probability)
    return range(int(binomial.ppf(FALSE_ALARM / 2)), int(binomial.isf(FALSE_ALARM / 2)) + 1)


def most_plausible(runs, probability):
    return int(scipy_stats.binom(runs, probability).isf(FALSE_ALARM))


PLANS = {
    "optimal": optimal_plan(0.69, 0.05, q1=0.99, power=0.9, max_samples=60),
    "waves": optimal_plan(
        0.72, 0.01, q1=0.97, power=0.9, max_samples=90, latency_weight=4.0, max_parallel=8
    ),
    "fixed": fixed_plan(0.69, 0.05, q1=0.97, power=0.9, max_samples=60, looks=range(4, 61, 4)),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_bernoulli_false_passes_are_as_rare_as_computed(plan):
    """20,000 decisions at the required rate, outcomes arriving forwards or backwards."""
    seed = np.random.SeedSequence().entropy
    random = np.random.default_rng(seed)
    passed = sum(passes(plan, plan.q_required, random) for _ in range(RUNS))
    assert passed in plausible(RUNS, plan.power_at(plan.q_required)), f"seed {seed}"
    assert passed <= most_plausible(RUNS, plan.alpha), f"seed {seed}"


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_bernoulli_passes_usual_traffic_as_often_as_computed(plan):
    seed = np.random.SeedSequence().entropy
    random = np.random.default_rng(seed)
    passed = sum(passes(plan, 0.97, random) for _ in range(4000))
    assert passed in plausible(4000, plan.power_at(0.97)), f"seed {seed}"


def passes(plan, rate, random):
    certifier = Certifier(plan, speculate=bool(random.integers(2)))
    harmless = random.random(plan.max_samples) < rate
    while certifier.decision is None:
        indices = list(certifier.launch(16))
        if random.integers(2):
            indices.reverse()
        for index in indices:
            certifier.record(index, Outcome.HARMLESS if harmless[index] else Outcome.HARMFUL)
    return certifier.decision is Decision.PASS


def one_axis(shape, at=(0, 0, 0)):
    """A half-space's normal along one value: clipping to [0, 1] then changes no answer."""
    normal = np.zeros(shape)
    normal[at] = 1.0
    return normal


def picture_with(kit, level, shape, serial):
    """`level` in the value that counts (and all that are scaled into it); `serial` elsewhere."""
    pixels = np.zeros(shape, np.uint8)
    half = (shape[0] + 1) // 2
    pixels[:half, :half, 0] = level
    pixels[-1, -1, 1:] = divmod(serial, 256)
    return kit.picture_of(pixels)


# (picture shape, canvas side, ||A||): a picture as it is, and one scaled down by two.
SCALES = {"as it is": ((2, 2, 3), None, 1.0), "scaled down": ((4, 4, 3), 2, 0.5)}


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(SCALES["as it is"], marks=pytest.mark.nightly),
        SCALES["scaled down"],
    ],
    ids=SCALES.keys(),
)
def test_half_space_at_a_known_distance(kit, scale):
    """Harm begins on a plane. A picture within the promised radius of it passes at most alpha.

    The plane lies half-way between two levels, so that rounding to 8 bits changes no answer and
    the smoothed model is known exactly: q = Phi(distance / sigma).
    """
    shape, side, norm = scale
    sigma, decisions = 0.25, 400
    rules = {
        "sigma": sigma,
        "canvas_max_side_px": side,
        "promised_radius": 63.5 / 255.0 / norm,
        "miss_rate_upper": 0.0,
        "alpha": 0.1,
        "kind": PlanKind.OPTIMAL,
        "power": 0.8,
        "expected_harmless_rate": 0.99,
        "max_samples": 60,
        "latency_weight": 2.0,
        "max_parallel": 8,
    }
    level = 60 + 63  # the plane lies at 59.5 levels, 63.5 below
    upstream = HalfSpaceUpstream(one_axis((2, 2, 3)), -59.5 / 255.0)
    engine = kit.make_engine(upstream=upstream, oracle=Plain(), **rules)
    serials = itertools.count(int(np.random.default_rng().integers(2**8)))
    pictures = [picture_with(kit, level, shape, next(serials)) for _ in range(decisions)]
    verdicts = kit.run(in_turn(engine, kit, pictures))
    passed = sum(verdict.action is Action.PASS for verdict in verdicts)
    plan = verdicts[0].certificate.plan()
    q = scipy_stats.norm.cdf((level - 59.5) / 255.0 / sigma)
    assert q <= plan.q_required
    assert passed in plausible(decisions, plan.power_at(q))
    assert passed <= most_plausible(decisions, rules["alpha"])
    assert plan.power_at(q) > 0.3 * rules["alpha"]  # close to the edge, so the test can fail


def test_half_space_far_from_harm_passes(kit):
    upstream = HalfSpaceUpstream(one_axis((2, 2, 3)), -59.5 / 255.0)
    engine = kit.make_engine(
        upstream=upstream, oracle=Plain(), sigma=0.2, promised_radius=0.1, canvas_max_side_px=None
    )
    pictures = [picture_with(kit, 250, (2, 2, 3), serial) for serial in range(40)]
    verdicts = kit.run(in_turn(engine, kit, pictures))
    assert all(verdict.action is Action.PASS for verdict in verdicts)
    for verdict in verdicts:
        verify_certificate(verdict.certificate)


async def in_turn(engine, kit, pictures, at_once=8):
    """Decides every picture by itself, a few at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(picture):
        async with gate:
            return await engine.decide(kit.make_chat(1), [picture])

    return await asyncio.gather(*(one(picture) for picture in pictures))


class Plain:
    """Judges the half-space's two words."""

    revision = "plain"

    async def judge(self, exchanges):
        from guardrail.oracles.base import Judgement

        return [
            Judgement(Outcome.HARMLESS if e.response == "harmless" else Outcome.HARMFUL, 0.5)
            for e in exchanges
        ]

    async def aclose(self):
        pass


@pytest.mark.parametrize("slow", ["harmful", "harmless"])
@pytest.mark.parametrize("speculate", [False, True])
@pytest.mark.parametrize("max_parallel", [1, 5, 64])
def test_slow_answers_gain_nothing(kit, slow, speculate, max_parallel):
    """One kind of answer is always slower; each verdict is still that of the index order.

    The model's outcomes are a function of the seed, so the verdict that the plan gives on the
    sequence in index order is known beforehand for every request.
    """
    rules = kit.make_rules(
        kind=PlanKind.OPTIMAL,
        alpha=0.1,
        power=0.8,
        latency_weight=1.0,
        max_parallel=max_parallel,
        speculate=speculate,
        promised_radius=0.4,
    )

    def harmful(seed):
        return np.random.default_rng(seed).random() < 0.12

    def script(call):
        delayed = harmful(call.seed) == (slow == "harmful")
        text = kit.HARM if harmful(call.seed) else "A cat."
        return Step(text, delay_s=0.002 * (1 + call.seed % 3) if delayed else 0.0)

    engine = Engine(rules, Scripted(script), kit.Words(), kit.KEY)
    chat = kit.make_chat(1)
    seen = set()
    for serial in range(12):
        picture = kit.make_picture(seed=serial)
        with same_attempt():
            verdict = kit.run(engine.decide(chat, [picture]))
        case = kit.prepare(rules, chat, [picture], bytes.fromhex(verdict.attempt))
        plan = plan_for(rules, case.geometry)
        outcomes = [
            harmful(case.derive_seed(index, rules, kit.KEY)) for index in range(plan.max_samples)
        ]
        expected = next(
            (look, decision)
            for look in plan.looks
            if (decision := plan.decide(look, sum(outcomes[:look])))
        )
        assert (verdict.certificate.samples, verdict.certificate.decision) == expected
        seen.add(verdict.reason)
    assert engine.upstream.log.peak_in_flight <= max_parallel
    assert Reason.CERTIFIED in seen
    assert len(seen) > 1


def test_a_picture_is_what_its_pixels_are(kit):
    """The half-space tests rest on this: a Picture of given pixels."""
    pixels = np.zeros((2, 3, 3), np.uint8)
    assert isinstance(kit.picture_of(pixels), Picture)
