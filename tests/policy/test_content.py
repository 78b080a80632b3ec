"""A policy's own fields are the whole policy again, as its digest shows."""

import json

import pytest

from guardrail.canonical import canonical_json
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.policy.content import find_content, find_differing, policy_content
from guardrail.policy.load import load_policy
from guardrail.policy.schema import Policy
from guardrail.policy.shipped import shipped_names


@pytest.mark.parametrize("name", shipped_names())
def test_what_differs_restores_the_whole_also_after_it_was_json(name):
    policy = load_policy(name)
    content = policy_content(policy)
    fields = json.loads(canonical_json(find_differing(content)))
    assert find_content(fields, policy_digest(policy)) == content
    assert len(json.dumps(fields)) < 2000


def test_what_is_as_by_default_is_left_out():
    assert find_differing(policy_content(Policy(name="x"))) == {"name": "x"}
    policy = Policy.model_validate({"name": "x", "smoothing": {"radius": 0.3, "sigma": 0.5}})
    fields = find_differing(policy_content(policy))
    assert fields == {"name": "x", "smoothing": {"radius": 0.3}}
    assert compile_policy(policy).policy_fields == fields


def test_other_digests_and_other_things_are_not_restored():
    policy = Policy(name="x")
    digest = policy_digest(policy)
    assert find_content({"name": "x"}, digest) is not None
    assert find_content({"name": "y"}, digest) is None
    assert find_content({}, digest) is None
    assert find_content({"name": float("nan")}, digest) is None


def test_rules_keep_the_name_alone_of_a_policy_that_is_very_long():
    prices = {f"model-{i}": {"input_usd_per_million": 1.0, "output_usd_per_million": 2.0}
              for i in range(200)}  # fmt: skip
    policy = Policy.model_validate({"name": "x", "advanced": {"prices": prices}})
    assert compile_policy(policy).policy_fields == {"name": "x"}
