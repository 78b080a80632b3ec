"""The small transformer that ships with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from guardrail.oracles.options import ThreadedOptions
from guardrail.section import FilePath

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["EncoderOptions"]


class EncoderOptions(ThreadedOptions):
    """A fine-tuned sentence encoder; needs the extra `encoder`, but neither torch nor weights.

    `threshold` 0.5 is the point at which its card says how it does.
    """

    measured_languages: ClassVar[tuple[str, ...]] = ("en",)

    kind: Literal["encoder"]
    """The extra of that name must be installed."""
    model: FilePath | None = None
    """A folder of another model of the same form, as
    benchmarks/harm_oracles/export_encoder.py writes it."""
    prompt: bool = True
    """Whether the model sees the question beside the answer."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Processor threads of one run of the model."""

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.encoder.scorer import ENCODER_MODEL, EXTRA, PACKAGES, EncoderScorer
        from guardrail.oracles.packages import require

        require(self.kind, *PACKAGES, extra=EXTRA)
        model = ENCODER_MODEL if self.model is None else folder / self.model
        scorer = EncoderScorer(model, with_prompt=self.prompt, threads=self.threads)
        return self.run_in_thread(scorer)
