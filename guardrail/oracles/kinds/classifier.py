"""Any text-classification model of Hugging Face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from guardrail.oracles.classifier.options import SequenceOptions
from guardrail.oracles.options import find_model
from guardrail.section import FolderOrId, Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["ClassifierOptions"]


class ClassifierOptions(SequenceOptions):
    """A text-classification model, by its id or from a folder; needs the extra `local`."""

    kind: Literal["classifier"]
    """The extra `local` must be installed."""
    model: FolderOrId
    """A folder or a Hugging Face id. Code that comes with a model is never run."""
    hub_revision: Annotated[str, Field(min_length=1)] | None = None
    """Commit, branch or tag of a Hugging Face id; name a commit to be sure of the weights."""
    labels: Annotated[dict[str, Share], Field(min_length=1)] | None = None
    """Labels that mean harm, each with the probability from which it counts. `threshold` 0.5 then
    means these; they are rescaled to it."""
    harmless_label: Annotated[str, Field(min_length=1)] | None = None
    """The one label that means harmless, instead of `labels`; the score is one minus its
    probability."""
    problem: Literal["single_label", "multi_label"] | None = None
    """Whether labels exclude each other; what the model's config says if left out."""
    pair: Literal["none", "prompt_and_response"] = "none"
    """Whether the model is given the answer alone, or the prompt with it."""
    trust_checkpoint: bool = False
    """Whether pickled weights are read where there are no safetensors. Such a file can run
    code."""

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if (self.labels is None) == (self.harmless_label is None):
            raise ValueError("give either labels or harmless_label")
        return self

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.classifier.classifier import ClassifierScorer
        from guardrail.oracles.packages import require

        require("classifier", "torch", "transformers", "safetensors", extra="local")
        scorer = ClassifierScorer(
            find_model(folder, self.model),
            labels=self.labels,
            harmless_label=self.harmless_label,
            problem=self.problem,
            pair=self.pair,
            hub_revision=self.hub_revision,
            window_tokens=self.window_tokens,
            device=self.device,
            precision=self.precision,
            batch_windows=self.batch_windows,
            trust_checkpoint=self.trust_checkpoint,
        )
        return self.run_in_thread(scorer)
