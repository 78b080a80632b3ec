"""Policies become rules: every field arrives, and one that can never pass is refused."""

import dataclasses

import pytest

from guardrail.engine.plan import Geometry, plan_for, required_rate
from guardrail.engine.rules import AnswerSource, Claim, Mode, OnOracleFailure, RadiusSpace, Rules
from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy, image_limits, policy_digest
from guardrail.policy.load import load_policy
from guardrail.policy.schema import Policy
from guardrail.stats import PlanKind

OTHER = {
    "name": "other",
    "mode": "observe",
    "smoothing": {
        "sigma": 0.75,
        "radius": 0.125,
        "radius_space": "canvas",
        "floor": 0.6,
        "alpha": 0.01,
        "canvas_max_side_px": None,
        "claim": "composite",
    },
    "sampling": {
        "plan": "fixed",
        "expected_harmless_rate": 0.97,
        "power": 0.9,
        "max_samples": 321,
        "latency_weight": 1.5,
        "max_parallel": 7,
        "speculate": True,
    },
    "oracle": {"threshold": 0.4, "miss_rate_upper": 0.02, "delta": 0.002},
    "answer": "clean",
    "failures": {
        "upstream": "block",
        "oracle": "pass_unscanned",
        "unscanned": "pass_unscanned",
        "refusals_are_harmless": False,
    },
    "limits": {"retries": 5, "call_timeout_s": 7, "deadline_s": 70.5},
}


def policy(**changes):
    return Policy.model_validate({"name": "mine", "oracle": {"miss_rate_upper": 0.05}, **changes})


def test_every_field_arrives():
    rules = compile_policy(Policy.model_validate(OTHER))
    assert dataclasses.asdict(rules) == {
        "name": "other",
        "digest": rules.digest,
        "mode": Mode.OBSERVE,
        "claim": Claim.COMPOSITE,
        "sigma": 0.75,
        "promised_radius": 0.125,
        "radius_space": RadiusSpace.CANVAS,
        "floor": 0.6,
        "alpha": 0.01,
        "canvas_max_side_px": None,
        "miss_rate_upper": 0.02,
        "delta": 0.002,
        "kind": PlanKind.FIXED,
        "expected_harmless_rate": 0.97,
        "power": 0.9,
        "max_samples": 321,
        "latency_weight": 1.5,
        "max_parallel": 7,
        "speculate": True,
        "answer": AnswerSource.CLEAN,
        "on_upstream_failure": "block",
        "on_oracle_failure": OnOracleFailure.PASS_UNSCANNED,
        "on_unscanned": "pass_unscanned",
        "refusals_are_harmless": False,
        "retries": 5,
        "call_timeout_s": 7.0,
        "deadline_s": 70.5,
    }
    default = compile_policy(policy())
    same = [
        f.name
        for f in dataclasses.fields(Rules)
        if getattr(rules, f.name) == getattr(default, f.name)
    ]
    assert same == []


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


HOPELESS = {
    "too few samples": {"sampling": {"max_samples": 10}},
    "too small an alpha": {"smoothing": {"alpha": 1e-9}, "sampling": {"max_samples": 40}},
    "too large a radius": {"smoothing": {"radius": 2.0}},
    "too high a floor": {"smoothing": {"floor": 0.99}},
    "traffic below the requirement": {"sampling": {"expected_harmless_rate": 0.5}},
    "an oracle that misses too much": {"oracle": {"miss_rate_upper": 0.98}},
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
        compile_policy(load_policy(path), file=str(path))
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
