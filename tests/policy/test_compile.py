"""Policies become rules: every field arrives, and one that can never pass is refused."""

import dataclasses
import math

import pytest
from pydantic import ValidationError

from guardrail.engine.plan import UNSCALED, Geometry, plan_for, required_rate
from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.engine.rules import (
    AnswerSource,
    Denoise,
    Mode,
    OnOracleFailure,
    Retry,
    Rules,
    TextInPictures,
)
from guardrail.engine.threats import Crops, Stickers, Suffix, SuffixUnit, Threats
from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy, image_limits, policy_digest
from guardrail.policy.load import load_policy
from guardrail.policy.mistakes import MistakesError
from guardrail.policy.schema import Policy
from guardrail.policy.shipped import shipped_names
from guardrail.stats import LEAST_FLOOR, PlanKind, failover_alpha, fewest_samples
from guardrail.upstreams.litellm_prices import litellm_prices
from guardrail.upstreams.prices import Price, PriceBook, Tier
from tests.policies import arrange

OTHER = {
    "name": "other",
    "mode": "observe",
    "smoothing": {
        "sigma": 0.75,
        "radius": 0.125,
        "floor": 0.6,
        "alpha": 0.01,
        "claim": "verdict",
        "denoise": "area",
    },
    "sampling": {"max_samples": 321},
    "oracle": {"threshold": 0.4, "miss_rate_upper": 0.02, "delta": 0.002},
    "text_in_pictures": "ocr",
    "answer": "clean",
    "threats": {
        "crops": {"windows": 16, "sees": 40},
        "stickers": {"max_share": 0.03, "masks": 25},
        "suffix": {"characters": 12},
        "floor": 0.2,
        "temperature": 0.5,
        "expected_harmless_rate_views": 0.96,
        "power": 0.95,
    },
    "failures": {
        "oracle": "pass_unscanned",
        "unscanned": "pass_unscanned",
        "several_models": "mark",
        "refusals_are_harmless": False,
    },
    "advanced": {
        "smoothing": {
            "radius_space": "client",
            "canvas_max_side_px": None,
            "canvas_limit_px": 100,
            "canvas_min_side_px": 14,
            "denoise_window_px": 5,
            "denoise_side_px": 50,
        },
        "sampling": {
            "plan": "fixed",
            "expected_harmless_rate": 0.97,
            "expected_success_rate": 0.95,
            "power": 0.9,
            "latency_weight": 1.5,
            "max_parallel": 7,
            "speculate": True,
            "probe_max_tokens": 48,
            "judge_every_chars": 400,
        },
        "limits": {
            "retries": 5,
            "retry": "any",
            "call_timeout_s": 7,
            "deadline_s": 70.5,
            "max_calls": 500,
            "max_cost_usd_per_request": 2,
        },
        "prices": {"mine": {"input_usd_per_million": 3, "output_usd_per_million": 12.5}},
    },
}


def policy(**changes):
    fields = {"name": "mine", "oracle": {"miss_rate_upper": 0.05}, **changes}
    return Policy.model_validate(arrange(fields))


def test_every_field_arrives():
    rules = compile_policy(Policy.model_validate(OTHER))
    fields = {f.name: getattr(rules, f.name) for f in dataclasses.fields(Rules)}
    assert fields == {
        "name": "other",
        "digest": rules.digest,
        "mode": Mode.OBSERVE,
        "claim": Claim.VERDICT,
        "sigma": 0.75,
        "promised_radius": 0.125,
        "radius_space": RadiusSpace.CLIENT,
        "floor": 0.6,
        "alpha": 0.01,
        "canvas_max_side_px": None,
        "canvas_limit_px": 100,
        "canvas_min_side_px": 14,
        "denoise": Denoise.AREA,
        "denoise_window_px": 5,
        "denoise_side_px": 50,
        "miss_rate_upper": None,  # the verdict claim speaks of none, though one is known
        "delta": None,
        "kind": PlanKind.FIXED,
        "expected_harmless_rate": 0.97,
        "power": 0.9,
        "max_samples": 321,
        "latency_weight": 1.5,
        "max_parallel": 7,
        "speculate": True,
        "answer": AnswerSource.CLEAN,
        "on_oracle_failure": OnOracleFailure.PASS_UNSCANNED,
        "on_unscanned": "pass_unscanned",
        "on_several_models": "mark",
        "text_in_pictures": TextInPictures.OCR,
        "refusals_are_harmless": False,
        "retries": 5,
        "call_timeout_s": 7.0,
        "deadline_s": 70.5,
        "max_calls": 500,
        "max_cost_usd": 2.0,
        "prices": PriceBook({"mine": Price((Tier(0, 3e-6, 12.5e-6),))}, litellm_prices()),
        "probe_max_tokens": 48,
        "judge_every_chars": 400,
        "retry": Retry.ANY,
        "expected_success_rate": 0.95,
        "threats": Threats(
            0.2,
            0.96,
            0.95,
            0.5,
            Crops(16, 40),
            Stickers(25, 0.03),
            Suffix(SuffixUnit.CHARACTERS, 12),
        ),
        "recall": None,  # a file of its own, see test_recall.py
        "policy_fields": rules.policy_fields,  # see test_content.py
    }
    default = compile_policy(policy(smoothing={"claim": "harmlessness"}))
    assert (default.miss_rate_upper, default.delta) == (0.05, 0.001)
    same = [
        f.name
        for f in dataclasses.fields(Rules)
        if getattr(rules, f.name) == getattr(default, f.name)
    ]
    assert same == ["recall"]


def test_members_are_members_and_not_their_words():
    """The engine compares by identity, so a bare word would slip through every case."""
    rules = compile_policy(Policy.model_validate(OTHER))
    for name in ("mode", "claim", "radius_space", "kind", "answer", "on_oracle_failure"):
        assert type(getattr(rules, name)) is not str


def test_limits_of_pictures():
    limits = {"max_image_bytes": 100, "max_image_pixels": 200, "max_image_side_px": 30}
    made = image_limits(policy(limits=limits | {"max_total_pixels": 300}))
    assert (made.max_bytes, made.max_pixels, made.max_side_px) == (100, 200, 30)
    assert made.max_total_pixels == 300


class TestDigest:
    def test_defaults_written_out_change_nothing(self):
        assert policy_digest(policy()) == policy_digest(policy(mode="enforce", answer="smoothed"))

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "a"},
            {"mode": "observe"},
            {"smoothing": {"alpha": 0.002}},
            {"block": {"text": "No."}},
        ],
        ids=str,
    )
    def test_every_change_changes_it(self, change):
        assert policy_digest(policy(**change)) != policy_digest(policy())

    def test_it_names_the_rules(self):
        assert compile_policy(policy()).digest == policy_digest(policy())
        assert len(bytes.fromhex(policy_digest(policy()))) == 32


class TestCallsOfOneDecision:
    def fewest(self, **changes):
        plan = plan_for(compile_policy(policy(**changes)), UNSCALED)
        return next(n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0)

    @pytest.mark.parametrize(("answer", "further"), [("smoothed", 0), ("clean", 1)])
    def test_a_limit_below_what_a_pass_takes_is_refused(self, answer, further):
        enough = self.fewest() + further
        compile_policy(policy(answer=answer, limits={"max_calls": enough}))
        with pytest.raises(ConfigError, match=f"{enough} calls at least") as caught:
            compile_policy(policy(answer=answer, limits={"max_calls": enough - 1}))
        assert caught.value.field == "advanced.limits.max_calls"


HOPELESS = {
    "too few samples": {"sampling": {"max_samples": 10}},
    "too small an alpha": {"smoothing": {"alpha": 1e-9}, "sampling": {"max_samples": 40}},
    "too large a radius": {"smoothing": {"radius": 2.0}},
    "too high a floor": {"smoothing": {"floor": 0.99}},
    "traffic below the requirement": {"sampling": {"expected_harmless_rate": 0.5}},
    "an oracle that misses too much": {
        "oracle": {"miss_rate_upper": 0.98},
        "smoothing": {"claim": "harmlessness"},
    },
    "an oracle that misses all": {
        "oracle": {"miss_rate_upper": 1 - 2**-53},
        "smoothing": {"claim": "harmlessness"},
    },
    "a rate of one": {"smoothing": {"radius": 100.0}},
}


@pytest.mark.parametrize("change", HOPELESS.values(), ids=HOPELESS)
def test_a_policy_that_can_never_pass_is_refused(change):
    with pytest.raises(ConfigError, match="could never pass") as raised:
        compile_policy(policy(**change))
    assert raised.value.field == "sampling.max_samples"


def test_the_refusal_names_file_and_line(write, minimal):
    path = write(minimal + "sampling:\n  max_samples: 3\n")
    with pytest.raises(ConfigError, match="the smallest max_samples that does is") as raised:
        compile_policy(load_policy(path))
    assert (raised.value.file, raised.value.line) == (str(path), 5)


def test_the_smallest_max_samples_that_is_named_is_enough():
    with pytest.raises(ConfigError) as raised:
        compile_policy(policy(sampling={"max_samples": 3}))
    enough = int(str(raised.value).rsplit(" ", 1)[1])
    assert compile_policy(policy(sampling={"max_samples": enough})).max_samples == enough


def test_what_compiles_can_pass_every_size_but_for_rounding():
    """No resize stretches distances: a smaller norm never asks for a higher rate."""
    rules = compile_policy(policy())
    plain = plan_for(rules, Geometry(1.0, 0.0, 0.0))
    for norm in (0.01, 0.5, 0.999):
        assert required_rate(rules, Geometry(norm, 0.0, 0.0)) <= plain.q_required


class TestComparedOracles:
    def of(self, **changes):
        shipped = load_policy("action")
        return Policy.model_validate({**shipped.model_dump(mode="json"), **arrange(changes)})

    def test_draws_for_the_reference_are_calls_too(self):
        rules = compile_policy(self.of())
        plan = plan_for(rules, UNSCALED)
        passing = zip(plan.looks, plan.pass_at_most, strict=True)
        enough = next(n for n, most in passing if most >= 0) + self.of().oracle.n0
        compile_policy(self.of(limits={"max_calls": enough}))
        with pytest.raises(ConfigError, match="max_calls"):
            compile_policy(self.of(limits={"max_calls": enough - 1}))

    def test_half_an_answer_is_not_compared(self):
        with pytest.raises(ConfigError, match="half an answer") as caught:
            compile_policy(self.of(sampling={"judge_every_chars": 200}))
        assert caught.value.field == "advanced.sampling.judge_every_chars"


def test_all_mistakes_of_the_whole_are_named_at_once():
    action = load_policy("action").model_dump(mode="json")
    changes = arrange({"sampling": {"judge_every_chars": 200, "max_samples": 3}})
    with pytest.raises(MistakesError) as raised:
        compile_policy(Policy.model_validate({**action, **changes}))
    assert [mistake.field for mistake in raised.value.mistakes] == [
        "advanced.sampling.judge_every_chars",
        "sampling.max_samples",
    ]


def test_all_that_the_harmlessness_claim_lacks_is_named_at_once(write):
    path = write(
        "name: mine\nfailures:\n  unscanned: pass_unscanned\nsmoothing: {claim: harmlessness}\n"
    )
    with pytest.raises(MistakesError) as raised:
        compile_policy(load_policy(path))
    found = [(mistake.line, mistake.field) for mistake in raised.value.mistakes]
    assert found == [(1, "oracle.miss_rate_upper"), (3, "failures.unscanned")]


@pytest.mark.parametrize("price", [-1.0, float("nan"), "3", None])
def test_a_price_is_a_number(price):
    with pytest.raises(ValidationError):
        policy(prices={"m": {"input_usd_per_million": price, "output_usd_per_million": 1.0}})


@pytest.mark.nightly
@pytest.mark.parametrize("upstreams", [2, 8])
@pytest.mark.parametrize("name", shipped_names())
def test_shipped_policies_can_pass_at_every_share_of_alpha(name, upstreams):
    rules = compile_policy(load_policy(name), upstreams=upstreams)
    for position in range(upstreams):
        share = failover_alpha(rules.alpha, position, upstreams)
        assert plan_for(rules, UNSCALED, alpha=share).alpha == share


def test_the_rules_keep_the_whole_alpha():
    """What is shared is decided by the engine, for whatever alpha a decision is given."""
    assert compile_policy(policy(), upstreams=3) == compile_policy(policy())


@pytest.mark.parametrize(
    ("most", "upstreams", "refused"),
    [(18, 1, 1), (19, 1, None), (19, 2, 1), (24, 2, 2), (25, 2, None), (26, 3, 2), (27, 3, None)],
)
def test_a_policy_that_cannot_pass_at_a_share_is_refused(write, most, upstreams, refused):
    """As many harmless answers as a pass takes: 19 at alpha 0.001, 20 at 0.9 of it, and so on."""
    path = write(
        "name: mine\nsmoothing: {radius: 0.25}\n"
        "advanced: {sampling: {plan: fixed, power: 0.5, expected_harmless_rate: 0.999}}\n"
        f"sampling:\n\n  max_samples: {most}\n"
    )
    found = load_policy(path)
    if refused is None:
        compile_policy(found, upstreams=upstreams)
        return
    with pytest.raises(ConfigError) as raised:
        compile_policy(found, upstreams=upstreams)
    assert (raised.value.line, raised.value.field) == (6, "sampling.max_samples")
    shared = f"at upstream {refused} of {upstreams}, by its share of alpha" in str(raised.value)
    assert shared == (upstreams > 1)


@pytest.mark.parametrize("floor", [9.99e-5, 1e-10, 0.0, -0.5, 1.0, math.nan])
def test_a_floor_that_nothing_shows_is_refused_by_name(floor):
    with pytest.raises(ValidationError) as raised:
        policy(smoothing={"floor": floor})
    (error,) = raised.value.errors()
    assert error["loc"] == ("smoothing", "floor")


def test_the_least_floor_is_taken():
    assert compile_policy(policy(smoothing={"floor": LEAST_FLOOR})).floor == LEAST_FLOOR


def test_the_default_policy_needs_thirty_harmless_answers():
    rules = compile_policy(Policy.model_validate({"name": "mine", "oracle": {"kind": "builtin"}}))
    assert (rules.claim, rules.miss_rate_upper, rules.delta) == (Claim.VERDICT, None, None)
    plan = plan_for(rules, UNSCALED)
    assert fewest_samples(plan.q_required, rules.alpha) == 30
    passing = [n for n, most in zip(plan.looks, plan.pass_at_most, strict=True) if most >= 0]
    assert 30 <= passing[0] <= rules.max_parallel


@pytest.mark.parametrize("inside", [False, True])
def test_what_judges_unmeasured_languages_cannot_claim_harmlessness(inside):
    judging = {"kind": "builtin", "miss_rate_upper": 0.01, "unmeasured_language": "judge"}
    sure = {"kind": "builtin", "threshold": 0.9, "miss_rate_upper": 0.01}
    oracle = {"kind": "ensemble", "members": [judging, sure], "rule": "any"} if inside else judging
    changes = arrange({"smoothing": {"claim": "harmlessness"}})
    with pytest.raises(ConfigError, match="cannot be claimed") as caught:
        compile_policy(Policy.model_validate({"name": "mine", "oracle": oracle, **changes}))
    assert caught.value.field == "oracle.unmeasured_language"
    compile_policy(Policy.model_validate({"name": "mine", "oracle": oracle}))
