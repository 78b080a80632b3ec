"""The noise, compiled: the same integers in one walk over the picture.

Where numba is installed (the extra `fast`) this replaces what `gaussian.py` does with numpy in
dozens of walks, each of which releases the interpreter's lock and waits for it again; without it
nothing changes but the time. What is compiled is integer arithmetic only, so the pixels are the
same, bit for bit.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from guardrail.images.uniforms import GAMMA, MIX_1, MIX_2

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.images.grid import GridArray

__all__ = ["KeyedPass", "compile_pass", "keyed_pass"]

_log = logging.getLogger(__name__)
_BLOCK = 1 << 12  # values at a time
_U1, _U3, _U11, _U16, _U24, _U27, _U30, _U31, _U32, _U40, _U48 = (
    np.uint64(shift) for shift in (1, 3, 11, 16, 24, 27, 30, 31, 32, 40, 48)
)


class KeyedPass(Protocol):
    def __call__(
        self,
        grid: GridArray,
        state: NDArray[np.uint64],
        coarse: GridArray,
        least: GridArray,
        greatest: GridArray,
        bend: GridArray,
        pixels: NDArray[np.uint8],
        positions: NDArray[np.intp],
        integers: NDArray[np.uint64],
    ) -> int: ...


def keyed_pass(
    grid: GridArray,
    state: NDArray[np.uint64],
    coarse: GridArray,
    least: GridArray,
    greatest: GridArray,
    bend: GridArray,
    pixels: NDArray[np.uint8],
    positions: NDArray[np.intp],
    integers: NDArray[np.uint64],
) -> int:
    """Writes the pixels that 32 bits settle; for the others the position and all 64 bits.

    All arrays are flat and contiguous; the tables are those of `gaussian._Reach`, and `state` that
    of `uniforms.KeyedUniforms`. Returns how many positions were written. Slow unless compiled.

    Block by block, so that what lies between the loops stays in the processor's cache: only the
    generator and the look-ups go one by one, the sums take many values at a time, and few values
    need more.
    """
    words = np.empty(_BLOCK // 4, dtype=np.uint64)
    index = words.view(np.uint16)
    noise = np.empty(_BLOCK, dtype=np.int32)
    doubtful = np.zeros(_BLOCK, dtype=np.bool_)
    eights = doubtful.view(np.uint64)
    a, b, c, counter, finer = state[0], state[1], state[2], state[3], state[4]
    count = 0
    for start in range(0, grid.size, _BLOCK):
        centre, pixel = grid[start : start + _BLOCK], pixels[start : start + _BLOCK]
        size = centre.size
        for k in range((size + 3) // 4):
            words[k] = a + b + counter
            counter += _U1
            a, b, c = b ^ b >> _U11, c + (c << _U3), (c << _U24 | c >> _U40) + words[k]
        for i in range(size):
            noise[i] = coarse[index[i]]
        for i in range(size):
            total = np.int32(noise[i] + (centre[i] & -256))
            pixel[i] = np.minimum(np.maximum(total >> 16, 0), 255)
            # The fraction of the level in the upper byte, how far it may climb in the lower one.
            # Their sum wraps around where the climb may reach the next level; a marked one adds 0.
            lower = np.int32(total & 0xFFFF)
            doubtful[i] = np.int32(lower * 257) & 0xFFFF <= lower
        last = count
        for eight in range((size + 7) // 8):
            if eights[eight]:
                for i in range(8 * eight, min(8 * eight + 8, size)):
                    positions[last] = i
                    last += doubtful[i]
        for k in range(count, last):
            i = positions[k]
            leading = index[i]
            low = min(max((least[leading] + centre[i]) >> 16, 0), 255)
            high = min(max((greatest[leading] + centre[i]) >> 16, 0), 255)
            if low != high:
                word = finer + (np.uint64(start + i) + _U1) * GAMMA
                word = (word ^ word >> _U30) * MIX_1
                word = (word ^ word >> _U27) * MIX_2
                trailing = (word ^ word >> _U31) >> _U16
                # Nearly a straight line from `least` to `greatest`; `bend` says how nearly.
                span = np.int64(greatest[leading]) - least[leading]
                line = least[leading] + (span * np.int64(trailing >> _U32) >> 16) + centre[i]
                low = min(max((line - bend[leading]) >> 16, 0), 255)
                high = min(max((line + bend[leading]) >> 16, 0), 255)
                positions[count] = start + i
                integers[count] = np.uint64(leading) << _U48 | trailing
                count += low != high
            pixel[i] = low
    return count


@lru_cache(maxsize=1)
def compile_pass() -> KeyedPass | None:
    """The pass as machine code; None where numba is missing or does not work here.

    Compiles at the first call, which takes seconds, and finds the result on disk at the next start.
    """
    try:
        import numba

        compiled: KeyedPass = numba.njit(nogil=True, cache=True)(keyed_pass)
        _try(compiled)
    except ImportError:
        return None
    except Exception as error:  # noqa: BLE001 (a compiler can fail in any way; numpy does the same)
        _log.warning("numba is installed but does not work here (%s)", type(error).__name__)
        return None
    return compiled


def _try(compiled: KeyedPass) -> None:
    """Compiles for the types in use. Raises ArithmeticError where the result is wrong."""
    table, state = np.zeros(1 << 16, dtype=np.int32), np.zeros(5, dtype=np.uint64)
    grid, pixels = np.full(1, 7 << 16, dtype=np.int32), np.ones(1, dtype=np.uint8)
    positions, integers = np.empty(1, dtype=np.intp), np.empty(1, dtype=np.uint64)
    count = compiled(grid, state, table, table, table, table, pixels, positions, integers)
    if count or pixels[0] != 7:
        raise ArithmeticError("the compiled pass is wrong")
