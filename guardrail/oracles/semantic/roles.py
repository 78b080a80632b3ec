"""Who does it to whom, where one of two English texts says so in the passive.

"The dog bites the cat" and "the dog is bitten by the cat" have nearly one embedding and hold the
same things in the same order. A passive is seen by its form alone (a form of "be" or "get", a
deed that is no "-ing", and "by"); the same deed is one that starts with the same three letters.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["opposite_roles"]

_BE = frozenset("am is are was were be been being get gets got getting".split())
_NO_NAMES = frozenset("a an the his her its their our my your this that these those".split())
_DEED_LETTERS = 3
_NEAR = 4  # words between the form of "be" and "by", and of what follows "by"


class _Passive(NamedTuple):
    patient: str
    deed: str
    agent: str


def opposite_roles(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether the words of one text say in the passive what those of the other say reversed.

    False where no passive is seen: it can only tell texts apart.
    """
    passives, others = set(_passives(first)), set(_passives(second))
    passives, others = passives - others, others - passives
    swapped = any(_Passive(one.agent, one.deed, one.patient) in others for one in passives)
    return swapped or _says_reversed(passives, second) or _says_reversed(others, first)


def _passives(words: Sequence[str]) -> Iterator[_Passive]:
    """Each with every word near behind "by" that may name who does it."""
    for by, word in enumerate(words):
        if word != "by" or by < 2 or words[by - 1].endswith("ing"):
            continue
        begins = [at for at in range(max(by - _NEAR, 1), by - 1) if words[at] in _BE]
        if begins:
            deed, patient = _find_deed(words[by - 1]), words[begins[0] - 1]
            agents = (word for word in words[by + 1 : by + 1 + _NEAR] if word not in _NO_NAMES)
            yield from (_Passive(patient, deed, agent) for agent in agents if agent != patient)


def _says_reversed(passives: set[_Passive], words: Sequence[str]) -> bool:
    """Whether the words name the patient, then the deed in the active, then the agent."""
    if not passives:
        return False
    firsts = {word: at for at, word in reversed(list(enumerate(words)))}
    lasts = {word: at for at, word in enumerate(words)}
    deeds: dict[str, list[int]] = {}
    for at, word in enumerate(words):
        if words[at + 1 : at + 2] != ["by"]:
            deeds.setdefault(_find_deed(word), []).append(at)
    return any(
        _stands_between(deeds.get(deed, []), firsts.get(patient), lasts.get(agent))
        for patient, deed, agent in passives
    )


def _stands_between(places: Sequence[int], after: int | None, before: int | None) -> bool:
    if after is None or before is None:
        return False
    following = bisect_right(places, after)
    return following < len(places) and places[following] < before


def _find_deed(word: str) -> str:
    return word[:_DEED_LETTERS]
