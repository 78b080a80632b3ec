"""A policy's choice of the embedding oracle: its fields arrive, and what is missing is named."""

import asyncio
import importlib.util

import pytest
from pydantic import ValidationError

from guardrail.errors import ConfigError
from guardrail.oracles import embedding
from guardrail.oracles.kinds.embedding import EmbeddingOptions
from guardrail.oracles.text import sentences


@pytest.fixture
def asked(monkeypatch):
    """What the encoder and the scorer were made with."""
    calls = {}

    class Encoder:
        def __init__(self, *args, **options):
            calls["encoder"] = (args, options)

    class Scorer:
        revision = "fixed"

        def __init__(self, *args, **options):
            calls["scorer"] = (args, options)

    monkeypatch.setattr(sentences, "SentenceEncoder", Encoder)
    monkeypatch.setattr(embedding, "SentenceEncoder", Encoder)
    monkeypatch.setattr(embedding, "EmbeddingScorer", Scorer)
    return calls


def build(folder, **fields):
    oracle = EmbeddingOptions(kind="embedding", **fields).build(folder)
    asyncio.run(oracle.aclose())
    return oracle


def test_the_shipped_heads_and_model_are_the_default(asked, tmp_path):
    assert build(tmp_path).threshold == 0.5
    args, options = asked["encoder"]
    assert args == ()
    assert options == {"device": "cpu", "precision": "float32", "layers": embedding.LAYERS}
    args, options = asked["scorer"]
    assert args == (embedding.EMBEDDING_HEADS,)
    assert options["thresholds"] is None


def test_every_field_arrives(asked, tmp_path):
    build(
        tmp_path,
        model="org/model",
        heads="mine.npz",
        thresholds={"harm": 0.2},
        precision="bfloat16",
        device="cuda",
        layers=3,
    )
    options = {"device": "cuda", "precision": "bfloat16", "layers": 3}
    assert asked["encoder"] == (("org/model",), options)
    args, options = asked["scorer"]
    assert args == (tmp_path / "mine.npz",)
    assert options["thresholds"] == {"harm": 0.2}


def test_a_model_beside_the_policy_is_found_there(asked, tmp_path):
    (tmp_path / "model").mkdir()
    build(tmp_path, model="model", heads="mine.npz")
    assert asked["encoder"][0] == (tmp_path / "model",)


@pytest.mark.parametrize(
    "fields",
    [
        {"precision": "int4"},
        {"thresholds": {"harm": 1.0}},
        {"threshold": 2.0},
        {"unknown": 1},
        {"model": "org/model"},  # without heads of its own
        {"layers": 3},  # of no model
        {"model": "org/model", "heads": "mine.npz", "layers": 0},
    ],
)
def test_a_wrong_field_is_refused(fields):
    with pytest.raises(ValidationError):
        EmbeddingOptions(kind="embedding", **fields)


@pytest.mark.parametrize("package", ["torch", "transformers", sentences.DEFAULT_PACKAGE])
def test_a_missing_package_names_the_remedy(package, monkeypatch, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else real(name)
    )
    with pytest.raises(
        ConfigError, match=rf"{package}.*pip install 'certified-guardrail\[embedding\]'"
    ):
        build(tmp_path)


def test_another_model_does_not_need_the_package_of_the_usual_one(asked, monkeypatch, tmp_path):
    real = importlib.util.find_spec
    own = sentences.DEFAULT_PACKAGE
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == own else real(name)
    )
    build(tmp_path, model="org/model", heads="mine.npz")
    assert asked["encoder"][0] == ("org/model",)
