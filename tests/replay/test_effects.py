"""Every field of a policy has an effect, so that replay cannot overlook one."""

import pytest

from guardrail.oracles.registry import builtin_kinds, find_options
from guardrail.policy.content import flatten, policy_content
from guardrail.policy.load import load_policy
from guardrail.policy.schema import Policy
from guardrail.policy.shipped import shipped_names
from guardrail.replay.comparison import PolicyComparison
from guardrail.replay.effects import _BY_FIELD, _BY_SECTION, Effect, find_changes, find_effect


def test_each_field_is_named_or_in_a_section_that_is():
    content = policy_content(Policy(name="x"))
    for field, _ in flatten(content):
        parts = field.split(".")
        sections = {".".join(parts[:2]), parts[0]} & set(_BY_SECTION)
        assert field in _BY_FIELD or sections, field
    known = {field for field, _ in flatten(content)} | {"oracle.n0", "overrides"}
    assert set(_BY_FIELD) <= known
    assert find_effect("a.field.of.tomorrow") is Effect.DRAWS


@pytest.mark.parametrize("kind", builtin_kinds())
def test_fields_of_oracles_act_on_judging_unless_they_are_known_not_to(kind):
    for name in find_options(kind).model_fields:
        assert find_effect(f"oracle.{name}") in (
            Effect.ORACLE, Effect.THRESHOLD, Effect.TEST, Effect.NOTHING,
        )  # fmt: skip
    assert find_effect("oracle.kind") is Effect.ORACLE
    assert find_effect("oracle.languages") is Effect.ORACLE


def test_a_policy_does_not_differ_from_itself():
    for name in shipped_names():
        content = policy_content(load_policy(name))
        assert PolicyComparison(content, content).is_same


def test_quality_matters_only_where_variants_are_lossy(kit):
    def compare(old, new):
        return PolicyComparison(
            policy_content(kit.make_policy(**old)), policy_content(kit.make_policy(**new))
        )

    quality = {"images": {"variant_quality": 50}}
    assert not compare({}, quality).changes_noise
    lossy = {"images": {"variant_format": "jpeg"}}
    assert compare(lossy, {"images": {**lossy["images"], **quality["images"]}}).changes_noise
    assert compare({}, lossy).changes_noise


def test_an_oracle_of_another_kind_changes_all_of_its_fields(kit):
    old = policy_content(kit.make_policy())
    new = policy_content(kit.make_policy(oracle={"kind": "encoder"}))
    changes = {one.field: one for one in find_changes(old, new)}
    assert changes["oracle.kind"].effect is Effect.ORACLE
    assert changes["oracle.threads"].old is None
