"""The options that text classifiers from Hugging Face have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from guardrail.oracles.options import ThreadedOptions

__all__ = ["SequenceOptions"]


class SequenceOptions(ThreadedOptions):
    """A model that judges answers in windows; long ones in several, never cut off."""

    window_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Tokens judged at once, special ones included; as many as the model takes, at most 512, if
    left out."""
    batch_windows: Annotated[int, Field(ge=1, le=1024)] = 16
    """Most windows in one forward pass."""
    device: Annotated[str, Field(min_length=1)] = "cpu"
    """Where the model computes: `cpu`, `cuda`, `mps` …"""
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    """What it computes in. `int8` is the fast one on a processor, and only for `cpu`. The lower
    ones are compared with float32 on loading, and refused where scores differ by more than
    0.05."""
