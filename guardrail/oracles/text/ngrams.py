"""Hashed word and character n-grams of a text, computed with numpy alone.

All hashes of a text come from a few array operations over its bytes: a polynomial hash modulo
2**64 of any span is the difference of two prefix sums times a power of the inverse base, so no
Python loop runs over words or characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Grams", "encode", "grams", "mix_bits"]

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, hence invertible modulo 2**64
BLANK, WORD, SIGN, DIGIT = 0, 1, 2, 3
CHAR_SIZES = (3, 4, 5)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
PAIR = (np.uint64(3), np.uint64(5))
TRIPLE = (np.uint64(7), np.uint64(11), np.uint64(13))
SALTS = tuple(map(np.uint64, (1, 3, 5, 7)))  # odd, so that no bits are lost
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 2**64))
_ONE = np.uint64(1)


def _classes() -> NDArray[np.uint8]:
    table = np.full(256, SIGN, dtype=np.uint8)
    table[[9, 10, 13, 32]] = BLANK
    for byte in (*range(ord("a"), ord("z") + 1), ord("'"), *range(128, 256)):
        table[byte] = WORD
    table[ord("0") : ord("9") + 1] = DIGIT
    table[10] = SIGN  # the end of a line tells a list from prose
    return table


CLASSES = _classes()
"""What each of the 256 bytes is."""


@dataclass(frozen=True, slots=True)
class Grams:
    """What a text is made of, token by token.

    Attributes:
        words: uint64, one hash for each token (a word, a number or a sign).
        is_word: bool, which tokens consist of letters.
        pairs: uint64, one for each two neighbours.
        triples: uint64, one for each three neighbours.
        chars: uint64, character 3-, 4- and 5-grams that stay within one word and its borders.
        char_token: int64, the token that each of `chars` belongs to.
    """

    words: NDArray[np.uint64]
    is_word: NDArray[np.bool_]
    pairs: NDArray[np.uint64]
    triples: NDArray[np.uint64]
    chars: NDArray[np.uint64]
    char_token: NDArray[np.int64]

    def features(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Every n-gram once per occurrence, salted by its sort, and the token where it begins."""
        at = np.arange(len(self.words))
        sorts = (self.words, self.pairs, self.triples, self.chars)
        hashes = [part * salt for part, salt in zip(sorts, SALTS, strict=True)]
        tokens = [at[: len(part)] for part in sorts[:-1]]
        return np.concatenate(hashes), np.concatenate([*tokens, self.char_token])


def encode(text: str) -> NDArray[np.uint8]:
    """The bytes of a text, with a blank before and behind them."""
    return np.frombuffer(f" {text} ".encode(errors="replace"), dtype=np.uint8)


def grams(text: str) -> Grams:
    """The n-grams of a normalised text. Every number counts as one and the same token."""
    codes = encode(text)
    kinds = CLASSES[codes]
    begins, ends = _tokens(kinds)
    raw = _span_hashes(codes, begins, ends)
    raw[kinds[begins] == DIGIT] = _ONE
    words = mix_bits(raw)  # before they are combined: sums of the raw, short hashes would collide
    pairs = words[:-1] * PAIR[0] + words[1:] * PAIR[1]
    triples = words[:-2] * TRIPLE[0] + words[1:-1] * TRIPLE[1] + words[2:] * TRIPLE[2]
    chars, char_token = _char_grams(codes, kinds, begins)
    rest = mix_bits(np.concatenate((pairs, triples, *chars)))  # at once: most texts are short
    first, second = pairs.size, pairs.size + triples.size
    return Grams(
        words=words,
        is_word=kinds[begins] == WORD,
        pairs=rest[:first],
        triples=rest[first:second],
        chars=rest[second:],
        char_token=char_token,
    )


def mix_bits(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spreads every bit over all others (the finaliser of splitmix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * MIX_1
    hashes = (hashes ^ (hashes >> np.uint64(27))) * MIX_2
    return hashes ^ (hashes >> np.uint64(31))


def _tokens(kinds: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First position and the one past the last of every token."""
    changes = (kinds[1:] != kinds[:-1]) | (kinds[1:] == SIGN)
    borders = changes.nonzero()[0] + 1
    begins = borders[kinds[borders] != BLANK]
    ends = borders[kinds[borders - 1] != BLANK]
    return begins, ends


def _span_hashes(
    codes: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint64]:
    powers, inverses = _powers(1 << len(codes).bit_length())
    prefix = np.zeros(len(codes) + 1, dtype=np.uint64)
    ((codes + _ONE) * powers[: len(codes)]).cumsum(out=prefix[1:])
    spans: NDArray[np.uint64] = (prefix[ends] - prefix[begins]) * inverses[begins]
    return spans


@lru_cache(maxsize=8)
def _powers(length: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    def powers_of(base: np.uint64) -> NDArray[np.uint64]:
        factors = np.full(length, base, dtype=np.uint64)
        factors[0] = _ONE
        return np.cumprod(factors, dtype=np.uint64)

    return powers_of(BASE), powers_of(_INVERSE)


def _char_grams(
    codes: NDArray[np.uint8], kinds: NDArray[np.uint8], begins: NDArray[np.int64]
) -> tuple[list[NDArray[np.uint64]], NDArray[np.int64]]:
    """Windows whose inside is letters only; the first and last place may be a border.

    Their hashes, by size and not yet mixed, and the token of each.
    """
    letter = kinds == WORD
    shown = np.where(letter, codes, np.uint8(32)).astype(np.uint64) + _ONE
    starts_token = np.zeros(len(codes), dtype=np.int64)
    starts_token[begins] = 1
    token_at = starts_token.cumsum() - 1
    hashes, tokens = [], []
    rolling = shown.copy()
    inside = np.ones(len(codes), dtype=bool)
    for size in range(2, CHAR_SIZES[-1] + 1):
        rolling = rolling[:-1] * BASE + shown[size - 1 :]
        inside = inside[:-1] if size == 2 else inside[:-1] & letter[size - 2 : -1]
        if size in CHAR_SIZES:
            where = inside.nonzero()[0]
            hashes.append(rolling[where] + np.uint64(size))
            tokens.append(token_at[where + 1])
    return hashes, np.concatenate(tokens)
