"""How often strangers' bytes were refused, by the bound that they met."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Literal, TypeAlias, get_args

__all__ = ["REFUSED_BOUNDS", "Refusals", "RefusedBound"]

RefusedBound: TypeAlias = Literal[
    "connections",
    "connections_per_address",
    "head_bytes",
    "headers",
    "head_time",
    "malformed",
    "trailers",
    "pipelined",
    "path",
    "bodies",
    "bodies_bytes",
    "body_bytes",
    "body_rate",
    "body_time",
    "json_size",
    "places",
]
"""The bound that was met; labels of metrics."""

REFUSED_BOUNDS: tuple[RefusedBound, ...] = get_args(RefusedBound)


class Refusals:
    """Counts, for any thread; made once for a server and never reset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[RefusedBound] = Counter()

    def count(self, bound: RefusedBound) -> None:
        with self._lock:
            self._counts[bound] += 1

    def counts(self) -> dict[RefusedBound, int]:
        """Every bound and how often it was met, 0 included."""
        with self._lock:
            return {bound: self._counts[bound] for bound in REFUSED_BOUNDS}
