"""The oracle that ships with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from guardrail.policy.choices.base import ThreadedChoice
from guardrail.policy.choices.threaded import threaded

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["BuiltinChoice"]


class BuiltinChoice(ThreadedChoice):
    """A small text classifier that ships with the package."""

    kind: Literal["builtin"] = "builtin"
    """The built-in oracle."""

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.builtin import BuiltinScorer
        from guardrail.oracles.inline import InlineOracle

        del folder
        return threaded(self, BuiltinScorer(), name=self.kind, kind=InlineOracle)
