"""The oracles inside another oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.oracles.base import ReferenceOracle
from guardrail.oracles.combined.members import Member

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardrail.policy.choices.base import Choice

__all__ = ["build_members"]


def build_members(choices: Sequence[Choice], folder: Path) -> list[Member]:
    """Each choice's oracle, named by its kind and, where two are alike, by its number.

    Raises:
        ConfigError: one cannot be built, or judges against a reference, which a vote cannot carry.
        OracleError: one cannot be loaded.
    """
    kinds = [str(getattr(choice, "kind", "oracle")) for choice in choices]
    return [
        _member(choice, kind if kinds.count(kind) == 1 else f"{kind} {number}", folder)
        for number, (choice, kind) in enumerate(zip(choices, kinds, strict=True), start=1)
    ]


def _member(choice: Choice, name: str, folder: Path) -> Member:
    oracle = choice.build(folder)
    if isinstance(oracle, ReferenceOracle):
        raise ConfigError(
            f"'{name}' compares answers with a reference and cannot be a member of another oracle; "
            "choose it alone",
            field="oracle",
        )
    return Member(name, oracle, float(getattr(choice, "threshold", 0.5)))
