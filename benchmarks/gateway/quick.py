"""The fastest event loop that is installed, for the benchmark's own processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")

__all__ = ["run"]


def run(main: Coroutine[None, None, _T]) -> _T:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)
