"""The coarse pass of the noise, compiled: the same integers in one walk over the picture.

Where numba is installed (`guardrail[fast]`) this replaces the pass that `gaussian.py` makes with
numpy in a dozen walks, each of which takes the interpreter's lock; without it nothing changes but
the time. What is compiled is integer arithmetic only, so the levels are the same, bit for bit.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.images.grid import GridArray

__all__ = ["CoarsePass", "coarse_pass", "compiled_pass"]

_log = logging.getLogger(__name__)
_BLOCK = 1 << 12  # values at a time


class CoarsePass(Protocol):
    def __call__(
        self,
        grid: GridArray,
        leading: NDArray[np.uint16],
        coarse: GridArray,
        least: GridArray,
        greatest: GridArray,
        levels: NDArray[np.int16],
        unsettled: NDArray[np.intp],
    ) -> int: ...


def coarse_pass(
    grid: GridArray,
    leading: NDArray[np.uint16],
    coarse: GridArray,
    least: GridArray,
    greatest: GridArray,
    levels: NDArray[np.int16],
    unsettled: NDArray[np.intp],
) -> int:
    """Writes the levels that the leading bits settle, and where they settle none.

    All arrays are flat and contiguous; the tables are those of `gaussian._Reach`. Returns how many
    positions were written to `unsettled`. Slow unless compiled.

    Block by block, so that what lies between the loops stays in the processor's cache: only the
    look-ups go one by one, the sums take many values at a time, and few values need more.
    """
    noise = np.empty(_BLOCK, dtype=np.int32)
    doubtful = np.zeros(_BLOCK, dtype=np.bool_)
    eights = doubtful.view(np.uint64)
    count = 0
    for start in range(0, grid.size, _BLOCK):
        centre, index = grid[start : start + _BLOCK], leading[start : start + _BLOCK]
        level = levels[start : start + _BLOCK]
        size = centre.size
        for i in range(size):
            noise[i] = coarse[index[i]]
        for i in range(size):
            total = np.int32(noise[i] + (centre[i] & -256))
            level[i] = total >> 16
            # The fraction of the level in the upper byte, how far it may climb in the lower one.
            # Their sum wraps around where the climb may reach the next level; a marked one adds 0.
            lower = np.int32(total & 0xFFFF)
            doubtful[i] = np.int32(lower * 257) & 0xFFFF <= lower
        last = count
        for eight in range((size + 7) // 8):
            if eights[eight]:
                for i in range(8 * eight, min(8 * eight + 8, size)):
                    unsettled[last] = start + i
                    last += doubtful[i]
        for k in range(count, last):
            i = unsettled[k] - start
            low = (least[index[i]] + centre[i]) >> 16
            level[i] = low
            unsettled[count] = start + i
            count += low != (greatest[index[i]] + centre[i]) >> 16
    return count


@lru_cache(maxsize=1)
def compiled_pass() -> CoarsePass | None:
    """The pass as machine code; None where numba is missing or does not work here.

    Compiles at the first call, which takes seconds, and finds the result on disk at the next start.
    """
    try:
        import numba

        compiled: CoarsePass = numba.njit(nogil=True, cache=True)(coarse_pass)
        _try(compiled)
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001 (a compiler can fail in any way; numpy does the same)
        _log.warning("numba is installed but does not work here (%s)", type(error).__name__)
        return None
    return compiled


def _try(compiled: CoarsePass) -> None:
    table = np.zeros(1 << 16, dtype=np.int32)
    grid = np.zeros(1, dtype=np.int32)
    leading, levels = np.zeros(1, dtype=np.uint16), np.ones(1, dtype=np.int16)
    count = compiled(grid, leading, table, table, table, levels, np.empty(1, dtype=np.intp))
    if count or levels[0]:
        raise ArithmeticError("the compiled pass is wrong")
