"""A list of words and patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from guardrail.policy.choices.base import ThreadedChoice
from guardrail.policy.choices.threaded import threaded
from guardrail.policy.section import FilePath

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["LexiconChoice"]


class LexiconChoice(ThreadedChoice):
    """Phrases and patterns of a file; finds what it names, whatever looks it hides behind."""

    kind: Literal["lexicon"]
    """A list of words; a part of an ensemble rather than an oracle to rely on alone."""
    file: FilePath
    """The YAML file with the list; policies/lexicons/example.yaml shows its form."""

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.lexicon import LexiconOracle, LexiconScorer
        from guardrail.oracles.lexicon_file import read_lexicon

        path = folder / self.file
        scorer = LexiconScorer(read_lexicon(path), file=str(path))
        return LexiconOracle(scorer, threaded(self, scorer, name=self.kind))
