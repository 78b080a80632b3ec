"""OpenAI's moderation endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from guardrail.oracles.options import HarmOptions
from guardrail.section import Share

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["ModerationOptions"]


class ModerationOptions(HarmOptions):
    """OpenAI's moderation endpoint through litellm; the key comes from OPENAI_API_KEY.

    Its scores are rescaled so that every category's own threshold becomes 0.5.
    """

    kind: Literal["moderation"]
    """The extra `litellm` must be installed, and OPENAI_API_KEY be set."""
    threshold: Annotated[float, Field(ge=0.5, le=0.5)] = 0.5
    """Fixed: set `thresholds` instead."""
    model: Annotated[str, Field(min_length=1)] = "omni-moderation-latest"
    """The endpoint's model."""
    thresholds: dict[str, Share] | None = None
    """Category to the score from which it counts as harm; every category at 0.5 if left out."""
    flagged_is_harmful: bool = True
    """Whether the endpoint's own verdict alone makes an answer harmful."""
    pictures: bool = False
    """Whether the noisy pictures that the model saw are judged too, one call each."""
    api_base: str | None = None
    """Address of the endpoint; OpenAI's if left out."""
    share_calls: bool | None = None
    """Whether texts share calls, so that the endpoint must judge each of a list by itself; only at
    OpenAI's own endpoint if left out."""
    max_parallel: Annotated[int, Field(ge=1, le=1024)] = 16
    """Most calls in flight at a time."""
    deadline_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Longest wait for a judgement; later it counts as missing."""

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.moderation.oracle import ModerationOracle
        from guardrail.oracles.packages import require

        del folder
        require("moderation", "litellm", "openai", extra="litellm")
        return ModerationOracle(
            self.model,
            thresholds=self.thresholds,
            flagged_is_harmful=self.flagged_is_harmful,
            pictures=self.pictures,
            api_base=self.api_base,
            share_calls=self.share_calls,
            max_parallel=self.max_parallel,
            deadline_s=self.deadline_s,
        )
