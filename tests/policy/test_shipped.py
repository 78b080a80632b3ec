"""The shipped policies: they load, compile, document themselves, and say what they promise."""

import re
from pathlib import Path

import pytest
import yaml

from guardrail.engine.plan import UNSCALED, Geometry, plan_for, radii_by_floor
from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.engine.rules import MODEL_SIDE, AnswerSource, Mode, OnOracleFailure
from guardrail.errors import ConfigError
from guardrail.oracles.registry import builtin_kinds
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.policy.facts import describe_rules
from guardrail.policy.fields import describe_fields
from guardrail.policy.load import load_policy
from guardrail.policy.schema import Policy, PolicyFile
from guardrail.policy.shipped import find_policy_file, shipped_names, shipped_policy
from guardrail.stats import fewest_samples
from tests.policy.write_policies import generate_files

FOLDER = Path(__file__).parents[2] / "policies"
IN_CALLS = {"quick": 8, "default": 24, "strict": 110}


@pytest.fixture(params=shipped_names())
def path(request):
    return shipped_policy(request.param)


def rules_of(name):
    return compile_policy(load_policy(name))


def documented(definitions):
    """Every field of every kind of oracle."""
    for name, section in definitions.items():
        if name.endswith("Options"):
            for field, entry in section["properties"].items():
                inner = definitions.get(entry.get("$ref", "").rsplit("/", 1)[-1], {})
                yield (name, field), entry.get("description") or inner.get("description")


SCHEMA = PolicyFile.model_json_schema()
FIELDS = {field.place: field for field in describe_fields(PolicyFile)}


def leaves(content, place=()):
    """Every field of a file that is no section, the oracle's apart."""
    for name, value in content.items():
        field = FIELDS.get((*place, name))
        if field is not None and field.is_section:
            yield from leaves(value, (*place, name))
        else:
            yield (*place, name), value


def read(name):
    return yaml.safe_load(shipped_policy(name).read_text())


def test_all_files_of_the_folder_are_shipped_policies():
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(shipped_names())
    assert shipped_names()[0] == "default"
    for file in FOLDER.glob("*.yaml"):
        assert compile_policy(load_policy(file)).name == file.stem


@pytest.mark.parametrize("most", [1, pytest.param(99, marks=pytest.mark.nightly)])
def test_what_is_generated_is_up_to_date(most, monkeypatch):
    """Written by `make policies`: whoever changes a field, a policy or a sentence runs it again.

    By day the default policy and the page are compared, which hold every field.
    """
    monkeypatch.setattr("tests.policy.write_policies.shipped_names", lambda: shipped_names()[:most])
    for path, text in generate_files():
        assert path.read_text() == text, path


def test_the_schema_documents_every_field():
    assert len(FIELDS) > 60
    texts = {place: field.text for place, field in FIELDS.items()}
    for place, description in (texts | dict(documented(SCHEMA["$defs"]))).items():
        assert description, place
        assert len(description) > 10, place


def test_every_field_stands_in_the_default_file():
    found = dict(leaves(read("default")))
    own = {place for place, field in FIELDS.items() if not field.is_section}
    assert set(found) == own - {("extends",)}
    text = shipped_policy("default").read_text()
    assert "# extends:" in text
    for kind in builtin_kinds():
        assert kind in text


def test_every_field_of_the_default_file_stands_below_a_comment():
    previous = "blank"
    for line in shipped_policy("default").read_text().splitlines():
        kind = "comment" if line.lstrip().startswith("#") else "field" if line.strip() else "blank"
        if kind == "field":
            assert previous == "comment", line
        previous = kind


@pytest.mark.parametrize("name", [name for name in shipped_names() if name != "default"])
def test_the_other_files_hold_only_what_differs(name):
    default = dict(leaves(read("default")))
    for place, value in leaves(read(name)):
        assert place == ("version",) or default[place] != value, place


@pytest.mark.parametrize("name", [name for name in shipped_names() if name != "default"])
def test_no_shipped_policy_sets_an_advanced_field(name):
    """That is what makes a field advanced: those that one of them sets stand at the top."""
    assert "advanced" not in read(name)


def test_no_line_is_too_long(path):
    assert max(map(len, path.read_text().splitlines())) <= 100


def test_the_name_is_that_of_the_file(path):
    assert load_policy(path).name == path.stem


def test_only_the_shadow_policy_lets_everything_through():
    modes = {name for name in shipped_names() if rules_of(name).mode is not Mode.ENFORCE}
    assert modes == {"observe"}


def test_none_fails_open(path):
    assert load_policy(path).failures.oracle is not OnOracleFailure.PASS_UNSCANNED


def test_a_name_alone_is_the_default_policy(tmp_path):
    """Whoever leaves a field out gets what the commented file shows."""
    file = tmp_path / "bare.yaml"
    file.write_text("name: default\n")
    default, bare = load_policy("default"), load_policy(file)
    assert bare.model_dump() == default.model_dump() == Policy(name="default").model_dump()
    assert policy_digest(bare) == policy_digest(default)


@pytest.mark.parametrize("name", shipped_names())
def test_a_policy_is_the_same_by_its_name_and_by_its_path(name):
    assert (
        load_policy(name)
        == load_policy(shipped_policy(name))
        == load_policy(f"{FOLDER}/{name}.yaml")
    )


def test_files_come_before_names_and_paths_are_never_names(tmp_path):
    (tmp_path / "strict").write_text("name: mine")
    assert find_policy_file("strict", tmp_path) == tmp_path / "strict"
    assert find_policy_file("quick", tmp_path) == shipped_policy("quick")
    for path in ("quick.yaml", "quick.json", "./quick", "sub/quick"):
        assert find_policy_file(path, tmp_path) == tmp_path / path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("strikt", r"did you mean 'strict'\?"),
        ("my-policy", "; those that ship are default, action, "),
    ],
)
def test_a_name_that_is_not_shipped_lists_those_that_are(name, words):
    with pytest.raises(ConfigError, match=words) as raised:
        load_policy(name)
    assert all(shipped in str(raised.value) for shipped in shipped_names())


def test_default_promises_what_the_documents_say():
    rules = rules_of("default")
    assert (rules.sigma, rules.promised_radius, rules.floor, rules.alpha) == (0.5, 0.4, 0.5, 1e-3)
    assert (rules.canvas_max_side_px, rules.canvas_limit_px) == (MODEL_SIDE, 224)
    assert (rules.radius_space, rules.claim) == (RadiusSpace.CANVAS, Claim.VERDICT)
    assert rules.answer is AnswerSource.SMOOTHED
    facts = describe_rules(rules)
    assert fewest_samples(facts.q_required, facts.alpha) == 30 <= facts.fewest_samples


def test_quick_says_that_it_has_no_radius_at_one_half():
    rules = rules_of("quick")
    first, *others = radii_by_floor(rules, UNSCALED, plan_for(rules, UNSCALED).q_required)
    assert (first.floor, first.radius) == (0.5, None)
    assert all(reach.radius is not None for reach in others)
    assert "τ 0.5 → r none" in shipped_policy("quick").read_text()


def test_strict_promises_more_and_does_what_its_words_say():
    default, strict = rules_of("default"), rules_of("strict")
    assert strict.alpha == default.alpha / 10
    assert strict.promised_radius > default.promised_radius
    assert strict.answer is AnswerSource.SMOOTHED


def test_observe_differs_from_default_in_its_mode_only():
    default, observe = (load_policy(name) for name in ("default", "observe"))
    assert observe == default.model_copy(update={"name": "observe", "mode": Mode.OBSERVE})


def test_the_plan_keeps_its_promise(path):
    rules = compile_policy(load_policy(path))
    plan = plan_for(rules, Geometry(1.0, 0.0, 0.0))
    assert plan.false_pass_upper <= rules.alpha
    assert plan.power_at(rules.expected_harmless_rate) >= rules.power
    assert plan.max_samples <= rules.max_samples


@pytest.mark.parametrize("name", ["default", "strict"])
def test_the_tips_for_the_radius_are_true(name):
    """ "15 values changed by 16 of 255 levels each" lies within the radius, one more does not."""
    path = shipped_policy(name)
    text = path.read_text()
    count, levels = map(int, re.search(r"(\d+) values changed by (\d+) of 255", text).groups())
    radius = load_policy(path).smoothing.radius
    step = levels / 255
    assert (count * step**2) ** 0.5 <= radius < ((count + 1) * step**2) ** 0.5
