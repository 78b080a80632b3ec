"""The words of an English sentence, with its numbers and times as digits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from guardrail.oracles.semantic.vocabulary import DIMENSIONS, NUMBER_WORDS, STOP_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["name_number", "split_words", "tokenize"]

_TOKEN = re.compile(
    r"\d{1,2}[:h]\d{2}|\d+[-–]\d+|\d+(?:[.,]\d+)*|km/h|[°][cf]|[^\W\d_]+(?:['-][^\W\d_]+)*|[&,%$€£¥]"
)
_PHRASES = {("in", "front"): "front-of", ("next", "to"): "near", ("top", "of"): "on",
    ("going", "up"): "rising", ("goes", "up"): "rising", ("going", "down"): "falling",
    ("goes", "down"): "falling", ("table", "tennis"): "pingpong", ("ping", "pong"): "pingpong",
    ("hot", "chocolate"): "cocoa", ("walking", "stick"): "cane", ("notebook", "computer"): "laptop",
    ("ice", "cream"): "icecream", ("mobile", "phone"): "phone", ("cell", "phone"): "phone",
    ("no", "one"): "nobody", ("free", "of"): "without", ("more", "expensive"): "dearer",
    ("less", "expensive"): "cheaper", ("straight", "on"): "straight",
    ("straight", "ahead"): "straight", ("to", "the"): "to", ("living", "room"): "lounge",
    ("set", "of"): "", ("loaf", "of"): "", ("slice", "of"): "", ("glass", "of"): "",
    ("cup", "of"): "", ("kind", "of"): "", ("piece", "of"): "", ("bottle", "of"): "",
}  # fmt: skip


def split_words(lower: str) -> list[str]:
    """The words of a text in lower case, numbers and joining signs, as they stand."""
    return _TOKEN.findall(lower)


def tokenize(lower: str) -> list[str]:
    """The words with digits for numbers and times, and one word for some that belong together."""
    return list(_join_numbers(split_words(lower.replace("’", "'"))))


def _join_numbers(tokens: Sequence[str]) -> Iterator[str]:
    """Digits for numbers of two words ("twenty one"), times in words; one word for a place."""
    at = 0
    while at < len(tokens):
        token, following = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        after = tokens[at + 2] if at + 2 < len(tokens) else ""
        clock = _clock(token, following, after)
        phrase = _PHRASES.get((token, following))
        tens, ones = NUMBER_WORDS.get(token, 0.0), NUMBER_WORDS.get(following, 0.0)
        if clock:
            yield clock
            at += 3
        elif phrase is not None:
            if phrase:
                yield phrase
            at += 2
        elif _is_plain(token) and following == "to" and _is_plain(after):
            yield f"{_number(token):g}-{_number(after):g}"
            at += 3
        elif token.endswith("'s") and token not in STOP_WORDS:
            yield token[:-2]
            at += 1
        elif 20 <= tens <= 90 and 1 <= ones <= 9 and following != "second":
            yield f"{tens + ones:g}"
            at += 2
        elif "-" in token and all(part in NUMBER_WORDS for part in token.split("-")):
            yield f"{sum(NUMBER_WORDS[part] for part in token.split('-')):g}"
            at += 1
        elif "-" in token and token[0].isalpha() and token not in DIMENSIONS:
            yield from token.split("-")
            at += 1
        elif NUMBER_WORDS.get(following, 0.0) >= 100 and _number(token) is not None:
            yield f"{(_number(token) or 0.0) * NUMBER_WORDS[following]:g}"
            at += 2
        else:
            yield token
            at += 1


def _clock(word: str, following: str, after: str) -> str:
    """`half past two` and `quarter to three` as `2:30` and `2:45`; empty for anything else."""
    hour = _number(after)
    if word not in ("half", "quarter") or following not in ("past", "to") or hour is None:
        return ""
    if word == "half":
        return f"{hour:g}:30"
    return f"{hour:g}:15" if following == "past" else f"{(hour - 2) % 12 + 1:g}:45"


def _is_plain(word: str) -> bool:
    return word != "one" and _number(word) is not None


def _number(token: str) -> float | None:
    if token in NUMBER_WORDS:
        return NUMBER_WORDS[token]
    plain = (
        token.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", token) else token
    )
    try:
        return float(plain.replace(",", "."))
    except ValueError:
        return None


def name_number(token: str) -> str | None:
    """The name of a number or of a time of day; None for any other token."""
    if re.fullmatch(r"\d{1,2}[:h]\d{2}", token):
        hour, minute = re.split("[:h]", token)
        return f"{int(hour)}:{minute}"
    if re.fullmatch(r"\d+[-–]\d+", token):
        return token.replace("–", "-")
    number = _number(token)
    return None if number is None else f"{number:g}"
