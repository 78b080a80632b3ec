"""What embeddings hardly see and a meaning turns on: numbers and negations."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["same_details"]

_NUMBERS = {
    word: number
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}
_NEGATIONS = frozenset(
    "no not never none nobody nothing nowhere neither nor without cannot dont doesnt didnt isnt "
    "arent wasnt werent wont cant couldnt shouldnt wouldnt hasnt havent hadnt aint".split()
)
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")


def same_details(first: str, second: str) -> bool:
    """Whether two English texts name the same numbers, and negate equally often, even or odd.

    A digit and its word are one number ("3" and "three"); "one" counts as none, because it is an
    article as often. Other languages' negations are not seen.
    """
    return _details(first) == _details(second)


def _details(text: str) -> tuple[Counter[str], bool]:
    words = [word.replace("’", "'") for word in _WORD.findall(text.lower())]
    numbers = Counter(str(_NUMBERS.get(word, word)) for word in words if _is_number(word))
    negations = sum(word.replace("'", "") in _NEGATIONS or word.endswith("n't") for word in words)
    return numbers, negations % 2 == 1


def _is_number(word: str) -> bool:
    return word[0].isdigit() or (word in _NUMBERS and word != "one")
