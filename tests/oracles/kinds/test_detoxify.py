"""A policy's choice of a Detoxify model: every field arrives, and wrong ones are refused."""

import asyncio

import pytest
from pydantic import ValidationError

from guardrail.errors import ConfigError
from guardrail.oracles.classifier import detoxify
from guardrail.oracles.kinds.detoxify import DetoxifyOptions


@pytest.fixture
def asked(monkeypatch):
    """What the scorer was made with."""
    calls = []

    class Scorer:
        revision = "fixed"

        def __init__(self, *args, **options):
            calls.append((args, options))

    monkeypatch.setattr(detoxify, "DetoxifyScorer", Scorer)
    return calls


def build(folder, **fields):
    oracle = DetoxifyOptions(kind="detoxify", **fields).build(folder)
    asyncio.run(oracle.aclose())
    return oracle


def test_what_is_left_out_is_cautious(asked, tmp_path):
    assert build(tmp_path).threshold == 0.5
    ((args, options),) = asked
    assert args == ("original",)
    assert not options["trust_checkpoint"]
    assert options["precision"] == "float32"


def test_every_field_arrives(asked, tmp_path):
    same = {
        "thresholds": {"threat": 0.2, "sexual_explicit": 0.9},
        "window_tokens": 128,
        "device": "cuda",
        "precision": "bfloat16",
        "batch_windows": 4,
        "trust_checkpoint": True,
    }
    build(tmp_path, checkpoint="a.ckpt", config_path="base", **same)
    places = {"checkpoint": tmp_path / "a.ckpt", "huggingface_config_path": tmp_path / "base"}
    assert asked == [(("original",), {**same, **places})]


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "original", "checkpoint": "a.ckpt"},
        {"thresholds": {"threat": 0.0}},
        {"window_tokens": 0},
        {"batch_windows": 0},
        {"precision": "float16"},
        {"device": ""},
        {"unknown": 1},
    ],
)
def test_a_wrong_field_is_refused(fields):
    with pytest.raises(ValidationError):
        DetoxifyOptions(kind="detoxify", **fields)


def test_a_precision_that_a_device_lacks_is_refused_before_anything_loads(tmp_path):
    with pytest.raises(ConfigError, match="precision"):
        build(tmp_path, device="cuda", precision="int8")
