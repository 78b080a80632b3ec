"""`guardrail policy`: what files promise and cost, and what is wrong with them."""

import json

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from scipy.stats import norm

from guardrail.cli.policy import command
from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.errors import ConfigError
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.policy.document import parse_document
from guardrail.policy.load import load_policy
from guardrail.policy.schema import PolicyFile
from guardrail.policy.shipped import shipped_names, shipped_policy


def policy(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture(
    scope="module", params=["default", "quick", pytest.param("strict", marks=pytest.mark.nightly)]
)
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
        "τ 0.05 → r 0.4",
    ):
        assert words in said


def test_a_floor_that_no_test_can_show_is_refused_by_name(tmp_path):
    """Any radius could be bought with it."""
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nsmoothing: {floor: 0.00001, radius: 2}\noracle: {kind: builtin}\n")
    result = policy("check", file)
    assert result.exit_code == 2
    assert "smoothing.floor" in result.stderr


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


def test_several_policies_are_checked_one_after_the_other():
    names = [str(shipped_policy("default")), "quick"]
    lines = policy("check", *names, "--json").stdout.splitlines()
    assert [json.loads(line)["file"] for line in lines] == names


def test_a_shipped_policy_is_known_by_its_name():
    by_name, by_path = policy("check", "quick"), policy("check", shipped_policy("quick"))
    assert by_name.exit_code == 0
    assert by_name.stdout.splitlines()[0] == "quick: ok"
    assert by_name.stdout.splitlines()[1:] == by_path.stdout.splitlines()[1:]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\noracle: {miss_rate_upper: 0.1}\nsmoothing: {sigmaa: 0.5}\n", ["3", "sigmaa"]),
        ("name: a\noracle: {miss_rate_upper: 1.5}\n", ["2", "miss_rate_upper"]),
        ("mode: observe\n", ["name", "required"]),
        (
            "name: a\noracle: {miss_rate_upper: 0.1}\nsampling: {max_samples: 10}\n",
            ["max_samples"],
        ),
        ("name: [", ["YAML"]),
    ],
)
def test_a_mistake_is_named_by_file_line_and_field(tmp_path, text, words):
    file = tmp_path / "mistaken.yaml"
    file.write_text(text)
    result = policy("check", file)
    assert result.exit_code == 2
    first, told = result.stderr.splitlines()
    assert first == f"{file}: 1 mistake"
    assert "mistaken.yaml" in told
    assert all(word in told for word in words), told


MISTAKEN = "name: a\nlimits: {retries: 3}\nsmoothing:\n  sigma: 9\n"


def test_all_mistakes_of_all_files_are_listed(tmp_path):
    file = tmp_path / "mistaken.yaml"
    file.write_text(MISTAKEN)
    result = policy("check", file, "default", tmp_path / "gone.yaml")
    assert result.exit_code == 2
    assert "default: ok" in result.stdout
    unread = "the policy cannot be read (No such file or directory); check the path"
    gone = tmp_path / "gone.yaml"
    assert result.stderr.splitlines() == [
        f"{file}: 2 mistakes",
        f"  {file}:2, field 'limits': there is no such field; did you mean 'advanced.limits'?",
        f"  {file}:4, field 'smoothing.sigma': give a number of at most 4",
        f"{gone}: 1 mistake",
        f"  {gone}: {unread}",
    ]


def test_mistakes_for_programs(tmp_path):
    file = tmp_path / "mistaken.yaml"
    file.write_text(MISTAKEN)
    result = policy("check", file, "default", "--json")
    assert (result.exit_code, result.stderr) == (2, "")
    wrong, sound = map(json.loads, result.stdout.splitlines())
    assert wrong["file"] == str(file)
    assert [(m["file"], m["line"], m["field"]) for m in wrong["mistakes"]] == [
        (str(file), 2, "limits"),
        (str(file), 4, "smoothing.sigma"),
    ]
    assert "mistakes" not in sound


class TestShow:
    def test_without_a_name_it_lists_them(self):
        assert tuple(policy("show").stdout.split()) == shipped_names()

    @pytest.mark.parametrize("name", shipped_names())
    def test_a_shipped_policy_as_it_is_written(self, name):
        assert policy("show", name).stdout == shipped_policy(name).read_text()

    def test_what_a_file_means_in_the_end(self, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("name: mine\nextends: strict\nadvanced: {memory: {pass: redraw}}\n")
        shown = policy("show", file, "--resolved").stdout
        (tmp_path / "whole.yaml").write_text(shown)
        whole = load_policy(tmp_path / "whole.yaml")
        assert policy_digest(whole) == policy_digest(load_policy(file))
        assert whole.smoothing.alpha == load_policy("strict").smoothing.alpha

    def test_a_name_that_is_not_shipped(self):
        with pytest.raises(ConfigError, match="Those that ship are"):
            policy("show", "strikt")


def test_the_schema_is_one_that_editors_can_use():
    """It takes every shipped policy, and what the loader refuses by name it refuses too."""
    schema = json.loads(policy("schema").stdout)
    validator = Draft202012Validator(schema)
    validator.check_schema(schema)
    for name in shipped_names():
        validator.validate(parse_document(shipped_policy(name).read_bytes(), file=name).content)
    validator.validate({"name": "mine", "extends": "strict"})
    for wrong in ({}, {"name": "a", "limits": {}}, {"name": "a", "smoothing": {"sigma": 9}}):
        assert not validator.is_valid(wrong)


def test_the_schema_describes_every_field():
    schema = json.loads(policy("schema").stdout)
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(PolicyFile.model_fields)
    sections = [schema, *schema["$defs"].values()]
    for section in sections:
        for name, field in section.get("properties", {}).items():
            section_of = schema["$defs"].get(field.get("$ref", "").split("/")[-1], {})
            assert field.get("description") or section_of.get("description"), name
