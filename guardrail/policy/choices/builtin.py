"""The oracle that ships with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from guardrail.policy.choices.base import ThreadedChoice
from guardrail.policy.choices.threaded import threaded
from guardrail.policy.section import Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["BuiltinChoice"]


class BuiltinChoice(ThreadedChoice):
    """A small text classifier that ships with the package."""

    kind: Literal["builtin"] = "builtin"
    """The built-in oracle."""
    threshold: Share = 0.25
    """Answers that score at least this are harmful. Lower finds more harm and blocks more clean
    requests. Left out, it is that of `calibration`, or 0.25."""

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.builtin import BuiltinScorer
        from guardrail.oracles.inline import InlineOracle

        del folder
        return threaded(self, BuiltinScorer(), name=self.kind, kind=InlineOracle)
