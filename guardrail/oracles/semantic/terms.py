"""The words of a sentence that carry content: of which kind each is, and to which it belongs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from guardrail.oracles.semantic.stems import stem
from guardrail.oracles.semantic.tokens import name_number
from guardrail.oracles.semantic.vocabulary import (
    AUXILIARIES,
    BACKDROPS,
    BASE_COLOURS,
    DIMENSIONS,
    FRAME_WORDS,
    LOOSE_PLACES,
    NEGATIONS,
    PEOPLE_DIMENSIONS,
    PERCENT,
    PLACES,
    STOP_WORDS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["BE_FORMS", "Term", "TermKind", "is_noun", "read_terms"]

BE_FORMS = frozenset(
    "is are was were am be been being get gets got it's he's she's they're".split()
)
_ARTICLES = frozenset("a an the this that his her its their my your some any".split())
_JOINTS = ("and", ",", "&")
_AFTER_ONE = frozenset("can could may might would should must sees reads finds has of".split())
_SWITCHED = frozenset("switched turned not isn't aren't light lamp still".split())
_SAYS_NOTHING = STOP_WORDS | FRAME_WORDS | NEGATIONS
_SAID_OF_ITSELF = AUXILIARIES - frozenset("is was has does isn't wasn't hasn't doesn't".split())
_BEFORE_A_BACKDROP = frozenset("on over above against front-of".split())
_HAVING = frozenset("wear hold carry dress ride own".split())


class TermKind(StrEnum):
    NUMBER = "number"
    COLOUR = "colour"
    MARK = "mark"
    PLACE = "place"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Term:
    """One word that carries content.

    Attributes:
        kind: which closed class it is of, or an ordinary word.
        value: the stem or the class's name for it; equal values mean the same.
        surface: the word as it was written, in lower case.
        dimension: of a mark, the number of its group; else -1.
        bound: stem of the ordinary word that it is said of; empty where that is not named.
        owner: stem of the noun before that word, whose it may be ("a man in a red hat").
        listed: whether it is one of several things joined by commas, "and" or "with"; the first of
            them is, too, unless "with" joins it.
        place: where it stands in the sentence.
    """

    kind: TermKind
    value: str
    surface: str
    dimension: int = -1
    bound: str = ""
    owner: str = ""
    listed: bool = False
    place: int = 0


def read_terms(tokens: Sequence[str]) -> list[Term]:
    """The terms of a sentence in order, each detail with the word that it is said of."""
    return _bind(tokens, list(_terms(tokens)))


def _terms(tokens: Sequence[str]) -> Iterator[Term]:
    for place in range(len(tokens)):
        token = _in_context(tokens, place)
        number = name_number(token)
        if _is_pronoun_one(tokens, place):
            continue
        if number is not None:
            yield Term(TermKind.NUMBER, number, token, place=place)
        elif token in BASE_COLOURS:
            yield Term(TermKind.COLOUR, BASE_COLOURS[token], token, place=place)
        elif token in DIMENSIONS:
            dimension, value = DIMENSIONS[token]
            yield Term(TermKind.MARK, value, value, dimension=dimension, place=place)
        elif token in PLACES:
            if not _is_loose(tokens, place):
                yield Term(TermKind.PLACE, PLACES[token], token, place=place)
        elif token in PERCENT:
            yield Term(TermKind.WORD, "percent", "percent", place=place)
        elif _is_code(tokens, place):
            yield Term(TermKind.WORD, token, token, place=place)
        elif len(token) > 1 and token not in _SAYS_NOTHING and not token.endswith("n't"):
            yield Term(TermKind.WORD, stem(token), token, place=place)


def _in_context(tokens: Sequence[str], place: int) -> str:
    """The word, where it is one of a few that mean another thing at the end or after some words."""
    word = tokens[place]
    before = tokens[place - 1] if place else ""
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    if word in ("on", "off") and not after and (before in BE_FORMS or before in _SWITCHED):
        return f"switched-{word}"
    if word == "may" and (not after or after[0].isdigit() or before in ("in", "of", "late")):
        return "month-of-may"
    return word


def _is_code(tokens: Sequence[str], place: int) -> bool:
    """Whether a single letter names something, as in "product C"."""
    word = tokens[place]
    if len(word) != 1 or not word.isalpha():
        return False
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    if word == "i" and after in _SAID_OF_ITSELF:
        return False  # "no, I do not see it"
    last = not after or after in AUXILIARIES
    return word not in "aisdmt" or (last and place > 0)


def _is_loose(tokens: Sequence[str], place: int) -> bool:
    """Whether a word of place stands before something that takes several, or names no place."""
    following = [token for token in tokens[place + 1 : place + 5] if token not in _ARTICLES]
    words = [stem(token) for token in following[:2]]
    if tokens[place] in _BEFORE_A_BACKDROP and _is_backdrop(following):
        return True
    if tokens[place] not in ("in", "on"):
        return False
    return not words or bool(LOOSE_PLACES & set(words)) or words[0] in BASE_COLOURS


def _is_backdrop(following: Sequence[str]) -> bool:
    """Whether a backdrop comes next, its own colour and state before it."""
    first = next(
        (token for token in following if token not in BASE_COLOURS and token not in DIMENSIONS), ""
    )
    return first in BACKDROPS


def _is_pronoun_one(tokens: Sequence[str], place: int) -> bool:
    """Whether a "one" stands for a thing ("the red one", "one can see") and counts nothing."""
    if tokens[place] != "one":
        return False
    before = tokens[place - 1] if place else ""
    after = tokens[place + 1] if place + 1 < len(tokens) else ""
    named = before in {"the", "this", "that", "which", "no"} or before in BASE_COLOURS
    return named or before in DIMENSIONS or after in _AFTER_ONE


def _bind(tokens: Sequence[str], terms: list[Term]) -> list[Term]:
    """Says of every detail which ordinary word it belongs to, and which words are listed."""
    words = [term for term in terms if is_noun(term) and not _is_deed(term)]
    bound = []
    for term in terms:
        listed = term.kind is not TermKind.PLACE and (
            _is_listed(tokens, terms, term) or _begins_list(tokens, words, terms, term)
        )
        to = "" if is_noun(term) else _holder(tokens, words, terms, term)
        owner = "" if is_noun(term) or _is_joined(tokens, term.place) else _owner(words, term)
        bound.append(replace(term, bound=to, owner="" if owner == to else owner, listed=listed))
    return bound


def _owner(words: Sequence[Term], term: Term) -> str:
    return next((word.value for word in reversed(words) if word.place < term.place), "")


def _is_deed(word: Term) -> bool:
    """Whether it looks like a verb, to which no detail belongs."""
    return word.surface.endswith(("ing", "ed")) or word.value in _HAVING


def is_noun(term: Term) -> bool:
    """Whether details may belong to it."""
    return term.kind is TermKind.WORD or term.dimension in PEOPLE_DIMENSIONS


def _holder(tokens: Sequence[str], words: Sequence[Term], terms: Sequence[Term], term: Term) -> str:
    details = {other.place for other in terms if not is_noun(other)}
    following = next((word for word in words if word.place > term.place), None)
    if following is not None:
        between = range(term.place + 1, following.place)
        if all(at in details or tokens[at] in _ARTICLES for at in between):
            return following.value
    if term.kind is TermKind.NUMBER:
        return ""
    if term.kind is TermKind.PLACE:
        return "" if following is None else following.value
    before = [word for word in words if word.place < term.place]
    return before[-1].value if before else ""


def _is_listed(tokens: Sequence[str], terms: Sequence[Term], term: Term) -> bool:
    """Whether it is joined to another thing: a joint stands before it and its details."""
    details = {other.place for other in terms if not is_noun(other)}
    place = term.place
    while is_noun(term) and place - 1 in details and tokens[place - 1] not in PLACES:
        place -= 1
    return _is_joined(tokens, place, *_JOINTS, "with", "plus", "also")


def _begins_list(
    tokens: Sequence[str], words: Sequence[Term], terms: Sequence[Term], term: Term
) -> bool:
    """Whether a joint and then another thing follow at once: "a wolf, two cats and a kite"."""
    after = term.place + 1
    following = next((word for word in words if word.place > term.place), None)
    if term not in words or following is None or tokens[after] not in _JOINTS:
        return False
    details = {other.place for other in terms if not is_noun(other)}
    between = range(after + 1, following.place)
    return all(at in details or tokens[at] in _ARTICLES or tokens[at] in _JOINTS for at in between)


def _is_joined(tokens: Sequence[str], place: int, *joints: str) -> bool:
    at = place - 1
    while at >= 0 and (tokens[at] in _ARTICLES or name_number(tokens[at]) is not None):
        at -= 1
    return at >= 0 and tokens[at] in (joints or _JOINTS)
