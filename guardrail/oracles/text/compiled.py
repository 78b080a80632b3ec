"""The margins of a text's windows, compiled: the same numbers in one walk over its bytes.

Where numba is installed (the extra `fast`) and `compile_margins` was called, this replaces what
`ngrams.py` and the model do with numpy in some seventy operations, each of which takes about a
microsecond however short the text is; without it nothing changes but the time. The hashes are
integers and the sums are made in the same order, so the margins are the same, bit for bit.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import numpy as np

from guardrail.oracles.text.ngrams import (
    BASE,
    BLANK,
    CHAR_SIZES,
    CLASSES,
    DIGIT,
    MIX_1,
    MIX_2,
    PAIR,
    SALTS,
    SIGN,
    TRIPLE,
    WORD,
    encode,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LONGEST_CHARS", "MarginPass", "compile_margins", "compiled_margins", "window_margins"]

LONGEST_CHARS = 1 << 13
"""Longer texts go by numpy, which lets other threads run meanwhile. This pass does not: who lets
the interpreter go for a few microseconds may wait for milliseconds until it comes back."""

_log = logging.getLogger(__name__)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
_U27, _U30, _U31 = np.uint64(27), np.uint64(30), np.uint64(31)
_BORDER = np.uint64(32 + 1)  # a blank; every byte is hashed as one more than it is
_FEWEST_CHARS, _MOST_CHARS = CHAR_SIZES[0], CHAR_SIZES[-1]
_PAIR_1, _PAIR_2 = PAIR
_TRIPLE_1, _TRIPLE_2, _TRIPLE_3 = TRIPLE
_WORD_SALT, _PAIR_SALT, _TRIPLE_SALT, _CHAR_SALT = SALTS


class MarginPass(Protocol):
    def __call__(
        self,
        codes: NDArray[np.uint8],
        classes: NDArray[np.uint8],
        weights: NDArray[np.float32],
        rarity: NDArray[np.float32],
        shift: np.uint64,
        widths: NDArray[np.int64],
        margins: NDArray[np.float64],
    ) -> int: ...


def window_margins(
    codes: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    weights: NDArray[np.float32],
    rarity: NDArray[np.float32],
    shift: np.uint64,
    widths: NDArray[np.int64],
    margins: NDArray[np.float64],
) -> int:
    """Writes the largest margin for each width; returns how many tokens there are.

    Slow unless compiled.

    Args:
        codes: the text's bytes, with a blank before and behind them.
        classes: what each of the 256 bytes is, see `ngrams.CLASSES`.
        weights: of each bucket.
        rarity: likewise.
        shift: a hash without so many of its last bits is the number of its bucket.
        widths: of the windows, in tokens.
        margins: one for each width; left as they are where there is no token.
    """
    length = codes.size
    words = np.empty(length, dtype=np.uint64)
    token_at = np.empty(length, dtype=np.int64)  # the last token that begins there or before
    size, before = 0, BLANK
    raw, power = _ZERO, _ONE
    for i in range(length):
        kind = classes[codes[i]]
        if kind != BLANK and (kind != before or kind == SIGN):
            size += 1
            raw, power = _ZERO, _ONE
        if kind != BLANK:
            raw += (np.uint64(codes[i]) + _ONE) * power
            power *= BASE
            words[size - 1] = _ONE if kind == DIGIT else raw  # every number is the same token
        token_at[i] = size - 1
        before = kind
    if size == 0:
        return 0
    for i in range(size):
        word = words[i]
        word = (word ^ word >> _U30) * MIX_1
        word = (word ^ word >> _U27) * MIX_2
        words[i] = word ^ word >> _U31

    # Pairs, triples and characters: their hashes before they are mixed, their salts, their tokens.
    most = 2 * size + len(CHAR_SIZES) * length
    hashes, salts = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.uint64)
    tokens = np.empty(most, dtype=np.int64)
    count = 0
    for i in range(size - 1):
        hashes[count] = words[i] * _PAIR_1 + words[i + 1] * _PAIR_2
        salts[count], tokens[count] = _PAIR_SALT, i
        count += 1
    for i in range(size - 2):
        hashes[count] = words[i] * _TRIPLE_1 + words[i + 1] * _TRIPLE_2 + words[i + 2] * _TRIPLE_3
        salts[count], tokens[count] = _TRIPLE_SALT, i
        count += 1
    for chars in range(_FEWEST_CHARS, _MOST_CHARS + 1):
        letters = 0  # so many end with the last byte but one of the window
        for end in range(1, length):
            letters = letters + 1 if classes[codes[end - 1]] == WORD else 0
            start = end - chars + 1
            if start < 0 or letters < chars - 2:
                continue
            rolling = _ZERO
            for i in range(start, end + 1):
                is_letter = classes[codes[i]] == WORD
                shown = np.uint64(codes[i]) + _ONE if is_letter else _BORDER
                rolling = rolling * BASE + shown
            hashes[count] = rolling + np.uint64(chars)
            salts[count], tokens[count] = _CHAR_SALT, token_at[start + 1]
            count += 1

    pull, mass = np.zeros(size + 1), np.zeros(size + 1)  # of token i at i + 1
    for i in range(size):
        bucket = words[i] * _WORD_SALT >> shift
        pull[i + 1] += weights[bucket]
        mass[i + 1] += rarity[bucket] * rarity[bucket]
    for k in range(count):
        word = hashes[k]
        word = (word ^ word >> _U30) * MIX_1
        word = (word ^ word >> _U27) * MIX_2
        bucket = (word ^ word >> _U31) * salts[k] >> shift
        pull[tokens[k] + 1] += weights[bucket]
        mass[tokens[k] + 1] += rarity[bucket] * rarity[bucket]
    for i in range(size):
        pull[i + 1] += pull[i]
        mass[i + 1] += mass[i]
    for k in range(widths.size):
        width = widths[k]
        half = width // 2
        worst = -np.inf
        for begin in range(0, max(size - half, 1), half):
            end = min(begin + width, size)
            margin = (pull[end] - pull[begin]) / np.sqrt(mass[end] - mass[begin] + 1e-9)
            worst = max(worst, margin)
        margins[k] = worst
    return size


class _Compiled:
    """What this process has compiled."""

    margins: MarginPass | None = None
    was_tried = False


def compiled_margins() -> MarginPass | None:
    """The pass as machine code; None where nobody has compiled it, or it cannot be."""
    return _Compiled.margins


def compile_margins() -> None:
    """Compiles the pass, where numba is there and works.

    Takes seconds at the first time, and finds the result on disk at the next start. A server calls
    it before it takes requests: during a judgement it would keep the event loop waiting.
    """
    if _Compiled.was_tried:
        return
    _Compiled.was_tried = True
    try:
        import numba

        compiled: MarginPass = numba.njit(cache=True)(window_margins)
        _try(compiled)
    except ImportError:
        return
    except Exception as error:  # noqa: BLE001 (a compiler can fail in any way; numpy does the same)
        _log.warning("numba is installed but does not work here (%s)", type(error).__name__)
        return
    _Compiled.margins = compiled


def _try(compiled: MarginPass) -> None:
    """Compiles for the types in use. Raises ArithmeticError where the result is wrong."""
    ones, margins = np.ones(2, dtype=np.float32), np.zeros(1)
    codes, widths = encode("a"), np.full(1, 2, dtype=np.int64)
    size = compiled(codes, CLASSES, ones, ones, np.uint64(63), widths, margins)
    if size != 1 or abs(margins[0] - np.sqrt(2.0)) > 1e-6:  # the word and one window of 3 bytes
        raise ArithmeticError("the compiled pass is wrong")
