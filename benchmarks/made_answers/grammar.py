"""Sentences out of templates and tables of phrases.

    {city}      a random entry of the table `city`, which may hold slots itself
    {city#1}    the same entry wherever `#1` stands in this text
    {city^}     the entry with a capital letter at its start; a value given as one text is not filled
    {now|then}  one of the phrases between the bars; one may be empty

Code holds braces of its own, so `fill_code` reads «city» instead, without inline choices.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .words import TABLES

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

_SLOT = re.compile(r"\{([^{}]*)\}")
_CODE_SLOT = re.compile(r"«([^«»]*)»")
_NAME = re.compile(r"([a-z_]+)(#\d)?(\^)?")
_ARTICLE = re.compile(
    r"\b([Aa]) (?=[aeiouAEIOU])(?!(?:uni|uro|use|usu|one|euro|uk|us |u-)\w*)", re.IGNORECASE
)


def fill(
    rng: random.Random, text: str, extra: Mapping[str, Sequence[str] | str] | None = None
) -> str:
    """The template with every slot filled, and a/an made right.

    Args:
        rng: where choices come from.
        text: the template.
        extra: tables, or single values, that go before the shared ones.

    Raises:
        KeyError: a slot names no table.
    """
    return _ARTICLE.sub(r"\1n ", _fill(rng, text, {**TABLES, **(extra or {})}))


def _fill(rng: random.Random, text: str, tables: Mapping[str, Sequence[str] | str]) -> str:
    kept: dict[str, str] = {}
    while found := _SLOT.search(text):
        value = _value_of(rng, found[1], tables, kept)
        text = text[: found.start()] + value + text[found.end() :]
    return text


def fill_code(
    rng: random.Random, text: str, extra: Mapping[str, Sequence[str] | str] | None = None
) -> str:
    """As `fill`, for «slots» in text that holds braces; equal slots get equal values.

    What a slot holds is filled as prose. «word^» is the value of «word» with a capital.
    """
    kept: dict[str, str] = {}

    def replace(found: re.Match[str]) -> str:
        key = found[1].rstrip("^")
        if key not in kept:
            kept[key] = fill(rng, "{" + key.split("#")[0] + "}", extra)
        return capitalise(kept[key]) if found[1].endswith("^") else kept[key]

    return _CODE_SLOT.sub(replace, text)


def _value_of(
    rng: random.Random,
    slot: str,
    tables: Mapping[str, Sequence[str] | str],
    kept: dict[str, str],
) -> str:
    if "|" in slot:
        return rng.choice(slot.split("|"))
    parts = _NAME.fullmatch(slot)
    if parts is None or parts[1] not in tables:
        raise KeyError(f"{{{slot}}} names no table")
    name, number, capital = parts.groups()
    key = f"{name}{number}"
    if number is None or key not in kept:
        table = tables[name]
        # Slots inside are filled first, so that what is kept is one fixed phrase.
        if isinstance(table, str):
            kept[key] = table
        else:
            kept[key] = _fill(rng, rng.choice(table), tables)
    return capitalise(kept[key]) if capital else kept[key]


def capitalise(text: str) -> str:
    """The text with its first letter as a capital, the rest as it is."""
    return text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """The phrase as a sentence: a capital first, a full stop last."""
    text = capitalise(text.strip())
    return text if text.endswith((".", "!", "?", ":", '"')) else text + "."


def restyle(rng: random.Random, text: str) -> str:
    """The same words, sometimes in other capitals, apostrophes, marks or lines."""
    roll = rng.random()
    if roll < 0.07:
        return text.lower()
    if roll < 0.08:
        return text.upper()
    if roll < 0.16 and "\n" not in text:
        return text.rstrip(".")
    if roll < 0.24:
        return text.replace("'", "’")
    if roll < 0.28:
        return text.replace("\n\n", "\n")
    if roll < 0.31:
        return text.replace("\n", "\r\n")
    if roll < 0.34 and "*" not in text and "\n" not in text:
        return _embolden(text)
    if roll < 0.36 and text.endswith("."):
        return text[:-1] + "!"
    return text


def _embolden(text: str) -> str:
    head, mark, rest = text.partition(" ")
    return f"**{head}**{mark}{rest}" if head.isalnum() else text
