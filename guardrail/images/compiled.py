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
    """
    count = 0
    for i in range(grid.size):
        index = leading[i]
        total = coarse[index] + (grid[i] & -256)
        levels[i] = total >> 16
        # The fraction of the level in the upper byte, how far it may climb in the lower one. Their
        # sum wraps around where the climb may reach the next level; a climb that was marked adds 0.
        lower = total & 0xFFFF
        if lower * 257 & 0xFFFF <= lower:
            low = (least[index] + grid[i]) >> 16
            levels[i] = low
            if low != (greatest[index] + grid[i]) >> 16:
                unsettled[count] = i
                count += 1
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
