"""Brings text into one plain form, so that looks cannot hide words from a scorer."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["normalise"]

# Letters of other scripts that look like Latin ones, after lower-casing.
_LOOKALIKES = (
    str.maketrans("абвгезикмнопрстухіјѕԁԛԝһӏ", "abbre3nkmhonpctyxijsdqwhl")
    | str.maketrans("αβγεζηικνορτυχω", "abyeznikvoptuxw")
    | str.maketrans("ıłøđħŧƒßæœ", "ilodhtfsao")
    | dict.fromkeys(map(ord, "’‘ʼ′`´"), "'")
    | dict.fromkeys(map(ord, "“”«»"), '"')
    | dict.fromkeys(map(ord, "‐‑‒–—−"), "-")
    | dict.fromkeys(map(ord, "…·•"), ".")
)
_CONTROLS = dict.fromkeys([*range(9), *range(14, 32), 127])  # not the blanks among them
_LEET = str.maketrans("013457@$!|", "oieastasil")
_LEET_INSIDE = re.compile(r"(?<=[a-z])[013457@$!|]+(?=[a-z])")
_SPELLED_OUT = re.compile(r"(?<![a-z0-9'])(?:[a-z][ .\-_*]){2,}[a-z](?![a-z0-9'])")
_SEPARATORS = re.compile(r"[ .\-_*]")
_LONG_RUN = re.compile(r"([a-z!?.])\1{3,}")
_WIDE_SPACE = re.compile(r"[^\S\n]+")


def normalise(text: str) -> str:
    """Lower-case Latin text without invisible characters, look-alikes or letter games.

    NFKC, then: format, control and combining characters are removed (accents fall away),
    look-alike letters are folded to Latin, digits and signs that stand for a letter inside a
    word are folded (`h4te`), letters spelled out one by one are joined (`h a t e`), runs of a
    letter shortened, blanks merged; line ends stay.

    The result may be longer than the input only as far as NFKC makes it so.
    """
    if not text.isascii():
        text = _plain(text)
    text = _WIDE_SPACE.sub(" ", text.translate(_CONTROLS).lower())
    text = _LEET_INSIDE.sub(lambda match: match[0].translate(_LEET), text)
    text = _SPELLED_OUT.sub(lambda match: _SEPARATORS.sub("", match[0]), text)
    return _LONG_RUN.sub(r"\1\1\1", text).strip()


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).lower()
    kept = (char for char in unicodedata.normalize("NFKD", text) if _is_visible(char))
    return "".join(kept).translate(_LOOKALIKES)


def _is_visible(char: str) -> bool:
    return char.isascii() or unicodedata.category(char) not in {"Cf", "Cc", "Mn", "Me", "Cs", "Co"}
