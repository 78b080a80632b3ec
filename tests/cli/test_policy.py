"""`guardrail policy`: what files promise and cost, and what is wrong with them."""

import json

import pytest
from click.testing import CliRunner

from guardrail.cli.policy import command
from guardrail.errors import ConfigError
from guardrail.policy.load import load_policy, shipped_policy
from guardrail.policy.schema import Policy


def policy(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize("name", ["default", "strict", "observe"])
def test_a_shipped_policy_is_sound_and_says_what_it_promises(name):
    file = shipped_policy(name)
    (line,) = policy("check", file, "--json").stdout.splitlines()
    facts = json.loads(line)
    assert facts["policy"] == name
    assert facts["radius"] == load_policy(file).smoothing.radius
    assert 0 < facts["false_pass"] <= facts["alpha"] < 0.05
    assert facts["alpha"] == load_policy(file).smoothing.alpha
    assert 0.5 < facts["q_required"] < 1
    assert facts["power"] >= 0.9
    assert 1 <= facts["expected_calls_harmful"] < facts["expected_calls_at_harmless_rate"]
    assert facts["expected_calls_at_harmless_rate"] < facts["max_samples"]


def test_in_words_it_says_the_same():
    text = policy("check", shipped_policy("default")).stdout
    facts = json.loads(policy("check", shipped_policy("default"), "--json").stdout)
    assert text.startswith(f"{shipped_policy('default')}: ok\n")
    assert f"radius {facts['radius']:g}" in text
    assert f"{facts['q_required']:.4f}" in text
    assert f"{facts['expected_calls_at_harmless_rate']:.1f} calls" in text


def test_several_files_are_checked_one_after_the_other():
    files = [shipped_policy("default"), shipped_policy("strict")]
    lines = policy("check", *files, "--json").stdout.splitlines()
    assert [json.loads(line)["file"] for line in lines] == [str(file) for file in files]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\noracle: {miss_rate_upper: 0.1}\nsmoothing: {sigmaa: 0.5}\n", ["3", "sigmaa"]),
        ("name: a\noracle: {miss_rate_upper: 1.5}\n", ["2", "miss_rate_upper"]),
        ("name: a\n", ["oracle"]),
        (
            "name: a\noracle: {miss_rate_upper: 0.1}\nsampling: {max_samples: 10}\n",
            ["max_samples"],
        ),
        ("name: [", ["yaml"]),
    ],
)
def test_a_mistake_is_named_by_file_line_and_field(tmp_path, text, words):
    file = tmp_path / "mistaken.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        policy("check", file)
    told = str(caught.value)
    assert "mistaken.yaml" in told
    assert all(word in told for word in words), told


def test_a_file_that_is_not_there_is_one_error(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        policy("check", tmp_path / "gone.yaml")


def test_the_schema_describes_every_field():
    schema = json.loads(policy("schema").stdout)
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Policy.model_fields)
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        for name, field in section.get("properties", {}).items():
            section_of = schema["$defs"].get(field.get("$ref", "").split("/")[-1], {})
            assert field.get("description") or section_of.get("description"), name
