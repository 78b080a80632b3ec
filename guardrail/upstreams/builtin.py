"""The model that ships with this package: small, real, and unaligned by design."""

from __future__ import annotations

from pathlib import Path

from guardrail.upstreams.transformers_local import TransformersLocal

__all__ = ["BUILTIN_FOLDER", "BUILTIN_NAME", "builtin_upstream"]

BUILTIN_FOLDER = Path(__file__).resolve().parents[1] / "builtin" / "weights"
BUILTIN_NAME = "guardrail-builtin"


def builtin_upstream() -> TransformersLocal:
    """The built-in model as an upstream, on the processor: it is too small to need a GPU."""
    return TransformersLocal(
        str(BUILTIN_FOLDER), name=BUILTIN_NAME, device="cpu", max_batch=64, default_max_tokens=24
    )
