"""Texts inside texts: base64, hexadecimal and percent codes, which a reader decodes in a second.

What decodes to readable text is judged as such. A long code that does not is nothing that a text
oracle could look into.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Hidden", "hidden"]

# Sixteen letters hold twelve bytes: less can hardly say anything. Lines of a folded code join.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{16,})*={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}[\s:]?){12,}")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2}[\w.~-]{0,3}){4,}")
_LEVELS = 3  # what is wrapped deeper stays unread
_LONGEST_HASH = 128  # hexadecimal digits of SHA-512
_SHORTEST_CODE = 80  # base64 letters: longer than identifiers, tokens and hashes usually are
_FEWEST_CHARS = 8
_READABLE = 0.9  # share of letters, spaces and common signs in what people would read
_SIGNS = frozenset(" \n\r\t.,;:!?'\"()-/_=<>{}[]#*&@+%$|\\`~^")


@dataclass(frozen=True, slots=True)
class Hidden:
    """What a text hides: readable texts, and whether a part of it stays unread."""

    texts: tuple[str, ...]
    unread: bool


def hidden(text: str) -> Hidden:
    """What the codes in a text say, and the codes in those; in time linear in its length."""
    texts: list[str] = []
    unread = False
    level = [text]
    for _ in range(_LEVELS):
        found = [part for item in level for part in _decoded(item)]
        unread = unread or None in found
        level = [part for part in found if part is not None]
        texts += level
    deeper = any(True for item in level for _ in _decoded(item))
    return Hidden(tuple(texts), unread or deeper)


def _decoded(text: str) -> Iterator[str | None]:
    """What each code says; None for one that cannot be read."""
    yield from _base64(text)
    yield from _hexadecimal(text)
    yield from _percent(text)


def _base64(text: str) -> Iterator[str | None]:
    for match in _BASE64.finditer(text):
        code = "".join(match[0].split()).rstrip("=")
        if _mixes_signs(code):
            plain = _readable(_unbase64(code))
            if plain is not None or len(code) >= _SHORTEST_CODE:
                yield plain


def _hexadecimal(text: str) -> Iterator[str | None]:
    for match in _HEX.finditer(text):
        digits = re.sub(r"[\s:]", "", match[0])
        plain = _readable(bytes.fromhex(digits))
        if plain is not None or (len(digits) > _LONGEST_HASH and not digits.isdigit()):
            yield plain


def _percent(text: str) -> Iterator[str]:
    for match in _PERCENT.finditer(text):
        yield unquote(match[0])


def _mixes_signs(code: str) -> bool:
    """Capitals within and digits or marks too: no word, path or ruler of a text looks so."""
    return (
        any(map(str.islower, code))
        and any(map(str.isupper, code))
        and any(map(str.isdigit, code))
        and code.count("-") + code.count("/") + code.count("_") <= len(code) // 16
    )


def _unbase64(code: str) -> bytes:
    """A last letter that holds no whole byte is left out; what stands here has no other fault."""
    usual = code.replace("-", "+").replace("_", "/")
    return base64.b64decode(usual[: len(usual) - (len(usual) % 4 == 1)] + "==")


def _readable(data: bytes) -> str | None:
    """The text that bytes stand for; None where a person could not read it."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    plain = sum(char.isalnum() or char in _SIGNS for char in text)
    legible = plain >= _READABLE * len(text) and any(map(str.isalpha, text))
    return text if len(text) >= _FEWEST_CHARS and legible else None
