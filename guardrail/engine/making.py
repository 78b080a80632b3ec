"""The threads in which variants are made: as many as there are processors, for all decisions.

More would only take the interpreter's lock from each other and from the event loop, and waves of
variants would keep the threads that decode and resize other requests' pictures.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["made"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_MOST_THREADS = 8


async def made(make: Callable[[*_Ts], _T], *arguments: *_Ts) -> _T:
    """What `make` returns, made in one of the threads, first come first served."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), make, *arguments)


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    count = min(os.cpu_count() or 1, _MOST_THREADS)
    return ThreadPoolExecutor(count, thread_name_prefix="guardrail-variants")
