"""Keeps Pillow from warning about, or logging, what is in a picture."""

from __future__ import annotations

import logging
import threading
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["QUIET"]

# At DEBUG Pillow writes the values of EXIF tags, such as places and names, to its log.
logging.getLogger("PIL").setLevel(logging.INFO)


class _QuietPillow:
    """Silences warnings while any thread decodes.

    `warnings.catch_warnings` swaps global state and must not overlap between threads, so the
    first thread in sets it up and the last one out restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._saved = warnings.catch_warnings(action="ignore")
                self._saved.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._saved is not None:
                self._saved.__exit__(kind, error, trace)
                self._saved = None


QUIET = _QuietPillow()
