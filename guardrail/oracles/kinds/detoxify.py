"""Detoxify's toxicity models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from guardrail.oracles.classifier.options import SequenceOptions
from guardrail.section import FilePath, Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["DetoxifyOptions"]


class DetoxifyOptions(SequenceOptions):
    """One of Detoxify's toxicity models, published or local; needs the extra `detoxify`."""

    kind: Literal["detoxify"]
    """The extra of that name must be installed."""
    model: str | None = None
    """Detoxify's model type (`original`, `unbiased`, `multilingual`, `original-small`,
    `unbiased-small`)."""
    checkpoint: FilePath | None = None
    """A local Detoxify checkpoint, instead of `model`."""
    config_path: FilePath | None = None
    """Folder of the Hugging Face configuration that belongs to `checkpoint`."""
    thresholds: dict[str, Share] | None = None
    """Category to the probability from which it counts as harm; every harm at 0.5 if left out.
    `threshold` 0.5 then means these; they are rescaled to it."""
    trust_checkpoint: bool = False
    """Whether the checkpoint may hold more than plain weights. Such a file can run code."""

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.model is not None and self.checkpoint is not None:
            raise ValueError("give either model or checkpoint")
        return self

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.classifier.detoxify import DetoxifyScorer
        from guardrail.oracles.packages import require

        require("detoxify", "torch", "transformers", "detoxify", extra="detoxify")
        scorer = DetoxifyScorer(
            self.model or "original",
            checkpoint=None if self.checkpoint is None else folder / self.checkpoint,
            huggingface_config_path=None if self.config_path is None else folder / self.config_path,
            thresholds=self.thresholds,
            window_tokens=self.window_tokens,
            device=self.device,
            precision=self.precision,
            batch_windows=self.batch_windows,
            trust_checkpoint=self.trust_checkpoint,
        )
        return self.run_in_thread(scorer)
