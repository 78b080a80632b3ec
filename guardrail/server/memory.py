"""Memory settings for a server: large blocks kept for the next picture, old objects left alone.

A decision makes dozens of arrays and bodies of some hundred kilobytes. By default glibc returns
every such block to the system when it is freed, so the next one faults in page by page: a sixth
of a decision's processor time. What is kept is what was in use at the peak, less what lies below
blocks in use, and no more than `_KEPT_BYTES` at the top of each of malloc's few arenas.
"""

from __future__ import annotations

import ctypes
import gc
import sys

__all__ = ["keep_large_blocks", "leave_old_objects"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h
_KEPT_BYTES = 128 << 20
_MAPPED_BYTES = 32 << 20  # larger blocks are still mapped and given back one by one
_ARENAS = 2
_YOUNG_OBJECTS = 10_000
"""So many new objects are made between two collections. A collection goes through the objects of
all requests under way: at 700, Python's own number, that was 4 % of the processor time of texts."""


def keep_large_blocks() -> bool:
    """Tells malloc so, for this process; False where it is not glibc's."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        tell = libc.mallopt
    except (OSError, AttributeError):
        return False  # another C library
    wishes = (
        (_M_TRIM_THRESHOLD, _KEPT_BYTES),
        (_M_MMAP_THRESHOLD, _MAPPED_BYTES),
        (_M_ARENA_MAX, _ARENAS),
    )
    answers = [tell(which, value) for which, value in wishes]  # all of them, whatever one says
    return all(answers)


def leave_old_objects() -> None:
    """Excludes all objects made so far from later garbage collections, and makes those rarer."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
