"""The shipped policies: they load, compile, document themselves, and say what they promise."""

import re
from pathlib import Path

import pytest
import yaml

from guardrail.engine.plan import UNSCALED, Geometry, plan_for, radii_by_floor
from guardrail.engine.promise import Claim
from guardrail.engine.rules import AnswerSource, Mode, OnOracleFailure, OnUpstreamFailure
from guardrail.policy.compile import compile_policy
from guardrail.policy.facts import describe_rules
from guardrail.policy.load import SHIPPED, load_policy, shipped_policy
from guardrail.policy.schema import Policy
from guardrail.stats import fewest_samples
from tests.policy.write_headers import header_of, promised_header

FOLDER = Path(__file__).parents[2] / "policies"
IN_CALLS = {"quick": 8, "default": 24, "strict": 110}


@pytest.fixture(params=SHIPPED)
def path(request):
    return shipped_policy(request.param)


def rules_of(name):
    return compile_policy(load_policy(shipped_policy(name)))


def fields(schema, definitions, place=()):
    """Every field of the schema with its place and description."""
    for name, entry in schema["properties"].items():
        inner = definitions.get(entry.get("$ref", "").rsplit("/", 1)[-1], {})
        yield (*place, name), entry.get("description") or inner.get("description")
        if "properties" in inner:
            yield from fields(inner, definitions, (*place, name))


def documented(definitions):
    """Every field of every kind of oracle."""
    for name, section in definitions.items():
        if name.endswith("Options"):
            for field, entry in section["properties"].items():
                inner = definitions.get(entry.get("$ref", "").rsplit("/", 1)[-1], {})
                yield (name, field), entry.get("description") or inner.get("description")


SCHEMA = Policy.model_json_schema()
FIELDS = dict(fields(SCHEMA, SCHEMA["$defs"]))


def leaves(content, place=()):
    """Every field of a file that is no section."""
    for name, value in content.items():
        if isinstance(value, dict) and not place:
            yield from leaves(value, (name,))
        else:
            yield (*place, name), value


def test_all_files_of_the_folder_are_shipped_policies():
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(SHIPPED)
    for file in FOLDER.glob("*.yaml"):
        assert compile_policy(load_policy(file), file=str(file)).name == file.stem


def test_the_header_is_what_policy_check_says(path):
    """Written by `make policies`; whoever changes a policy or a sentence runs it again."""
    assert header_of(path) == promised_header(path)


def test_the_schema_documents_every_field():
    assert len(FIELDS) > 40
    for place, description in (FIELDS | dict(documented(SCHEMA["$defs"]))).items():
        assert description, place
        assert len(description) > 10, place


def test_every_field_stands_in_the_default_file():
    content = yaml.safe_load(shipped_policy("default").read_text())
    for place in FIELDS:
        value = content
        for name in place:
            assert name in value, place
            value = value[name]
    assert list(content) == list(Policy.model_fields)
    for name, section in Policy.model_fields.items():
        if name != "oracle" and hasattr(section.annotation, "model_fields"):
            inner = section.annotation.model_fields.items()
            assert list(content[name]) == [field.alias or name for name, field in inner]


def test_every_field_of_the_default_file_stands_below_a_comment():
    """A group may share one."""
    previous = "comment"
    for line in shipped_policy("default").read_text().splitlines():
        kind = "comment" if line.lstrip().startswith("#") else "field" if line.strip() else "blank"
        top = re.fullmatch(r"\w+:", line)
        if kind == "field" and not top:
            assert previous != "blank", line
        previous = "comment" if top else kind


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "default"])
def test_the_other_files_hold_only_what_differs(name):
    default = dict(leaves(yaml.safe_load(shipped_policy("default").read_text())))
    for place, value in leaves(yaml.safe_load(shipped_policy(name).read_text())):
        assert place[0] in ("version", "oracle") or default[place] != value, place


def test_no_line_is_too_long(path):
    assert max(map(len, path.read_text().splitlines())) <= 100


def test_the_name_is_that_of_the_file(path):
    assert load_policy(path).name == path.stem


def test_only_the_shadow_policy_lets_everything_through():
    modes = {name for name in SHIPPED if rules_of(name).mode is not Mode.ENFORCE}
    assert modes == {"observe"}


def test_none_fails_open(path):
    assert load_policy(path).failures.oracle is not OnOracleFailure.PASS_UNSCANNED


def test_default_writes_out_the_defaults():
    """Whoever leaves a field out gets what the commented file shows, the oracle's apart."""
    default = load_policy(shipped_policy("default"))
    bare = Policy(name="default", oracle=default.oracle)
    assert bare.placed(default.folder) == default


def test_default_promises_what_the_documents_say():
    rules = rules_of("default")
    assert (rules.sigma, rules.promised_radius, rules.floor, rules.alpha) == (0.5, 0.25, 0.5, 1e-3)
    assert (rules.canvas_max_side_px, rules.claim) == (224, Claim.VERDICT)
    assert rules.answer is AnswerSource.SMOOTHED
    facts = describe_rules(rules)
    assert fewest_samples(facts.q_required, facts.alpha) == 19 <= facts.fewest_samples


def test_quick_says_that_it_has_no_radius_at_one_half():
    rules = rules_of("quick")
    first, *others = radii_by_floor(rules, UNSCALED, plan_for(rules, UNSCALED).q_required)
    assert (first.floor, first.radius) == (0.5, None)
    assert all(reach.radius is not None for reach in others)
    assert "τ 0.5 → r none" in shipped_policy("quick").read_text()


def test_strict_promises_more_and_does_what_its_words_say():
    default, strict = rules_of("default"), rules_of("strict")
    assert strict.alpha == default.alpha / 10
    assert strict.promised_radius == 2 * default.promised_radius
    assert strict.answer is AnswerSource.SMOOTHED
    assert strict.on_upstream_failure is OnUpstreamFailure.BLOCK
    assert strict.on_oracle_failure is OnOracleFailure.BLOCK


def test_observe_differs_from_default_in_its_mode_only():
    default, observe = (load_policy(shipped_policy(name)) for name in ("default", "observe"))
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
