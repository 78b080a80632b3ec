"""A policy's choice of a text classifier: its fields arrive, and what is missing is named."""

import asyncio
import importlib.util

import pytest
from pydantic import ValidationError

from guardrail.errors import ConfigError
from guardrail.oracles.classifier import classifier
from guardrail.oracles.kinds.classifier import ClassifierOptions
from guardrail.policy.schema import Policy


@pytest.fixture
def asked(monkeypatch):
    """What the scorer was made with."""
    calls = []

    class Scorer:
        revision = "fixed"

        def __init__(self, *args, **options):
            calls.append((args, options))

    monkeypatch.setattr(classifier, "ClassifierScorer", Scorer)
    return calls


def build(folder, **fields):
    oracle = ClassifierOptions(kind="classifier", **fields).build(folder)
    asyncio.run(oracle.aclose())
    return oracle


DEFAULTS = {
    "labels": None,
    "harmless_label": None,
    "problem": None,
    "pair": "none",
    "hub_revision": None,
    "window_tokens": None,
    "device": "cpu",
    "precision": "float32",
    "batch_windows": 16,
    "trust_checkpoint": False,
}


def test_what_is_left_out_is_cautious(asked, tmp_path):
    assert build(tmp_path, model="org/model", harmless_label="ok").threshold == 0.5
    assert asked == [(("org/model",), {**DEFAULTS, "harmless_label": "ok"})]


def test_every_field_arrives(asked, tmp_path):
    fields = {
        "labels": {"toxic": 0.2},
        "problem": "multi_label",
        "pair": "prompt_and_response",
        "hub_revision": "main",
        "window_tokens": 128,
        "device": "cpu",
        "precision": "int8",
        "batch_windows": 4,
        "trust_checkpoint": True,
    }
    build(tmp_path, model="org/model", **fields)
    assert asked == [(("org/model",), {**DEFAULTS, **fields})]


def test_a_model_beside_the_policy_is_found_there(asked, tmp_path):
    (tmp_path / "model").mkdir()
    build(tmp_path, model="model", labels={"toxic": 0.5})
    assert asked[0][0] == (tmp_path / "model",)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"labels": {"a": 0.5}, "harmless_label": "b"},
        {"labels": {}},
        {"labels": {"a": 1.0}},
        {"harmless_label": ""},
        {"labels": {"a": 0.5}, "problem": "regression"},
        {"labels": {"a": 0.5}, "pair": "both"},
        {"labels": {"a": 0.5}, "precision": "int4"},
        {"labels": {"a": 0.5}, "window_tokens": 0},
        {"labels": {"a": 0.5}, "trust_remote_code": True},
    ],
)
def test_a_wrong_field_is_refused(fields):
    with pytest.raises(ValidationError):
        ClassifierOptions(kind="classifier", model="m", **fields)


def test_a_precision_that_a_device_lacks_is_refused_before_anything_loads(tmp_path):
    with pytest.raises(ConfigError, match="precision"):
        build(tmp_path, model="m", labels={"a": 0.5}, device="cuda", precision="int8")


def test_a_policy_names_it():
    oracle = {"kind": "classifier", "model": "m", "labels": {"a": 0.5}, "miss_rate_upper": 0.1}
    assert isinstance(
        Policy.model_validate({"name": "p", "oracle": oracle}).oracle, ClassifierOptions
    )


@pytest.mark.parametrize("package", ["torch", "transformers", "safetensors"])
def test_a_missing_package_names_the_remedy(package, monkeypatch, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else real(name)
    )
    with pytest.raises(
        ConfigError, match=rf"{package}.*pip install 'certified-guardrail\[local\]'"
    ):
        build(tmp_path, model="m", labels={"a": 0.5})
