"""Harm judged by sentence embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from guardrail.policy.choices.base import ThreadedChoice
from guardrail.policy.choices.threaded import threaded
from guardrail.policy.section import Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["EmbeddingChoice"]


class EmbeddingChoice(ThreadedChoice):
    """Heads on sentence embeddings, one for each category; needs the extra `embedding`."""

    kind: Literal["embedding"]
    """The extra of that name must be installed."""
    model: str | None = None
    """A folder or Hugging Face id of another sentence model; needs `heads` trained on it."""
    heads: str | None = None
    """A file of heads, instead of those that ship with the package."""
    thresholds: dict[str, Share] | None = None
    """Category (`harm`, `abuse`, `self_harm`, `sexual`) to the probability from which it counts
    as harm; those of the heads if left out. `threshold` 0.5 then means these; they are rescaled
    to it."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the sentence model computes in."""
    device: str = "cpu"
    """Where it computes: `cpu`, `cuda`, `mps` …"""

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.embedding import EMBEDDING_HEADS, EmbeddingScorer
        from guardrail.oracles.packages import require
        from guardrail.oracles.sentences import DEFAULT_PACKAGE, SentenceEncoder

        own = [DEFAULT_PACKAGE] if self.model is None else []
        require("embedding", "torch", "transformers", *own, extra="embedding")
        encoder = SentenceEncoder(self._model(folder), device=self.device, precision=self.precision)
        heads = EMBEDDING_HEADS if self.heads is None else folder / self.heads
        scorer = EmbeddingScorer(heads, encoder=encoder, thresholds=self.thresholds)
        return threaded(self, scorer, name=self.kind)

    def _model(self, folder: Path) -> Path | str | None:
        """A folder beside the policy, or else an id."""
        if self.model is None or not (folder / self.model).is_dir():
            return self.model
        return folder / self.model
