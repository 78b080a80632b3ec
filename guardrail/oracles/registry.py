"""Kinds of scorers by name; what a kind needs is imported only when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guardrail.oracles.base import Scorer

__all__ = ["SCORER_KINDS", "build_scorer"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where the constructor is, and what must be installed for it."""

    module: str
    name: str
    packages: tuple[str, ...] = ()
    extra: str = ""


_KINDS = {
    "builtin": _Kind("guardrail.oracles.builtin", "BuiltinScorer"),
    "detoxify": _Kind(
        "guardrail.oracles.detoxify",
        "DetoxifyScorer",
        packages=("torch", "transformers", "detoxify"),
        extra="detoxify",
    ),
}

SCORER_KINDS = tuple(_KINDS)


def build_scorer(kind: str, options: Mapping[str, object] | None = None) -> Scorer:
    """The scorer of that kind. Its weights may be loaded only later, at the first use.

    Args:
        kind: One of `SCORER_KINDS`.
        options: Keyword arguments of its constructor.

    Raises:
        ConfigError: The kind or an option is unknown, an option's value is unusable, or a package
            is missing (the message says how to install it).
    """
    if kind not in _KINDS:
        raise ConfigError(
            f"'{kind}' is no kind of oracle; known are {', '.join(_KINDS)}", field="kind"
        )
    entry = _KINDS[kind]
    _require_packages(kind, entry)
    constructor = getattr(importlib.import_module(entry.module), entry.name)
    given = dict(options or {})
    _require_known(kind, constructor, given)
    scorer: Scorer = constructor(**given)
    return scorer


def _require_packages(kind: str, entry: _Kind) -> None:
    missing = [name for name in entry.packages if not _is_installed(name)]
    if missing:
        raise ConfigError(
            f"the oracle '{kind}' needs {', '.join(missing)}, which is not installed; "
            f"pip install 'guardrail[{entry.extra}]'",
            field="kind",
        )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module that was imported without a spec is there all the same
        return True


def _require_known(
    kind: str, constructor: Callable[..., Scorer], given: Mapping[str, object]
) -> None:
    known = inspect.signature(constructor).parameters
    if unknown := sorted(set(given) - set(known)):
        raise ConfigError(
            f"unknown for the oracle '{kind}'; known are {', '.join(known)}",
            field=f"options.{unknown[0]}",
        )
