"""Attempts that are known beforehand, and hence known noise."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING
from unittest.mock import patch

from guardrail.engine import prepared_request

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["numbered_attempts", "same_attempt"]


@contextmanager
def same_attempt() -> Iterator[None]:
    """Every decision of this process has the same attempt meanwhile, `ONLY_ATTEMPT`."""
    with patch.object(prepared_request, "draw_attempt", lambda: prepared_request.ONLY_ATTEMPT):
        yield


@contextmanager
def numbered_attempts() -> Iterator[None]:
    """The attempts of this process are 1, 2, 3, … meanwhile, in the order of the decisions."""
    numbers = count(1)

    def draw() -> bytes:
        return next(numbers).to_bytes(prepared_request.ATTEMPT_BYTES, "big")

    with patch.object(prepared_request, "draw_attempt", draw):
        yield
