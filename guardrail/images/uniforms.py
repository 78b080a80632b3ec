"""The 64-bit integers behind one variant's noise, drawn from its seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GAMMA", "MIX_1", "MIX_2", "KeyedUniforms"]

_THROWN_AWAY = 18

# SplitMix64's constants.
GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


class KeyedUniforms:
    """64-bit integers: leading bits from SFC64, trailing bits by position from SplitMix64.

    Both are functions of the seed alone, so the noise never depends on the picture. SFC64
    (Doty-Humphrey 2010) starts as its author seeds it with three words: the counter at 1, the first
    outputs thrown away. SplitMix64 (Steele, Lea and Flood 2014) can be read at any position; it
    decides only where within its 1/65536 of probability a value lies, and matters for fewer than
    one value in a hundred.
    """

    def __init__(self, seed: bytes) -> None:
        """Takes 32 bytes, which fill three words of the first generator and one of the second."""
        words = np.frombuffer(seed, dtype="<u8").astype(np.uint64)
        self._generator = np.random.SFC64(0)  # seeded below; without a number it asks the system
        self._restart(np.append(words[:3], np.uint64(1)))
        self._generator.random_raw(_THROWN_AWAY, output=False)
        self._first, self._finer = self._generator.state["state"]["state"], words[3]

    @property
    def state(self) -> NDArray[np.uint64]:
        """Shape (5,): the generator's four words, and that of the finer one."""
        return np.append(self._first, self._finer)

    def leading(self, count: int) -> NDArray[np.uint16]:
        """Bits 63..48 of the first `count` integers."""
        self._restart(self._first)
        words = self._generator.random_raw(-(-count // 4))
        # Each word as four integers, in the same order on every machine.
        quarters = words.astype("<u8", copy=False).view("<u2").astype(np.uint16, copy=False)
        return quarters[:count]

    def trailing(self, positions: NDArray[np.intp]) -> NDArray[np.uint64]:
        """Bits 47..0 of the integers at `positions`."""
        word = self._finer + (positions.astype(np.uint64) + np.uint64(1)) * GAMMA
        word = (word ^ word >> np.uint64(30)) * MIX_1
        word = (word ^ word >> np.uint64(27)) * MIX_2
        bits: NDArray[np.uint64] = (word ^ word >> np.uint64(31)) >> np.uint64(16)
        return bits

    def _restart(self, state: NDArray[np.uint64]) -> None:
        self._generator.state = {
            "bit_generator": "SFC64",
            "state": {"state": state},
            "has_uint32": 0,
            "uinteger": 0,
        }
