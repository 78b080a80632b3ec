"""Scorers by name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from guardrail.errors import ConfigError
from guardrail.oracles.base import Exchange, Scorer
from guardrail.oracles.registry import SCORER_KINDS, build_scorer


@pytest.mark.parametrize("kind", SCORER_KINDS)
def test_every_kind_can_be_built_without_weights(kind):
    if kind == "detoxify":
        pytest.importorskip("detoxify")
    assert callable(build_scorer(kind).scores)  # `revision` would load the weights


def test_builtin_scores():
    scorer = build_scorer("builtin")
    assert isinstance(scorer, Scorer)
    assert 0.0 <= scorer.scores([Exchange("", "a dog and a car.")])[0] <= 1.0


def test_options_reach_the_constructor(tmp_path):
    scorer = build_scorer("builtin", {"path": tmp_path / "other.npz"})
    assert scorer._path == tmp_path / "other.npz"


def test_unknown_kind_lists_the_known():
    with pytest.raises(ConfigError, match=r"kind.*'magic'.*builtin, detoxify"):
        build_scorer("magic")


def test_unknown_option_names_itself_and_lists_the_known():
    with pytest.raises(ConfigError, match=r"options\.colour.*known are path"):
        build_scorer("builtin", {"colour": "red"})


def test_unusable_option_is_a_config_error():
    pytest.importorskip("detoxify")
    with pytest.raises(ConfigError, match="thresholds"):
        build_scorer("detoxify", {"thresholds": {}})


@pytest.mark.parametrize("package", ["torch", "transformers", "detoxify"])
def test_missing_package_names_the_remedy(package, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else real(name)
    )
    with pytest.raises(ConfigError, match=rf"{package}.*pip install 'guardrail\[detoxify\]'"):
        build_scorer("detoxify")


def test_package_without_a_spec_counts_as_installed(monkeypatch):
    def no_spec(name):
        raise ValueError(f"{name}.__spec__ is None")

    monkeypatch.setattr(importlib.util, "find_spec", no_spec)
    assert build_scorer("detoxify") is not None


def test_the_builtin_oracle_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from guardrail.oracles.registry import build_scorer\n"
        "from guardrail.oracles.base import Exchange\n"
        "build_scorer('builtin').scores([Exchange('', 'a dog')])\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'detoxify', 'pydantic', 'scipy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
