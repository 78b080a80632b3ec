"""Brings text into one plain form, so that looks cannot hide words from a scorer."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

__all__ = ["find_spelled_words", "fold", "normalise", "views"]

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
# A pattern that begins with one of few characters is found ten times as fast as one that begins
# with a look behind, so the look comes second here, and a cheaper pattern first below.
_LEET_INSIDE = re.compile(r"[013457@$!|](?<=[a-z].)[013457@$!|]*(?=[a-z])")
_MAY_BE_SPELLED = re.compile(r"[ .\-_*][a-z][ .\-_*][a-z](?![a-z0-9'])")
_SPELLED_OUT = re.compile(r"(?<![a-z0-9'])(?:[a-z][ .\-_*]){2,}[a-z](?![a-z0-9'])")
_SEPARATORS = re.compile(r"[ .\-_*]")
_LONG_RUN = re.compile(r"([a-z!?.])\1{3,}")
_WIDE_SPACE = re.compile(r"[^\S\n]+")
_ANY_SPACE = re.compile(r"\s+")
_LONE_LETTER = re.compile(r"(?<![^\W_])[^\W_](?![^\W_])")
_WIDEST_GAP = 3  # signs between two letters that are still spelled out together
_LEET_RUN = re.compile(r"[a-z0-9@$!|+]+")
_WIDER_LEET = ("@4a", "8b", "3e", "69g", "0o", "$5s", "7+t")  # signs, then their letter


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
    text = text.lower()
    if not text.isprintable():  # else its only blanks are spaces, and there are no controls
        text = _WIDE_SPACE.sub(" ", text.translate(_CONTROLS))
    elif "  " in text:
        text = _WIDE_SPACE.sub(" ", text)
    text = _LEET_INSIDE.sub(lambda match: match[0].translate(_LEET), text)
    if _MAY_BE_SPELLED.search(text):
        text = _SPELLED_OUT.sub(lambda match: _SEPARATORS.sub("", match[0]), text)
    return _LONG_RUN.sub(r"\1\1\1", text).strip()


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).lower()
    kept = (char for char in unicodedata.normalize("NFKD", text) if _is_visible(char))
    return "".join(kept).translate(_LOOKALIKES)


def _is_visible(char: str) -> bool:
    return char.isascii() or unicodedata.category(char) not in {"Cf", "Cc", "Mn", "Me", "Cs", "Co"}


def views(text: str) -> list[str]:
    """Every plain form of a text that a list of words should look at; the first is `fold`.

    Further ones join letters that were spelled out (`k i l l`) and undo leetspeak, once for each
    letter that `1`, `!` and `|` can stand for. All are lower-case, every blank a single space.
    """
    plain = fold(text)
    joined = _join(plain)
    forms = [plain, joined, *_unleets(joined)]
    return list(dict.fromkeys(_ANY_SPACE.sub(" ", form).strip() for form in forms))


def find_spelled_words(text: str) -> list[str]:
    """What was spelled out letter by letter, with leetspeak undone: words, or words run together.

    A change of the gap between two letters ends a word; where there is none, words run together.
    """
    plain = fold(text)
    words = [_word(plain, run) for run in _runs(plain)]
    return list(dict.fromkeys(form for word in words for form in (word, *_unleets(word))))


def fold(text: str) -> str:
    """Lower-case text without invisible characters, accents and look-alike letters.

    Like `normalise`, with the Unicode consortium's own table of look-alikes besides, and with
    digits, gaps and repetitions left as they are.
    """
    if not text.isascii():
        text = _plain(text).translate(_consortium()).lower()
    return text.translate(_CONTROLS).lower()


@cache
def _consortium() -> dict[int, str]:
    """Characters that look like one Latin letter, from confusables.txt of Unicode."""
    from confusable_homoglyphs import confusables

    table: dict[int, str] = {}
    capitals: dict[int, str] = {}  # what looks like a Latin capital, as its own small letter
    for char, alike in confusables.confusables_data.items():
        if len(char) == 1 and not char.isascii():
            letters = (other["c"] for other in alike)
            latin = next((c for c in letters if c.isascii() and len(c) == 1 and c.isalpha()), None)
            if latin is not None:
                table[ord(char)] = latin.lower()
                capitals.setdefault(ord(char.lower()[:1]), latin.lower())
    return capitals | table


def _join(text: str) -> str:
    parts, end = [], 0
    for run in _runs(text):
        parts += [text[end : run[0]], _word(text, run)]
        end = run[-1] + 1
    return "".join((*parts, text[end:]))


def _word(text: str, run: list[int]) -> str:
    return "".join(text[place] for place in run)


def _runs(text: str) -> list[list[int]]:
    """Places of three or more lone letters with one and the same gap between them."""
    runs: list[list[int]] = []
    gap = ""
    for match in _LONE_LETTER.finditer(text):
        place = match.start()
        between = text[runs[-1][-1] + 1 : place] if runs else ""
        if 0 < len(between) <= _WIDEST_GAP and (len(runs[-1]) == 1 or between == gap):
            runs[-1].append(place)
            gap = between
        else:
            runs.append([place])
    return [run for run in runs if len(run) > 2]


def _unleets(text: str) -> list[str]:
    return [_unleet(text, letter) for letter in "il"]


def _unleet(text: str, one: str) -> str:
    """Signs and digits as the letters that they stand for, in words that have a letter."""
    table = _leet_table(one)

    def undo(match: re.Match[str]) -> str:
        word = match[0]
        if word.isalpha() or not any("a" <= char <= "z" for char in word):
            return word
        body = word.rstrip("!|+")  # the end of a sentence is not a letter
        return body.translate(table) + word[len(body) :]

    return _LEET_RUN.sub(undo, text)


@cache
def _leet_table(one: str) -> dict[int, str]:
    """`1`, `!` and `|` become the letter `one`, the others what each is used for."""
    table = {ord(sign): signs[-1] for signs in _WIDER_LEET for sign in signs[:-1]}
    return table | dict.fromkeys(map(ord, "1!|"), one)
