"""How often something failed, for whoever watches over the service."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FaultCount"]


class FaultCount:
    """Counts what was raised inside `watch`, and lets it through; used from one event loop.

    Attributes:
        total: how often that was.
    """

    def __init__(self) -> None:
        self.total = 0

    @contextmanager
    def watch(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.total += 1
            raise
