"""Texts inside texts: codes such as base64, which a reader decodes in a second.

What decodes to readable text is judged as such. A long code that does not is nothing that a text
oracle could look into. Hashes, identifiers and addresses are no codes: they are too short, or of
one kind of sign.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Hidden", "hidden"]

# Pieces of a code that was folded or grouped join; its first words or last line may be short.
_GAP = r"(?: |[ \t]*+\r?\n[ \t]*+)"
_BASE64 = re.compile(
    rf"[\w+/-]{{4,}}+(?:{_GAP}[\w+/-]{{4,}}+)*+(?:={{1,2}}|{_GAP}[\w+/-]{{2,3}}={{1,2}})?", re.ASCII
)
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s:,]{0,2}){12,}+[0-9a-fA-F]?")
_BITS = re.compile(r"(?:[01]{8}[\s,]{0,2}){8,}+")
_ESCAPE = re.compile(r"\\u\{?([0-9a-fA-F]{4,6})\}?|\\x([0-9a-fA-F]{2})|&#[xX]([0-9a-fA-F]{2,6});")
_DECIMAL = re.compile(r"&#([0-9]{2,7});")
_STRETCH = re.compile(rb"[\t\n\r -~]{16,}+")

_LEVELS = 3  # what is wrapped deeper stays unread
_FEWEST_BASE64 = 16  # twelve bytes: less can hardly say anything
_FEWEST_CHARS = 8
_FEWEST_BYTES = 24  # fewer than these may look like letters of some script by chance
_FEWEST_ESCAPES = 3
_LONGEST_HASH = 128  # hexadecimal digits of SHA-512
_SHORTEST_CODE = 96  # base64 letters: longer than identifiers, tokens and hashes usually are
_READABLE = 0.9  # share of letters, spaces and common signs in what people would read
_SIGNS = frozenset(" \n\r\t.,;:!?'\"()-/_=<>{}[]#*&@+%$|\\`~^")


@dataclass(frozen=True, slots=True)
class Hidden:
    """What a text hides: readable texts, and whether a part of it stays unread."""

    texts: tuple[str, ...]
    unread: bool


def hidden(text: str) -> Hidden:
    """What the codes in a text say, and the codes in those; in time linear in its length."""
    texts: dict[str, None] = {}
    unread = False
    level = [text]
    for _ in range(_LEVELS):
        found = [part for item in level for part in _decoded(item)]
        unread = unread or None in found
        level = [part for part in found if part is not None and part not in texts]
        texts |= dict.fromkeys(level)
    deeper = any(part not in texts for item in level for part in _decoded(item))
    return Hidden(tuple(texts), unread or deeper)


def _decoded(text: str) -> Iterator[str | None]:
    """What each code says; None for one that cannot be read, or not to its end."""
    yield from _base64(text)
    yield from _hexadecimal(text)
    yield from _bits(text)
    yield from _percent(text)
    yield from _escapes(text)


def _base64(text: str) -> Iterator[str | None]:
    for match in _BASE64.finditer(text):
        if len(match[0]) >= _FEWEST_BASE64:
            pieces = match[0].rstrip("=").split()
            code = "".join(pieces).replace("-", "+").replace("_", "/")
            said, read = _best(code, 4, _unbase64)
            yield from said
            if read < 0.5 * len(code) and _is_cipher(pieces):
                yield None


def _hexadecimal(text: str) -> Iterator[str | None]:
    for match in _HEX.finditer(text):
        pieces = re.sub(r"0x|\\x|[\s:,]", " ", match[0]).split()
        digits = "".join(pieces)
        said, read = _best(digits, 2, lambda code: bytes.fromhex(code[: len(code) & ~1]))
        yield from said
        if read < 0.25 * len(digits) and _is_dump(pieces):
            yield None


def _bits(text: str) -> Iterator[str]:
    for match in _BITS.finditer(text):
        digits = re.sub(r"[\s,]", "", match[0])
        yield from _texts_of(int(digits, 2).to_bytes(len(digits) // 8))


def _percent(text: str) -> Iterator[str]:
    if "%" in text:
        for word in text.split():
            if word.count("%") >= _FEWEST_ESCAPES and (plain := unquote(word)) != word:
                yield plain


def _escapes(text: str) -> Iterator[str]:
    """The text with its escapes undone, where they stand for letters often enough."""
    letters = 0

    def undone(base: int) -> Callable[[re.Match[str]], str]:
        def sign(match: re.Match[str]) -> str:
            nonlocal letters
            number = int(match[match.lastindex or 0], base)
            char = chr(number) if number < 0x110000 else match[0]
            letters += char.isalnum()
            return char

        return sign

    plain = _DECIMAL.sub(undone(10), _ESCAPE.sub(undone(16), text))
    if letters >= _FEWEST_ESCAPES:
        # halves of a pair, as JSON writes them, become one character
        yield plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _best(code: str, shifts: int, decode: Callable[[str], bytes]) -> tuple[list[str], int]:
    """The texts at the shift where most can be read, and how many characters they have.

    A sign that stands before a code, with no gap between, shifts all that follows.
    """
    readings = (_texts_of(decode(code[shift:])) for shift in range(shifts))
    best: list[str] = max(readings, key=lambda texts: sum(map(len, texts)))
    return best, sum(map(len, best))


def _unbase64(code: str) -> bytes:
    """A last letter that holds no whole byte is left out; what stands here has no other fault."""
    return base64.b64decode(code[: len(code) - (len(code) % 4 == 1)] + "==")


def _is_cipher(pieces: list[str]) -> bool:
    """Long, and of capitals, small letters and digits: no word, path, ruler or list looks so."""
    code = "".join(piece for piece in pieces if len(piece) >= _FEWEST_BASE64)
    return (
        len(code) >= _SHORTEST_CODE
        and any(map(str.islower, code))
        and any(map(str.isupper, code))
        and any(map(str.isdigit, code))
        and code.count("-") + code.count("/") + code.count("_") <= len(code) // 16
    )


def _is_dump(pieces: list[str]) -> bool:
    """Longer than any hash, in one piece or in pairs; not a list of hashes or of numbers."""
    digits = "".join(pieces)
    whole = max(map(len, pieces)) > _LONGEST_HASH or set(map(len, pieces)) == {2}
    return whole and len(digits) > _LONGEST_HASH and not digits.isdigit()


def _texts_of(data: bytes) -> list[str]:
    """What a person could read of bytes: all of it, or else its long stretches of plain signs."""
    if data.count(0) * 3 > len(data):
        data = data.replace(b"\0", b"")  # two bytes for each letter
    try:
        whole = data.decode("ascii" if len(data) < _FEWEST_BYTES else "utf-8")
    except UnicodeDecodeError:
        whole = ""
    if len(whole) >= _FEWEST_CHARS and _is_readable(whole):
        return [whole]
    return [text for part in _STRETCH.findall(data) if _is_readable(text := part.decode())]


def _is_readable(text: str) -> bool:
    plain = sum(char.isalnum() or char in _SIGNS for char in text)
    return plain >= _READABLE * len(text) and 3 * sum(map(str.isalpha, text)) >= len(text)
