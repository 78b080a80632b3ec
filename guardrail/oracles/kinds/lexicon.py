"""A list of words and patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from guardrail.oracles.options import ThreadedOptions
from guardrail.section import FilePath

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["LexiconOptions"]


class LexiconOptions(ThreadedOptions):
    """Phrases and patterns of a file; finds what it names, whatever looks it hides behind."""

    kind: Literal["lexicon"]
    """A list of words; a part of an ensemble rather than an oracle to rely on alone."""
    file: FilePath
    """The YAML file with the list; policies/lexicons/example.yaml shows its form."""

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.lexicon.file import read_lexicon
        from guardrail.oracles.lexicon.scorer import LexiconOracle, LexiconScorer

        path = folder / self.file
        scorer = LexiconScorer(read_lexicon(path), file=str(path))
        return LexiconOracle(scorer, self.run_in_thread(scorer))
