"""Certified content moderation for vision-language models, by randomized smoothing."""

from __future__ import annotations

from guardrail.version import __version__

__all__ = ["__version__"]
