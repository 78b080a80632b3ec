"""Recall measured against models of known truth: what counts, what is given up, what is kept."""

import asyncio
import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm

from guardrail.engine.engine import Engine
from guardrail.engine.plan import UNSCALED
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError, UpstreamError
from guardrail.evaluation import recall as module
from guardrail.evaluation.clean import CleanTraffic, decide_clean
from guardrail.evaluation.recall import farthest_radius, measure_recall, measuring_key
from guardrail.evaluation.recall_facts import (
    BETA,
    Blindness,
    Counts,
    HeldRequest,
    RecallDesign,
    Yardstick,
)
from guardrail.evaluation.recall_log import RecallLog
from guardrail.evaluation.recall_outcome import RecallOutcome, curve_steps, recall_of
from guardrail.evaluation.requests import read_pictures, read_requests
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.stats import NOT_HELD, harmless_rate_upper
from guardrail.types import Outcome, Usage
from guardrail.upstreams.scripted import Fault, Scripted, State, Step

CLEAN, HARM = "a private answer", "a forbidden answer"
REFUSAL = Step(message={"role": "assistant", "content": None, "refusal": "I cannot."})
FILTERED = Step(text="", finish_reason="content_filter")
DOWN = Step(fault=Fault.STATUS, status=500)
REFUSED_FOR_GOOD = Step(fault=Fault.STATUS, status=400)
LIMITS = ImageLimits()


class Words:
    revision = "words"

    async def judge(self, exchanges):
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


def engine(script, **failures):
    policy = Policy.model_validate(
        {"name": "t", "oracle": {}, "smoothing": {"claim": "verdict", "radius": 0.25},
         "failures": failures, "advanced": {
             "smoothing": {"radius_space": "client"},
             "sampling": {"max_parallel": 8},
             "limits": {"retries": 0, "call_timeout_s": 10.0, "max_calls": 60}}}
    )  # fmt: skip
    upstream = script if hasattr(script, "complete") else Scripted(script)
    return Engine(compile_policy(policy), upstream, Words(), measuring_key(NoiseKey(bytes(32))))


def design(rules, draws=30, delta=0.01):
    return RecallDesign(draws, delta, BETA, curve_steps(rules, draws, BETA))


def requests_of(folder, count):
    folder.mkdir(exist_ok=True)
    rows = []
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(f'{{"id": "r{i}", "image": "{i}.png", "prompt": "What is number {i}?"}}\n')
    (folder / "rows.jsonl").write_text("".join(rows))
    return read_requests(folder / "rows.jsonl", prompt="", parameters={}, limits=LIMITS)


def measure(guard, requests, draws=30, path=None, steps=None):
    async def run():
        with RecallLog(path, {"draws": draws}) as log:
            told = (lambda _: None) if steps is None else steps.append
            plan = design(guard.rules, draws)
            return await measure_recall(guard, plan, requests, "scripted", LIMITS, log, told)

    return asyncio.run(run())


def test_every_draw_counts_once_and_the_limits_of_a_decision_do_not_hold(tmp_path):
    """A decision of this policy may make 60 calls; a measurement makes as many as it needs."""
    guard = engine([HARM])
    results = measure(guard, requests_of(tmp_path, 3), draws=100)
    assert [r.name for r in results] != []
    for result in results:
        assert result.counts.samples == result.counts.harmful == 100
        assert result.radius(design(guard.rules, 100)) == farthest_radius(guard.rules, 100, BETA)
        assert result.blindness(design(guard.rules, 100)) is None
    assert len(guard.upstream.calls) == 300


def test_recall_counts_missing_as_harmless_a_decision_as_harmful_from_one_outcome_type(tmp_path):
    """The same samples feed both, and either reading is the one that is harder to show."""
    assert {o for o in Outcome if o.counts_as_harmless} == {Outcome.HARMLESS}
    assert {o for o in Outcome if o.counts_as_passable} == {Outcome.HARMLESS, Outcome.MISSING}
    requests = requests_of(tmp_path, 1)
    ((_, request),) = requests.drawn
    mixed = [HARM if i % 2 else DOWN for i in range(400)]
    (result,) = measure(engine(mixed), requests, draws=40)
    assert 10 <= result.counts.missing < result.counts.samples
    assert result.counts.passable == result.counts.missing
    assert result.counts.harmless == 0

    guard = engine([*[DOWN] * 2, *[CLEAN] * 400])
    verdict = asyncio.run(guard.decide(request.chat("scripted"), read_pictures(request, LIMITS)))
    outcomes = [sample.outcome for sample in verdict.samples]
    assert outcomes.count(Outcome.MISSING) >= 1
    assert verdict.certificate.harmful == outcomes[: verdict.certificate.samples].count(
        Outcome.MISSING
    )


def test_a_model_that_is_down_shows_nothing(tmp_path):
    """Were a missing answer harmful here, a dead model would have recall 1."""
    guard = engine([HARM, *[DOWN] * 1000])
    (result,) = measure(guard, requests_of(tmp_path, 1), draws=30)
    assert result.radius(design(guard.rules)) == NOT_HELD
    assert result.blindness(design(guard.rules)) is Blindness.MISSING


def test_what_brings_no_answer_at_all_stops_the_run_and_is_not_kept(tmp_path):
    path = tmp_path / "log.jsonl"
    requests = requests_of(tmp_path / "set", 9)
    with pytest.raises(UpstreamError):
        measure(engine([DOWN]), requests, path=path)
    assert len(path.read_text().splitlines()) == 1  # the settings
    results = measure(engine([HARM]), requests, path=path)
    assert len(results) == 9
    assert all(result.counts.missing == 0 for result in results)


def test_one_request_without_any_answer_is_a_blind_spot(tmp_path):
    requests = requests_of(tmp_path, 4)

    def script(call):
        text = str(call.body)
        return REFUSED_FOR_GOOD if "number 2" in text else HARM

    guard = engine(script)
    found = {r.name: r.blindness(design(guard.rules)) for r in measure(guard, requests)}
    assert found == {"r0": None, "r1": None, "r2": Blindness.MISSING, "r3": None}


def test_a_lone_request_without_any_answer_stops_the_run(tmp_path):
    with pytest.raises(UpstreamError):
        measure(engine([REFUSED_FOR_GOOD]), requests_of(tmp_path, 1))


@pytest.mark.parametrize("refusal", [REFUSAL, FILTERED])
def test_refusals_are_told_apart_and_count_as_the_policy_says(tmp_path, refusal):
    requests = requests_of(tmp_path, 1)
    lenient = engine([refusal])
    (result,) = measure(lenient, requests)
    assert result.counts.refused == result.counts.samples
    assert result.blindness(design(lenient.rules)) is Blindness.REFUSED
    strict = engine([refusal], refusals_are_harmless=False)
    (result,) = measure(strict, requests)
    assert result.counts.harmful == result.counts.samples == 30


def test_a_blind_request_is_given_up_early_and_never_shown(tmp_path):
    guard = engine([CLEAN])
    (result,) = measure(guard, requests_of(tmp_path, 1), draws=100)
    assert result.counts.samples == result.counts.harmless == 17
    assert result.radius(design(guard.rules, 100)) == NOT_HELD
    assert result.blindness(design(guard.rules, 100)) is Blindness.HARMLESS
    cancelled = guard.upstream.log.count(State.CANCELLED)
    assert len(guard.upstream.calls) - cancelled < 60  # a slow index lets later ones run ahead


def test_giving_up_agrees_with_what_all_draws_would_show():
    """Whatever was not drawn counts as what is harder to show."""
    guard = engine([CLEAN])
    yardstick = Yardstick.of(guard.rules, UNSCALED)
    plan = design(guard.rules, 60)
    stopping = module._Stopping(plan, yardstick)
    rng = np.random.default_rng(3)
    for rate in (0.2, 0.5, 0.7, 0.95):
        for _ in range(50):
            outcomes = (rng.uniform(size=60) < rate).astype(int)
            reached = list(itertools.accumulate(outcomes, initial=0))
            end = next(n for n, k in enumerate(reached) if stopping.is_over(n, k))
            one = HeldRequest("d", "n", Counts(end, int(reached[end])), yardstick)
            whole = HeldRequest("d", "n", Counts(60, int(reached[60])), yardstick)
            assert one.radius(plan) in (NOT_HELD, whole.radius(plan))
            assert end == 60 or one.radius(plan) == NOT_HELD


def test_a_request_is_measured_by_its_own_sizes(tmp_path):
    """A picture twice as large as the canvas is held farther in its own pixels, but not twice."""
    folder = tmp_path
    rng = np.random.default_rng(1)
    for name, side in (("small", 224), ("large", 448)):
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    requests = read_requests(folder, prompt="What?", parameters={}, limits=LIMITS)
    guard = engine([HARM])
    found = {r.name: r for r in measure(guard, requests)}
    plan = design(guard.rules)
    small, large = found["small.png"], found["large.png"]
    assert small.yardstick.operator_norm == 1.0
    assert large.yardstick.operator_norm == pytest.approx(0.5, rel=0.03)
    # The same wish in client pixels needs a lower rate where the resize shrinks distances.
    assert large.yardstick.q_required < small.yardstick.q_required
    upper = harmless_rate_upper(0, 30, BETA)
    for one in (small, large):
        yard = one.yardstick
        gap = norm.ppf(yard.q_required - yard.sampler_error) - norm.ppf(upper + yard.sampler_error)
        radius = (0.5 * gap - yard.grid_slack) / yard.operator_norm
        assert one.radius(plan) == pytest.approx(radius, rel=1e-6)
    assert 1.6 < large.radius(plan) / small.radius(plan) < 2.0

    canvas = dataclasses.replace(guard.rules, radius_space="canvas")
    where = dataclasses.replace(UNSCALED, operator_norm=0.5)
    on_canvas, in_client = Yardstick.of(canvas, where), Yardstick.of(guard.rules, where)
    assert on_canvas.operator_norm == in_client.operator_norm == 0.5
    assert on_canvas.q_required > in_client.q_required


def test_why_a_request_is_not_shown():
    guard = engine([CLEAN])
    yardstick, plan = Yardstick.of(guard.rules, UNSCALED), design(guard.rules, 100)
    hopeless = yardstick.hopeless(100, BETA)
    assert hopeless == 65
    assert harmless_rate_upper(64, 100, BETA) < 0.6915

    def why(harmless=0, refused=0, missing=0, samples=100):
        counts = Counts(samples, harmless, refused, missing)
        return HeldRequest("d", "n", counts, yardstick).blindness(plan)

    assert why(64) is None
    assert why(65) is Blindness.UNDECIDED
    assert why(69) is Blindness.UNDECIDED  # below the rate .6915 that must be shown
    assert why(70) is Blindness.HARMLESS
    assert why(60, refused=30) is Blindness.REFUSED
    assert why(60, refused=4, missing=30) is Blindness.MISSING
    assert why(17, samples=17) is Blindness.HARMLESS
    assert why(65, samples=95) is Blindness.UNDECIDED  # given up, though at .684
    assert why(samples=0) is Blindness.HARMLESS  # nothing was drawn, nothing is shown


def test_too_few_draws_are_refused_before_any_call():
    rules = engine([CLEAN]).rules
    with pytest.raises(ConfigError, match="raise --draws"):
        farthest_radius(rules, 1, BETA)
    assert farthest_radius(rules, 2, BETA) >= 0.0


def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    """Piece by piece, with each index drawn once and the cost added up."""
    monkeypatch.setattr(module, "_PIECE", 10)
    path = tmp_path / "log.jsonl"
    requests = requests_of(tmp_path / "set", 3)
    boom = RuntimeError("stop")
    seen = []

    def script(call):
        if len(seen) == 48:
            raise boom
        seen.append(call.seed)
        return Step(HARM)

    class Breaking(Scripted):
        async def complete(self, chat, pictures, *, seed):
            if len(seen) >= 48:
                raise KeyboardInterrupt
            return await super().complete(chat, pictures, seed=seed)

    with pytest.raises(KeyboardInterrupt):
        measure(engine(Breaking(script)), requests, path=path)
    done = len(seen)
    told = []
    guard = engine([HARM])
    results = measure(guard, requests, path=path, steps=told)
    assert told == results
    assert all(result.counts.samples == 30 for result in results)
    assert [result.counts.usage.calls for result in results][2] == 30
    assert len(guard.upstream.calls) + done >= 90
    assert len(guard.upstream.calls) < 60  # the first request, and a piece of the second
    again = engine([CLEAN])
    assert measure(again, requests, path=path) == results
    assert not again.upstream.calls


def test_no_noise_of_a_measurement_is_met_in_service():
    key = NoiseKey(bytes(range(32)))
    assert measuring_key(key) != key
    assert measuring_key(key) == measuring_key(key)
    assert measuring_key(key).key_id != key.key_id


def test_a_picture_that_changes_meanwhile_is_refused(tmp_path):
    requests = requests_of(tmp_path, 1)
    Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(tmp_path / "0.png")
    with pytest.raises(ConfigError, match="'r0' changed"):
        measure(engine([HARM]), requests)


def test_a_request_without_a_plan_is_named(tmp_path):
    guard = engine([HARM])
    guard.rules = dataclasses.replace(guard.rules, max_samples=1)
    with pytest.raises(ConfigError, match="no plan for the picture sizes of 'r0'"):
        asyncio.run(run_with(guard, requests_of(tmp_path, 1)))


async def run_with(guard, requests):
    plan = RecallDesign(30, 0.01, BETA, (0.0, 0.1))
    with RecallLog(None, {}) as log:
        return await measure_recall(guard, plan, requests, "m", LIMITS, log, lambda _: None)


# --- clean traffic -------------------------------------------------------------------------------


def clean(guard, requests, path=None):
    async def run():
        with RecallLog(path, {}) as log:
            return await decide_clean(guard, requests, "scripted", LIMITS, log, lambda: None)

    return asyncio.run(run())


def test_clean_requests_are_decided_as_in_service_and_once(tmp_path):
    def script(call):
        return HARM if "number 1" in str(call.body) else CLEAN

    path = tmp_path / "log.jsonl"
    requests = requests_of(tmp_path / "set", 3)
    guard = engine(script)
    decisions = clean(guard, requests, path)
    traffic = CleanTraffic(tuple(decisions), 0.01)
    assert (traffic.passed, len(decisions)) == (2, 3)
    assert traffic.reasons() == {"harmful": 1}
    assert 0.0 < traffic.rate_lower < 2 / 3 < traffic.rate_upper < 1.0
    assert traffic.calls == sum(d.calls for d in decisions) > 0
    assert clean(engine([HARM]), requests, path) == decisions


def test_what_observe_lets_through_is_no_pass(tmp_path):
    guard = engine([HARM])
    guard.rules = dataclasses.replace(guard.rules, mode="observe")
    requests = requests_of(tmp_path, 1)
    ((_, request),) = requests.drawn
    verdict = asyncio.run(guard.decide(request.chat("m"), read_pictures(request, LIMITS)))
    assert verdict.action is Action.PASS
    (decision,) = clean(guard, requests)
    assert not decision.passed


def test_no_clean_requests_show_nothing():
    traffic = CleanTraffic((), 0.01)
    assert (traffic.rate_lower, traffic.rate_upper) == (0.0, 1.0)


# --- the outcome ---------------------------------------------------------------------------------


def test_the_steps_of_the_curve_follow_from_policy_and_draws_alone():
    rules = engine([CLEAN]).rules
    steps = curve_steps(rules, 100, BETA)
    farthest = farthest_radius(rules, 100, BETA)
    assert steps[0] == 0.0
    assert list(steps) == sorted(set(steps))
    assert sum(step <= farthest for step in steps) == 17
    assert steps[16] == pytest.approx(farthest, abs=1e-4)
    assert steps[-1] == pytest.approx(4 * farthest, abs=1e-4)
    assert curve_steps(rules, 1, BETA) == (0.0,)


def outcome_of(guard, kinds, draws=30):
    """`kinds`: (harmless answers, how many requests of that kind)."""
    yardstick, plan = Yardstick.of(guard.rules, UNSCALED), design(guard.rules, draws)
    results = []
    for harmless, count in kinds:
        counts = Counts(draws, harmless, usage=Usage(1, 1, draws), cost_usd=0.5)
        results += [HeldRequest("d", f"n{harmless}", counts, yardstick)] * count
    requests = dataclasses.make_dataclass(
        "Set", ["name", "requests", "clusters", "digest", "drawn", "problems"]
    )("set", 200, 150, "ab" * 32, (), ())
    return RecallOutcome(plan, requests, tuple(results), None)


def test_the_file_says_what_the_requests_show():
    guard = engine([CLEAN])
    outcome = outcome_of(guard, [(0, 195), (25, 3), (30, 2)])
    recall = recall_of(outcome, guard, "scripted", 5)
    far = outcome.radii[0]
    assert [(r.recall, r.radius) for r in recall.reaches] == [(0.5, far), (0.9, far), (0.99, None)]
    assert recall.held == [far] * 195
    assert recall.not_held.harmless == 5
    assert [why for _, why in outcome.blind] == [Blindness.HARMLESS] * 5
    assert [result.counts.harmless for result, _ in outcome.blind] == [30, 30, 25, 25, 25]
    assert (recall.calls, recall.cost_usd) == (6000, 100.0)
    assert recall.digest == recall.computed_digest()
    sentence = recall.statement().sentence
    assert "at least 0.5 / 0.9 are such" in sentence
    assert "A recall of 0.99 was not shown" in sentence
    assert "confidence 0.99" in sentence
    assert "clean requests pass under the same policy was not measured" in sentence


def test_a_cost_that_is_not_known_makes_the_sum_unknown():
    guard = engine([CLEAN])
    outcome = outcome_of(guard, [(0, 2)])
    unknown = dataclasses.replace(outcome.results[0].counts, cost_usd=None)
    results = (dataclasses.replace(outcome.results[0], counts=unknown), outcome.results[1])
    assert RecallOutcome(outcome.design, outcome.requests, results, None).cost_usd is None
    assert outcome.cost_usd == 1.0


def test_a_log_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "log.jsonl"
    RecallLog(path, {"a": 1}).close()
    path.write_text(path.read_text() + '{"type":"estimate","request":"x"}\n')
    with pytest.raises(ConfigError, match=r"log\.jsonl:2: .*that 'guardrail recall' writes"):
        RecallLog(path, {"a": 1})
    with pytest.raises(ConfigError, match=r"other settings \(a\)"):
        RecallLog(path, {"a": 2})
