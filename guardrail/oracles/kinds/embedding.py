"""Harm judged by sentence embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from guardrail.oracles.options import ThreadedOptions, find_model
from guardrail.section import FilePath, FolderOrId, Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle
    from guardrail.oracles.text.sentences import SentenceEncoder

__all__ = ["EmbeddingOptions"]


class EmbeddingOptions(ThreadedOptions):
    """Heads on sentence embeddings, one for each category; needs the extra `embedding`."""

    measured_languages: ClassVar[tuple[str, ...]] = ("en",)

    kind: Literal["embedding"]
    """The extra of that name must be installed."""
    model: FolderOrId | None = None
    """A folder or Hugging Face id of another sentence model; needs `heads` trained on it."""
    layers: Annotated[int, Field(ge=1)] | None = None
    """How many layers of `model` are run; all if left out."""
    heads: FilePath | None = None
    """A file of heads, instead of those that ship with the package."""
    thresholds: dict[str, Share] | None = None
    """Category (`harm`, `abuse`, `self_harm`, `sexual`) to the probability from which it counts
    as harm; those of the heads if left out. `threshold` 0.5 then means these; they are rescaled
    to it."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What the sentence model computes in."""
    device: str = "cpu"
    """Where it computes: `cpu`, `cuda`, `mps` …"""

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.model is not None and self.heads is None:
            raise ValueError("another model needs heads that were trained on it: give heads too")
        if self.layers is not None and self.model is None:
            raise ValueError("layers belong to a model of your own: give model too")
        return self

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.embedding import EMBEDDING_HEADS, EmbeddingScorer
        from guardrail.oracles.packages import require
        from guardrail.oracles.text.sentences import DEFAULT_PACKAGE

        own = [DEFAULT_PACKAGE] if self.model is None else []
        require("embedding", "torch", "transformers", *own, extra="embedding")
        heads = EMBEDDING_HEADS if self.heads is None else folder / self.heads
        scorer = EmbeddingScorer(heads, encoder=self._encoder(folder), thresholds=self.thresholds)
        return self.run_in_thread(scorer)

    def _encoder(self, folder: Path) -> SentenceEncoder:
        """The usual one, or `model`."""
        from guardrail.oracles.embedding import default_encoder
        from guardrail.oracles.text.sentences import SentenceEncoder

        if self.model is None:
            return default_encoder(self.device, self.precision)
        return SentenceEncoder(
            find_model(folder, self.model),
            device=self.device,
            precision=self.precision,
            layers=self.layers,
        )
