"""Texts of strangers on a terminal: what could move the cursor or turn the line becomes a code."""

from __future__ import annotations

import unicodedata

__all__ = ["show_text"]

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of Unicode: controls, marks of direction and joining, surrogates, line separators."""


def show_text(text: str) -> str:
    r"""The text on one line, with a code such as \x1b for each character that is not to be seen."""
    if text.isprintable():
        return text
    return "".join(_code(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def _code(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
