"""The oracle that ships with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from guardrail.oracles.options import ThreadedOptions

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["BuiltinOptions"]


class BuiltinOptions(ThreadedOptions):
    """A small text classifier that ships with the package."""

    measured_languages: ClassVar[tuple[str, ...]] = ("en",)

    kind: Literal["builtin"]
    """The built-in oracle alone."""

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.builtin import BuiltinScorer

        del folder
        return self.run_in_thread(BuiltinScorer(), inline=True)
