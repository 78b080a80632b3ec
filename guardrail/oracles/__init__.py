"""Oracles put an answer into a class: harmless or harmful, an action, a meaning.

These names are public, for oracles of your own; `docs/oracles.md` has an example. They are imported
when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guardrail.oracles.base import (
        Exchange,
        Judgement,
        NamedScore,
        Oracle,
        Reference,
        ReferenceOracle,
        Scorer,
    )
    from guardrail.oracles.by_kind import OracleByKind
    from guardrail.oracles.function import FunctionOracle
    from guardrail.oracles.options import (
        HarmOptions,
        MissRateBound,
        OracleOptions,
        ThreadedOptions,
    )
    from guardrail.oracles.reference_options import ReferenceOptions
    from guardrail.oracles.registry import build_oracle
    from guardrail.oracles.worker import ThreadedOracle
    from guardrail.section import FilePath
    from guardrail.types import Outcome

__all__ = [
    "Exchange",
    "FilePath",
    "FunctionOracle",
    "HarmOptions",
    "Judgement",
    "MissRateBound",
    "NamedScore",
    "Oracle",
    "OracleByKind",
    "OracleOptions",
    "Outcome",
    "Reference",
    "ReferenceOptions",
    "ReferenceOracle",
    "Scorer",
    "ThreadedOptions",
    "ThreadedOracle",
    "build_oracle",
]

_HOMES = {
    "Exchange": "guardrail.oracles.base",
    "FilePath": "guardrail.section",
    "FunctionOracle": "guardrail.oracles.function",
    "HarmOptions": "guardrail.oracles.options",
    "Judgement": "guardrail.oracles.base",
    "MissRateBound": "guardrail.oracles.options",
    "NamedScore": "guardrail.oracles.base",
    "Oracle": "guardrail.oracles.base",
    "OracleByKind": "guardrail.oracles.by_kind",
    "OracleOptions": "guardrail.oracles.options",
    "Outcome": "guardrail.types",
    "Reference": "guardrail.oracles.base",
    "ReferenceOptions": "guardrail.oracles.reference_options",
    "ReferenceOracle": "guardrail.oracles.base",
    "Scorer": "guardrail.oracles.base",
    "ThreadedOptions": "guardrail.oracles.options",
    "ThreadedOracle": "guardrail.oracles.worker",
    "build_oracle": "guardrail.oracles.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'guardrail.oracles' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
