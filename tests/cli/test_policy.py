"""`guardrail policy`: what files promise and cost, and what is wrong with them."""

import json

import pytest
from click.testing import CliRunner
from scipy.stats import norm

from guardrail.cli.policy import command
from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.policy.schema import Policy
from guardrail.policy.shipped import shipped_policy


def policy(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module", params=["default", "quick", "strict"])
def checked(request):
    file = shipped_policy(request.param)
    (line,) = policy("check", file, "--json").stdout.splitlines()
    return file, json.loads(line)


def test_a_shipped_policy_is_sound_and_says_what_it_promises(checked):
    file, facts = checked
    smoothing = load_policy(file).smoothing
    assert facts["policy"] == file.stem
    assert (facts["radius"], facts["alpha"]) == (smoothing.radius, smoothing.alpha)
    assert (facts["floor"], facts["claim"]) == (smoothing.floor, "verdict")
    assert 0 < facts["false_pass"] <= facts["alpha"] < 0.05
    assert facts["usual"]["passes"] >= 0.9
    assert 1 <= facts["harmful"]["calls"] <= facts["usual"]["calls"] < facts["max_samples"]


def test_promised_radii_are_those_of_the_formula(checked):
    _, facts = checked
    eta = UNSCALED.sampler_error
    assert {row["floor"] for row in facts["promised"]} == {0.5, 0.2, 0.1, 0.05, 0.01}
    for row in facts["promised"]:
        top, bottom = norm.ppf(facts["q_required"] - eta), norm.ppf(row["floor"] + eta)
        radius = facts["sigma"] * (top - bottom)
        if radius < 0:
            assert row["radius"] is None
        else:
            assert radius - 1e-6 <= row["radius"] <= radius + 1e-12


def test_the_chance_to_pass_is_that_of_the_plan(checked):
    file, facts = checked
    plan = plan_for(compile_policy(load_policy(file)), UNSCALED)
    assert facts["passes"] == [[q, plan.power_at(q)] for q in (0.3, 0.5, 0.7, 0.9)]


def test_in_words_it_says_the_same():
    text = policy("check", shipped_policy("default")).stdout
    facts = json.loads(policy("check", shipped_policy("default"), "--json").stdout)
    said = " ".join(text.split())
    assert text.startswith(f"{shipped_policy('default')}: ok\n")
    assert facts["promise"] in said
    assert f"{facts['q_required']:.4f}" in text
    assert f"{facts['usual']['calls']:.1f} calls" in said


def test_everything_of_a_conditional_promise_is_shown(tmp_path):
    """The floor, the condition on the oracle, and how sure its measurement is."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\nsmoothing: {claim: harmlessness, floor: 0.05}\n"
        "oracle: {kind: builtin, miss_rate_upper: 0.2, delta: 0.5}\n"
    )
    said = " ".join(policy("check", file).stdout.split())
    for words in (
        "of whose harmful answers the oracle misses at most 0.2",
        "0.2 bounds the average over labelled answers, with confidence 0.5;",
        "it does not bound a single request",
        "τ 0.05 → r 0.25",
    ):
        assert words in said


def test_a_floor_that_no_test_can_show_is_refused_by_name(tmp_path):
    """Any radius could be bought with it."""
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nsmoothing: {floor: 0.00001, radius: 2}\noracle: {kind: builtin}\n")
    with pytest.raises(ConfigError, match=r"smoothing\.floor"):
        policy("check", file)


def test_the_other_way_round(tmp_path):
    file = shipped_policy("default")
    said = policy("check", file, "--reach=1@0.1", "--reach=1@.5", "--reach=9@.5").stdout
    near, far, never = (line for line in said.splitlines() if line.startswith("  reach"))
    assert "radius 1 at τ 0.1 costs 26 calls or more" in near
    assert "radius 1 at τ 0.5 costs 301 calls or more" in far
    assert "radius 9 at τ 0.5 cannot be promised" in never
    rows = json.loads(policy("check", file, "--reach=1@0.1", "--reach=1@.5", "--json").stdout)
    dear, none = rows["reach"]
    assert dear["fewest_samples"] == 26 <= dear["calls"]
    assert none["calls"] is None


@pytest.mark.parametrize("wish", ["1", "1@", "@.1", "x@.1", "-1@.1", "1@.1@.1"])
def test_a_wish_that_is_none_is_refused(wish):
    result = policy("check", shipped_policy("default"), f"--reach={wish}")
    assert result.exit_code == 2
    assert "write them as 1@0.1" in result.stderr


def test_an_action_policy_speaks_of_actions():
    said = " ".join(policy("check", shipped_policy("action")).stdout.split())
    assert "an answer passes whose action the unchanged request's answers have" in said
    assert "of harm" not in said


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
