"""A policy's choice becomes the oracle that judges: kind, options and threshold arrive."""

import asyncio
import importlib.util
import subprocess
import sys

import pytest

from guardrail.errors import ConfigError
from guardrail.oracles import builtin
from guardrail.oracles.base import Exchange
from guardrail.oracles.classifier import detoxify
from guardrail.policy.document import Source
from guardrail.policy.oracle import compile_oracle
from guardrail.policy.schema import Policy
from guardrail.types import Outcome

RUNNING = {
    "batch_windows": 16,
    "device": "cpu",
    "precision": "float32",
    "trust_checkpoint": False,
}


def policy(**oracle):
    return Policy.model_validate({"name": "p", "oracle": {"miss_rate_upper": 0.1, **oracle}})


@pytest.fixture
def asked(monkeypatch):
    """What the scorers were made with; they score an answer by its length."""
    calls = []

    class Lengths:
        revision = "lengths"

        def __init__(self, *args, **options):
            calls.append((args, options))

        def scores(self, exchanges):
            return [len(exchange.response) / 100 for exchange in exchanges]

    monkeypatch.setattr(builtin, "BuiltinScorer", Lengths)
    monkeypatch.setattr(detoxify, "DetoxifyScorer", Lengths)
    return calls


def outcomes(oracle, *responses):
    async def judge():
        try:
            return await oracle.judge([Exchange("", response) for response in responses])
        finally:
            await oracle.aclose()

    return [judgement.outcome for judgement in asyncio.run(judge())]


def test_the_threshold_is_that_of_the_policy(asked):
    found = outcomes(
        compile_oracle(policy(kind="builtin", threshold=0.05)), "1234", "12345", "123456"
    )
    assert found == [Outcome.HARMLESS, Outcome.HARMFUL, Outcome.HARMFUL]
    assert asked == [((), {})]


@pytest.mark.parametrize(
    ("fields", "model", "options"),
    [
        ({"model": "unbiased"}, "unbiased", {}),
        (
            {"checkpoint": "a.ckpt", "config_path": "folder"},
            "original",
            {"checkpoint": "a.ckpt", "huggingface_config_path": "folder"},
        ),
        ({"thresholds": {"threat": 0.3}}, "original", {"thresholds": {"threat": 0.3}}),
    ],
)
def test_the_options_arrive_with_their_paths_in_the_policys_folder(
    asked, tmp_path, fields, model, options
):
    placed = policy(kind="detoxify", **fields).with_source(Source(tmp_path))
    asyncio.run(compile_oracle(placed).aclose())
    ((args, given),) = asked
    assert args == (model,)
    paths = ("checkpoint", "huggingface_config_path")
    wanted = {k: tmp_path / v if k in paths else v for k, v in options.items()}
    assert {k: v for k, v in given.items() if v is not None} == {**RUNNING, **wanted}


def test_two_thresholds_are_two_revisions(asked):
    made = [compile_oracle(policy(threshold=threshold)) for threshold in (0.1, 0.2)]
    assert len({oracle.revision for oracle in made}) == 2


@pytest.mark.parametrize("package", ["torch", "transformers", "detoxify"])
def test_a_missing_package_names_the_remedy(package, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else real(name)
    )
    with pytest.raises(
        ConfigError, match=rf"{package}.*pip install 'certified-guardrail\[detoxify\]'"
    ):
        compile_oracle(policy(kind="detoxify"))


def test_a_package_without_a_spec_counts_as_installed(monkeypatch):
    def no_spec(name):
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(importlib.util, "find_spec", no_spec)
    assert compile_oracle(policy(kind="detoxify")) is not None


def test_the_builtin_oracle_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from guardrail.policy.load import load_policy\n"
        "from guardrail.policy.oracle import compile_oracle\n"
        "compile_oracle(load_policy('default')).revision\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'detoxify', 'litellm'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
