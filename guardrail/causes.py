"""What other people's code raised, behind the error that stands for it."""

from __future__ import annotations

import traceback

__all__ = ["chain_cause"]


def chain_cause(error: Exception, cause: BaseException) -> None:
    """Keeps what other people's code raised as `__cause__`, for whoever calls in this process.

    Its lines stay in the traceback; the values in its frames, such as a request, are let go of.
    Nothing here shows or logs a cause, which may quote a request or a key.
    """
    traceback.clear_frames(cause.__traceback__)
    error.__cause__ = cause
