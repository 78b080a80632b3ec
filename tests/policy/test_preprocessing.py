"""Canvas and filter in policies: errors in words, digests, and what `policy check` says."""

import json

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from guardrail.assembly import build_engine
from guardrail.cli.policy import command
from guardrail.engine.rules import MODEL_SIDE, Denoise
from guardrail.errors import ConfigError
from guardrail.images.filters import PictureFilter
from guardrail.policy import content as content_module
from guardrail.policy.compile import compile_policy, policy_digest
from guardrail.policy.content import find_content, find_differing, policy_content, read_policy
from guardrail.policy.load import load_policy
from guardrail.policy.schema import Policy
from guardrail.replay.comparison import PolicyComparison
from guardrail.upstreams.scripted import Scripted
from tests.policies import arrange


def policy(**smoothing):
    return Policy.model_validate(arrange({"name": "mine", "smoothing": smoothing}))


def test_the_words_of_a_file_arrive():
    rules = compile_policy(policy(canvas_max_side_px="model", denoise="median"))
    assert (rules.canvas_max_side_px, rules.denoise) == (MODEL_SIDE, Denoise.MEDIAN)
    assert rules.asks_for_model_side
    assert compile_policy(policy()).asks_for_model_side
    fixed = {"canvas_max_side_px": 224}
    assert not compile_policy(policy(**fixed)).asks_for_model_side
    area = {**fixed, "denoise": "area"}
    assert not compile_policy(policy(**area, denoise_side_px=96)).asks_for_model_side
    assert compile_policy(policy(**area)).asks_for_model_side


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        ("smoothing: {denoise: gauss}", "smoothing.denoise", "median"),
        (
            "advanced: {smoothing: {canvas_max_side_px: modell}}",
            "advanced.smoothing.canvas_max_side_px",
            "model",
        ),
        (
            "advanced: {smoothing: {canvas_max_side_px: 4}}",
            "advanced.smoothing.canvas_max_side_px",
            "8",
        ),
        (
            "advanced: {smoothing: {denoise_window_px: 4}}",
            "advanced.smoothing.denoise_window_px",
            "3",
        ),
        (
            "advanced: {smoothing: {denoise_side_px: 20}}",
            "advanced.smoothing",
            "canvas_min_side_px must be at most denoise_side_px",
        ),
    ],
)
def test_mistakes_are_told_in_words(tmp_path, line, field, words):
    file = tmp_path / "policy.yaml"
    file.write_text(f"name: mine\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_policy(file)
    assert field in str(caught.value)
    assert words in str(caught.value)


def test_a_side_below_the_least_one_is_no_policy():
    with pytest.raises(ValidationError, match="canvas_min_side_px must be at most"):
        policy(canvas_max_side_px=27)


def test_the_digest_depends_on_filter_canvas_and_the_table_of_models(monkeypatch):
    fixed = {"canvas_max_side_px": 224}
    made = [fixed, {**fixed, "denoise": "median"}, {**fixed, "denoise": "area"}, {},
            {**fixed, "denoise": "custom"}]  # fmt: skip
    assert len({policy_digest(policy(**one)) for one in made}) == len(made)
    before = [policy_digest(policy(**one)) for one in made]
    monkeypatch.setattr(content_module, "SIDES_DIGEST", "another table")
    after = [policy_digest(policy(**one)) for one in made]
    changed = [one for one, old, new in zip(made, before, after, strict=True) if old != new]
    assert changed == [{**fixed, "denoise": "area"}, {}]


def test_records_can_restore_such_a_policy():
    for canvas in ("model", 224):
        made = policy(canvas_max_side_px=canvas, denoise="median")
        content = policy_content(made)
        assert find_content(find_differing(content), policy_digest(made)) == content
        assert read_policy(content) == made


@pytest.mark.parametrize(
    "change",
    [
        {"denoise": "median"},
        {"denoise": "median", "denoise_window_px": 5},
        {"canvas_max_side_px": 224},
    ],
)
def test_another_filter_takes_other_draws(change):
    old, new = policy_content(policy()), policy_content(policy(**change))
    assert PolicyComparison(old, new).changes_noise
    assert PolicyComparison(new, old).changes_noise


def test_what_was_measured_is_not_said_of_a_filter_of_ones_own():
    fields = {"name": "mine", "smoothing": {"denoise": "custom"}, "recall": "recall.json"}
    with pytest.raises(ConfigError, match="cannot be said of a filter of your own"):
        compile_policy(Policy.model_validate(fields))


def test_an_engine_is_refused_where_the_size_of_its_model_is_not_known():
    class Named(Scripted):
        known_models = ("nobody-7b",)

    with pytest.raises(ConfigError, match="'nobody-7b' looks at is not known"):
        build_engine(policy(canvas_limit_px=None), Named(["x"]))
    assert build_engine(policy(), "builtin").preprocessing("any").max_side_px == 96
    assert build_engine(policy(), Named(["x"])).preprocessing("any").max_side_px == 224


def test_a_filter_is_checked_when_the_engine_is_built():
    with pytest.raises(ConfigError, match="none was given"):
        build_engine(policy(denoise="custom"), Scripted(["x"]))
    with pytest.raises(ConfigError, match="must be a PictureFilter or None"):
        build_engine(policy(denoise="custom"), Scripted(["x"]), denoise=lambda noisy: noisy)
    mine = PictureFilter(lambda noisy: noisy, "mine", "1")
    engine = build_engine(policy(denoise="custom"), Scripted(["x"]), denoise=mine)
    assert engine.preprocessing("m").denoise == "custom: mine, revision 1"


def check(tmp_path, text, *options):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    result = CliRunner().invoke(command, ["check", str(file), *options])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: m\nsmoothing: {denoise: median}\n", "a filter (median of 3 x 3 px)"),
        ("name: m\nsmoothing: {denoise: custom}\n", "a function given in Python"),
        (
            "name: m\nadvanced: {smoothing: {canvas_max_side_px: model}}\n",
            "the canvas has the side that the model itself looks at",
        ),
    ],
)
def test_policy_check_tells_of_them(tmp_path, text, words):
    assert words in check(tmp_path, text)


def test_policy_check_tells_of_them_as_json(tmp_path):
    found = json.loads(check(tmp_path, "name: m\nsmoothing: {denoise: area}\n", "--json"))
    assert (found["denoise"], found["canvas_max_side_px"]) == ("area", "model")
    assert found["canvas_limit_px"] == 224
