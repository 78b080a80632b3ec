"""The oracle that ships with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from guardrail.oracles.options import ThreadedOptions
from guardrail.section import Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["BuiltinOptions"]


class BuiltinOptions(ThreadedOptions):
    """A small text classifier that ships with the package."""

    measured_languages: ClassVar[tuple[str, ...]] = ("en",)

    kind: Literal["builtin"] = "builtin"
    """The built-in oracle."""
    threshold: Share = 0.25
    """Answers that score at least this are harmful. Lower finds more harm and blocks more clean
    requests. Left out, it is that of `calibration`, or 0.25."""

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.builtin import BuiltinScorer

        del folder
        return self.run_in_thread(BuiltinScorer(), inline=True)
