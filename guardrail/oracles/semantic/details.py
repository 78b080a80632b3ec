"""What embeddings hardly see and a meaning depends on: numbers, negations, opposites and order.

All of it is for English, and all of it can only tell answers apart: it makes no two the same.
"""

from __future__ import annotations

import re
from collections import Counter

from guardrail.oracles.semantic.roles import opposite_roles

__all__ = ["same_details"]

_NUMBERS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}
# `nor` belongs to a `neither`, with which it negates once.
_NEGATIONS = frozenset(
    "no not never none nobody nothing nowhere neither without cannot dont doesnt didnt isnt "
    "arent wasnt werent wont cant couldnt shouldnt wouldnt hasnt havent hadnt aint".split()
)
# Words of which one excludes the others; those joined by a stroke are one.
_MARKED = {
    word: group.split("/")[0]
    for group in (
        "red blue green yellow black white brown grey/gray orange purple/violet pink golden silver "
        "left right north south east west above below/under/beneath/underneath "
        "inside outside behind front before after "
        "open closed/shut off full empty locked unlocked wet dry clean dirty hot cold "
        "alive dead old young big/large/huge small/little/tiny fast slow "
        "allowed forbidden/prohibited safe dangerous"
    ).split()
    for word in group.split("/")
}
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")


def same_details(first: str, second: str) -> bool:
    """Whether two English texts agree in what embeddings hardly see.

    They do if they name the same numbers, negate equally often, use the same of the words of which
    one excludes the other (colours, directions, states), are not the same words in another order,
    and do not swap who does it to whom by a passive. A digit and its word are one number ("3" and
    "three"); "one" counts as none, because it is an article as often. Opposites that are in no
    list are not seen.
    """
    words, others = _words(first), _words(second)
    reordered = words != others and Counter(words) == Counter(others)
    if reordered or _details(words) != _details(others):
        return False
    return not opposite_roles(words, others)


def _words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in _WORD.findall(text.lower())]


def _details(words: list[str]) -> tuple[Counter[str], int, frozenset[str]]:
    numbers = Counter(str(_NUMBERS.get(word, word)) for word in words if _is_number(word))
    negations = sum(word.replace("'", "") in _NEGATIONS or word.endswith("n't") for word in words)
    marked = frozenset(_MARKED[word] for word in words if word in _MARKED)
    return numbers, negations, marked


def _is_number(word: str) -> bool:
    return word[0].isdigit() or (word in _NUMBERS and word != "one")
