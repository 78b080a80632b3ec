"""The examples of the oracles' page are policies that load, and it leaves no kind out."""

import re
from pathlib import Path

import pytest
import yaml

from guardrail.oracles.registry import builtin_kinds
from guardrail.policy.schema import Policy

PAGE = (Path(__file__).parents[2] / "docs" / "oracles.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_a_policy(text):
    policy = Policy.model_validate({"name": "example", **yaml.safe_load(text)})
    assert policy.oracle.kind in builtin_kinds()


def test_every_kind_is_in_the_table():
    table = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(table)))
    assert set(builtin_kinds()) <= named


def test_there_are_examples_of_most_kinds():
    shown = {yaml.safe_load(text)["oracle"]["kind"] for text in EXAMPLES}
    assert set(builtin_kinds()) - shown <= {"builtin"}
