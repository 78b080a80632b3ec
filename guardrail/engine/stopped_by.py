"""Which test of a decision ended it without a pass."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["StoppedBy"]


class StoppedBy(StrEnum):
    """Which test ended a decision without a pass; a closed list, fit for labels of metrics.

    `NONE`: no test did. All passed, or a limit came first, or nothing was tested: one answer was
    judged by itself, a picture is on a list. `REQUEST`: the test of the request itself. The others:
    the test of a view for the threat of that name (`threats.py`).
    """

    NONE = "none"
    REQUEST = "request"
    CROPS = "crops"
    STICKERS = "stickers"
    SUFFIX = "suffix"
