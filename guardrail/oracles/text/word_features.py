"""The words of a text as the language model counts them: how each is written, and its parts."""

from __future__ import annotations

import re
import unicodedata
import zlib
from enum import StrEnum

from guardrail.oracles.text.normalise import normalise

__all__ = ["Shape", "read_words", "word_features"]

_LETTER = "[a-z\u00df-\u02ff\u1d00-\u1eff\ua720-\ua7ff\uab30-\uab6f]"
_WORD = re.compile(f"{_LETTER}+(?:'{_LETTER}+)*")
_IDENTIFIER = re.compile(r"https?://\S+|\b(?:[A-Za-z]*\d+[A-Za-z]+\d+[A-Za-z]+\d\w*)\b")
_TITLE = re.compile(r"\b[A-Z][a-z]+")
_LOWER = re.compile(r"(?<![A-Za-z])[a-z]+")
_UPPER = re.compile(r"\b[A-Z]{2,}\b")
_ACCENTED = re.compile(r"[^\W\d_]*[\u00df-\u00f6\u00f8-\u024f\u1e00-\u1eff][^\W\d_]*")


class Shape(StrEnum):
    """How a word is capitalised throughout a text."""

    LOWER = "l"
    TITLE = "t"
    UPPER = "u"


def word_features(word: str, shape: str, accented: bool) -> list[int]:
    """Hashes, below 2**32, of what is known of a word: itself, its n-grams, its shape.

    Args:
        word: As `normalise` leaves it.
        shape: One of `Shape`.
        accented: Whether it was written with letters that English does not have.
    """
    plain = f"^{word}$".encode(errors="replace")
    size = len(plain)
    parts = [b"=" + plain, shape.encode()]
    for n in (2, 3, 4):
        parts += [plain[at : at + n] for at in range(size - n + 1)]
    if shape != "l":
        kind = shape.encode()
        parts.append(kind + b"=" + plain)
        parts += [kind + plain[at : at + 3] for at in range(size - 2)]
    if accented:
        parts.append(b"accented")
    return [zlib.crc32(part) for part in parts]


def read_words(text: str) -> list[tuple[str, str, bool]]:
    """The words of a text in order: normalised, with shape and whether accents were on it."""
    text = _IDENTIFIER.sub(" ", text)
    words = _WORD.findall(normalise(text))
    accents: set[str] = set()
    if not text.isascii():
        accents = {normalise(word) for word in _ACCENTED.findall(text.lower())}
        text = _strip_accents(text)
    shapes = _read_shapes(text)
    if not shapes and not accents:
        return [(word, "l", False) for word in words]
    get = shapes.get
    return [(word, get(word, "l"), word in accents) for word in words]


def _read_shapes(text: str) -> dict[str, str]:
    """The shapes of the words that are nowhere in lower case; none where all is in capitals."""
    title, upper = set(_TITLE.findall(text)), set(_UPPER.findall(text))
    if not title and not upper:
        return {}
    lower = set(_LOWER.findall(text))
    shapes = {word.lower(): "t" for word in title}
    if len(upper) <= len(lower) + len(title):
        shapes |= {word.lower(): "u" for word in upper}
    for word in lower & shapes.keys():
        del shapes[word]
    return shapes


def _strip_accents(text: str) -> str:
    return "".join(
        char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char)
    )
