"""What one of several processes on one port knows of the others; light to import before a fork."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Worker"]


@dataclass(frozen=True, slots=True)
class Worker:
    """One of several processes.

    Attributes:
        index: from 0.
        count: how many there are.
        folder: private to the workers; they meet there.
        listener: what they share.
        metrics_listener: likewise, for metrics; None where none are served.
        tell_ready: called when it serves.
    """

    index: int
    count: int
    folder: Path
    listener: socket.socket
    metrics_listener: socket.socket | None
    tell_ready: Callable[[], None]

    @property
    def speaks(self) -> bool:
        """Whether it says what decides; one of them does."""
        return self.index == 0
