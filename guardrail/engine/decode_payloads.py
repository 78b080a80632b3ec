"""Decodes texts inside texts: base64, hexadecimal, bits, percent and character escapes.

What decodes to readable text is judged as text. A long code that does not decode is something that
no text oracle can look into. Hashes, identifiers and addresses are not taken for codes: they are
too short, or of one kind of character.

    decode_payloads("run cm0gLXJmIC90bXAvZmlsZXM=").texts    # ("rm -rf /tmp/files",)
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["DecodedPayloads", "decode_payloads"]

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
class DecodedPayloads:
    """The readable texts that a text holds in codes.

    Attributes:
        texts: each once, in order; codes inside codes included.
        unread: whether a code could not be read, or not to its end.
    """

    texts: tuple[str, ...]
    unread: bool


def decode_payloads(text: str) -> DecodedPayloads:
    """Decodes the codes in a text, and the codes in those; in time linear in its length."""
    texts: dict[str, None] = {}
    unread = False
    level = _decode_once(text)
    for _ in range(_LEVELS):
        if not level:
            break  # as in nearly every text
        unread = unread or None in level
        new = dict.fromkeys(part for part in level if part is not None and part not in texts)
        texts |= new
        level = [part for item in new for part in _decode_once(item)]
    deeper = any(part not in texts for part in level)
    return DecodedPayloads(tuple(texts), unread or deeper)


def _decode_once(text: str) -> list[str | None]:
    """What each code says; None for one that cannot be read, or not to its end."""
    found = [*_decode_base64(text), *_decode_hexadecimal(text), *_decode_bits(text)]
    if "%" in text:
        found += _decode_percent(text)
    if "\\" in text or "&#" in text:
        found += _decode_escapes(text)
    return found


def _decode_base64(text: str) -> Iterator[str | None]:
    for match in _BASE64.finditer(text):
        if len(match[0]) >= _FEWEST_BASE64:
            pieces = match[0].rstrip("=").split()
            code = "".join(pieces).replace("-", "+").replace("_", "/")
            texts, read = _best_reading(code, 4, _read_base64)
            yield from texts
            if read < 0.5 * len(code) and _is_cipher(pieces):
                yield None


def _decode_hexadecimal(text: str) -> Iterator[str | None]:
    for match in _HEX.finditer(text):
        pieces = re.sub(r"0x|\\x|[\s:,]", " ", match[0]).split()
        digits = "".join(pieces)
        texts, read = _best_reading(digits, 2, lambda code: bytes.fromhex(code[: len(code) & ~1]))
        yield from texts
        if read < 0.25 * len(digits) and _is_dump(pieces):
            yield None


def _decode_bits(text: str) -> Iterator[str]:
    for match in _BITS.finditer(text):
        digits = re.sub(r"[\s,]", "", match[0])
        yield from _readable_texts(int(digits, 2).to_bytes(len(digits) // 8))


def _decode_percent(text: str) -> Iterator[str]:
    for word in text.split():
        if word.count("%") >= _FEWEST_ESCAPES and (plain := unquote(word)) != word:
            yield plain


def _decode_escapes(text: str) -> Iterator[str]:
    """The text with its escapes undone, where they stand for letters often enough."""
    letters = 0

    def unescape(base: int) -> Callable[[re.Match[str]], str]:
        def unescape_one(match: re.Match[str]) -> str:
            nonlocal letters
            number = int(match[match.lastindex or 0], base)
            char = chr(number) if number < 0x110000 else match[0]
            letters += char.isalnum()
            return char

        return unescape_one

    plain = _DECIMAL.sub(unescape(10), _ESCAPE.sub(unescape(16), text))
    if letters >= _FEWEST_ESCAPES:
        # halves of a pair, as JSON writes them, become one character
        yield plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _best_reading(code: str, shifts: int, decode: Callable[[str], bytes]) -> tuple[list[str], int]:
    """The texts at the shift where most can be read, and how many characters they have.

    A character that stands before a code with no gap between shifts all that follows: in
    "Xcm0gLXJm..." the code starts one letter later, and only the reading at shift 1 is text.
    """
    readings = (_readable_texts(decode(code[shift:])) for shift in range(shifts))
    best: list[str] = max(readings, key=lambda texts: sum(map(len, texts)))
    return best, sum(map(len, best))


def _read_base64(code: str) -> bytes:
    """The bytes of a code; a last letter that holds no whole byte is left out."""
    return base64.b64decode(code[: len(code) - (len(code) % 4 == 1)] + "==")


def _is_cipher(pieces: list[str]) -> bool:
    """Long, and of capitals, small letters and digits: no word, path or list looks like that."""
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


def _readable_texts(data: bytes) -> list[str]:
    """What a person could read of bytes: all, or else their long stretches of ASCII text."""
    if data.count(0) * 3 > len(data):
        data = data.replace(b"\0", b"")  # two bytes for each letter
    whole = ""
    if len(data) >= _FEWEST_BYTES or data.isascii():
        with suppress(UnicodeDecodeError):
            whole = data.decode()
    if len(whole) >= _FEWEST_CHARS and _is_readable(whole):
        return [whole]
    return [text for part in _STRETCH.findall(data) if _is_readable(text := part.decode())]


def _is_readable(text: str) -> bool:
    plain = sum(char.isalnum() or char in _SIGNS for char in text)
    return plain >= _READABLE * len(text) and 3 * sum(map(str.isalpha, text)) >= len(text)
