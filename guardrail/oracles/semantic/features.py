"""What two answers to one question have in common and where they differ, as numbers.

Every number is symmetric in the two answers. Words that only one answer has are compared by their
vectors, which come from a sentence encoder.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from guardrail.oracles.semantic.reading import QuestionKind, TermKind
from guardrail.oracles.semantic.vocabulary import BACKDROPS, COMPARATIVES, PEOPLE_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from guardrail.oracles.semantic.reading import Question, Sentence, Term

__all__ = [
    "FEATURES",
    "answer_choice",
    "answer_polarity",
    "excludes",
    "pair_features",
    "words_to_encode",
]

Similarity: TypeAlias = "Callable[[str, str], float]"

_SHORTEST = 3  # letters of a word whose vector says anything
_MATCH = 1.0  # a rank below this is no match
_GIVEN_ALIKE = 0.85  # likewise, with a word of the question
_ALIKE = 0.8  # words with at least this cosine are taken for one
_DETAILS = (TermKind.NUMBER, TermKind.COLOUR, TermKind.MARK, TermKind.PLACE)

_EXCLUDING = ("number conflict", "colour conflict", "negations differ", "both lack")
_EXCLUDING_IF_OPEN = ("whole: listed missing", "worst: both lack", "core: place conflict")
_UNIT = (
    "least cover", "most cover", "fewer lacking", "more lacking", "common words", "core words",
    "core missing", "number conflict", "number one-sided", "number shared", "colour conflict",
    "colour one-sided", "colour shared", "mark conflict", "mark one-sided", "mark shared",
    "place conflict", "owner conflict", "negations differ", "ends swapped",
    "relation conflict", "relation shared", "listed missing", "both lack",
)  # fmt: skip
_OVERALL = (
    "answer same", "answer differs", "answer of one", "unmatched", "one sentence both",
    "one sentence one", "sentences differ", *(f"asks {kind}" for kind in QuestionKind),
)  # fmt: skip
FEATURES: tuple[str, ...] = (
    *(f"core: {name}" for name in _UNIT),
    *(f"worst: {name}" for name in _UNIT),
    *(f"whole: {name}" for name in _UNIT),
    *_OVERALL,
)
"""Names of the numbers, in order."""


def words_to_encode(question: Question, answers: Iterable[Sequence[Sentence]]) -> Iterator[str]:
    """Every word whose similarity `pair_features` may ask for."""
    yield from (term.surface for term in question.sentence.terms)
    for sentences in answers:
        yield from (term.surface for sentence in sentences for term in sentence.terms)


def pair_features(
    question: Question,
    first: Sequence[Sentence],
    second: Sequence[Sentence],
    similarity: Similarity,
) -> NDArray[np.float32]:
    """The numbers named in `FEATURES`, shape (len(FEATURES),), each about 0 to 1.

    Args:
        question: what both answer.
        first: one answer, as `read_answer` reads it.
        second: the other one.
        similarity: cosine of the vectors of two words, symmetric.
    """
    one, other = _cores(question, first, second, similarity)
    if question.kind in (QuestionKind.COLOUR, QuestionKind.COUNT):
        one, other = (replace(s, terms=tuple(_unbound(s.terms))) for s in (one, other))
    core = _unit(question, [one], [other], similarity)
    whole = _unit(question, first, second, similarity)
    worst, unmatched = core, 0.0
    if min(len(first), len(second)) > 1 or (question.kind is QuestionKind.OPEN):
        worst, unmatched = _worst(question, first, second, similarity)
    overall = _overall(question, first, second, unmatched)
    return np.array([*core, *worst, *whole, *overall], np.float32)


def excludes(features: NDArray[np.float32]) -> bool:
    """Whether two answers exclude each other by a rule alone, whatever a model says of them.

    One says yes and one no, or that is seen of one only; they take different options; they name
    different numbers or colours for what was asked; one negates; each has a word that the other
    lacks. Where nothing in particular is asked, also: other things or as many of one, other places.
    """
    named = dict(zip(FEATURES, features.tolist(), strict=True))
    if named["answer differs"]:
        return True
    if named["answer same"]:
        return False
    if named[f"asks {QuestionKind.YES_NO}"]:
        return bool(named["answer of one"])
    if any(named[f"core: {name}"] for name in _EXCLUDING):
        return True
    is_open = bool(named[f"asks {QuestionKind.OPEN}"])
    return is_open and any(named[name] for name in _EXCLUDING_IF_OPEN)


def answer_polarity(question: Question, sentences: Sequence[Sentence]) -> int:
    """+1 where an answer says yes to its question, -1 where it says no, 0 where neither is seen.

    "It is closed" says no to "Is it open?", and so does "It is not open"; "It is not closed" says
    yes.
    """
    if question.kind is not QuestionKind.YES_NO:
        return 0
    said = next((sentence.said for sentence in sentences if sentence.said), 0)
    if said:
        return said
    core = _core(question, sentences)
    opposite = _opposes(question.sentence, core)
    shared = {term.value for term in core.terms} & question.given
    elliptic = not core.terms
    if not (opposite or shared or elliptic):
        return 0
    negated = core.negations % 2 == 1
    asked_negated = question.sentence.negations % 2 == 1
    return -1 if (negated != opposite) != asked_negated else 1


def _opposes(asked: Sentence, said: Sentence) -> bool:
    """Whether a sentence says something that excludes what was asked, negations aside."""
    reversed_asked = {(second, relation, first) for first, relation, second in asked.relations}
    if reversed_asked & said.relations:
        return True
    if asked.relations & said.relations:
        return False
    return any(_conflicts(_unbound(asked.terms), _unbound(said.terms), kind) for kind in _DETAILS)


def _unbound(terms: Sequence[Term]) -> list[Term]:
    return [replace(term, bound="", owner="") for term in terms]


def answer_choice(question: Question, sentences: Sequence[Sentence]) -> str:
    """The option that an answer takes; empty where it is not seen.

    "The tea is cheaper than the coffee" takes the coffee where it was asked which costs more.
    """
    if len(question.options) != 2:
        return ""
    core = _core(question, sentences)
    named = [term.value for term in core.terms if term.value in question.options]
    if not named:
        return ""
    other = next((option for option in question.options if option != named[0]), "")
    direction = core.direction or 1
    asked = question.sentence.direction or 1
    turned = (direction != asked) != (core.negations % 2 == 1 and len(set(named)) == 1)
    return other if turned else named[0]


def _cores(
    question: Question,
    first: Sequence[Sentence],
    second: Sequence[Sentence],
    similarity: Similarity,
) -> tuple[Sentence, Sentence]:
    """Of each answer the sentence that answers.

    Where nothing shows it, it is the one that is most like the other's.
    """
    one, other = _core(question, first), _core(question, second)
    if not _shows_core(question, one) and len(first) > 1:
        one = max(first, key=lambda s: _rank(_unit(question, [s], [other], similarity)))
    elif not _shows_core(question, other) and len(second) > 1:
        other = max(second, key=lambda s: _rank(_unit(question, [one], [s], similarity)))
    return one, other


def _shows_core(question: Question, sentence: Sentence) -> bool:
    return sentence.said != 0 or _share(question, sentence) > 0


def _share(question: Question, sentence: Sentence) -> float:
    given = question.given | set(question.options)
    terms = (term for term in sentence.terms if term.kind is not TermKind.PLACE)
    return sum(term.value in given for term in terms) + 0.5 * _fits(question, sentence)


def _core(question: Question, sentences: Sequence[Sentence]) -> Sentence:
    """The sentence that answers: the first of those that share most with the question."""
    said = next((sentence for sentence in sentences if sentence.said), None)
    if said is not None:
        return said
    shares = [_share(question, sentence) for sentence in sentences]
    return sentences[shares.index(max(shares))]


def _fits(question: Question, sentence: Sentence) -> bool:
    """Whether it has the form of an answer to such a question, whatever its words."""
    match question.kind:
        case QuestionKind.YES_NO:
            return not sentence.terms
        case QuestionKind.COUNT:
            kind = TermKind.NUMBER
        case QuestionKind.COLOUR:
            kind = TermKind.COLOUR
        case _:
            return sentence.text.lower().startswith(("it ", "it's", "they ", "this "))
    return any(
        term.kind is kind and (not term.bound or term.bound in question.given)
        for term in sentence.terms
    )


def _overall(
    question: Question,
    first: Sequence[Sentence],
    second: Sequence[Sentence],
    unmatched: float,
) -> list[float]:
    agreement, half = _agreement(question, first, second)
    singles = (len(first) == 1) + (len(second) == 1)
    return [
        float(agreement > 0),
        float(agreement < 0),
        half,
        unmatched,
        float(singles == 2),
        float(singles == 1),
        min(abs(len(first) - len(second)), 4) / 4,
        *(float(question.kind is kind) for kind in QuestionKind),
    ]


def _agreement(
    question: Question, first: Sequence[Sentence], second: Sequence[Sentence]
) -> tuple[int, float]:
    """+1 where both say yes, both no, or take one option; -1 where not; 0 where one is not seen.

    With it whether it is seen of one alone.
    """
    one: int | str = answer_polarity(question, first) or answer_choice(question, first)
    other: int | str = answer_polarity(question, second) or answer_choice(question, second)
    if one and other:
        return (1 if one == other else -1), 0.0
    return 0, float(bool(one) != bool(other))


def _worst(
    question: Question,
    first: Sequence[Sentence],
    second: Sequence[Sentence],
    similarity: Similarity,
) -> tuple[list[float], float]:
    """Of each sentence of the shorter answer its best match; of these the worst.

    With it the share of sentences whose best match differs from them.
    """
    few, many = (first, second) if len(first) <= len(second) else (second, first)
    table = [[_unit(question, [a], [b], similarity) for b in many] for a in few]
    best = [max(row, key=_rank) for row in table]
    if len(few) == len(many):
        best += [max(column, key=_rank) for column in zip(*table, strict=True)]
    return min(best, key=_rank), sum(_rank(unit) < _MATCH for unit in best) / len(best)


def _rank(unit: Sequence[float]) -> float:
    named = dict(zip(_UNIT, unit, strict=True))
    conflicts = sum(value for name, value in named.items() if name.endswith("conflict"))
    conflicts += named["negations differ"] + named["both lack"] + named["ends swapped"]
    return named["least cover"] + 2 * named["common words"] - 0.5 * conflicts


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of a comparison: one sentence, or all of an answer."""

    terms: tuple[Term, ...]
    negations: int
    relations: frozenset[tuple[str, str, str]]
    passive: bool
    direction: int

    @classmethod
    def of(cls, sentences: Sequence[Sentence]) -> _Side:
        return cls(
            tuple(term for sentence in sentences for term in sentence.terms),
            sum(sentence.negations for sentence in sentences),
            frozenset(triple for sentence in sentences for triple in sentence.relations),
            any(sentence.passive for sentence in sentences),
            next((sentence.direction for sentence in sentences if sentence.direction), 0),
        )


def _unit(
    question: Question,
    first: Sequence[Sentence],
    second: Sequence[Sentence],
    similarity: Similarity,
) -> list[float]:
    a, b = _Side.of(first), _Side.of(second)
    lacking_a, lacking_b = _lacking(question, a, b), _lacking(question, b, a)
    cover_a = _cover(lacking_a, b, question, similarity)
    cover_b = _cover(lacking_b, a, question, similarity)
    sums = [sum(value < _ALIKE for value in cover) for cover in (cover_a, cover_b)]
    lows = [min(cover, default=1.0) for cover in (cover_a, cover_b)]
    core, missing = _core_words(question, a, b, similarity)
    return [
        min(lows),
        max(lows),
        min(min(sums), 4) / 4,
        min(max(sums), 4) / 4,
        _jaccard(a, b),
        core,
        missing,
        *_compare_details(question, a, b, TermKind.NUMBER),
        *_compare_details(question, a, b, TermKind.COLOUR),
        *_compare_details(question, a, b, TermKind.MARK),
        float(_conflicts(a.terms, b.terms, TermKind.PLACE)),
        float(_owners_conflict(a, b)),
        float((a.negations - b.negations) % 2),
        float(_ends_swapped(a, b)),
        *_compare_relations(a, b),
        float(
            _counts_differ(a, b)
            or any(
                term.listed for term, value in _pairs(lacking_a, cover_a, lacking_b, cover_b)
                  if value < _ALIKE)),
        float(min(sums) > 0),
    ]  # fmt: skip


def _counts_differ(a: _Side, b: _Side) -> bool:
    """Whether something listed is named more often by one side than by the other."""
    ours, theirs = (Counter(term.value for term in side.terms) for side in (a, b))
    listed = {term.value for term in (*a.terms, *b.terms) if term.listed and _is_named(term)}
    return any(ours[value] != theirs[value] for value in listed & ours.keys() & theirs.keys())


def _pairs(
    lacking_a: Sequence[Term],
    cover_a: Sequence[float],
    lacking_b: Sequence[Term],
    cover_b: Sequence[float],
) -> Iterator[tuple[Term, float]]:
    yield from zip(lacking_a, cover_a, strict=True)
    yield from zip(lacking_b, cover_b, strict=True)


def _lacking(question: Question, side: _Side, other: _Side) -> list[Term]:
    """Terms that the other side has not, and the question does not give.

    A detail counts where the other side says nothing of its class; where it does, the two are
    compared as details.
    """
    has = {term.value for term in other.terms}
    compared = question.sentence.direction != 0
    classes = {(term.kind, term.dimension) for term in other.terms}
    return [
        term
        for term in side.terms
        if term.value not in has
        and term.value not in question.given
        and term.kind is not TermKind.PLACE
        and (term.kind is TermKind.WORD or (term.kind, term.dimension) not in classes)
        and not BACKDROPS & {term.value, term.bound}
        and not (compared and term.surface in COMPARATIVES)
    ]


def _cover(
    lacking: Sequence[Term], other: _Side, question: Question, similarity: Similarity
) -> list[float]:
    """Of each term the cosine with the most similar term of the other side or the question."""
    others = {term.surface for term in other.terms if term.kind is not TermKind.PLACE}
    given = {term.surface for term in question.sentence.terms if term.value in question.given}
    return [
        max(_nearest(term, others, similarity), _known(_nearest(term, given, similarity)))
        for term in lacking
    ]


def _known(cosine: float) -> float:
    return cosine if cosine >= _GIVEN_ALIKE else 0.0


def _nearest(term: Term, surfaces: set[str], similarity: Similarity) -> float:
    if not surfaces or len(term.surface) < _SHORTEST or not term.surface.isalpha():
        return 0.0  # names and codes are alike only where they are equal
    return max(0.0, *(similarity(term.surface, surface) for surface in surfaces))


def _core_words(
    question: Question, a: _Side, b: _Side, similarity: Similarity
) -> tuple[float, float]:
    """How alike the first new words of both are, and whether one side has none."""
    firsts = [
        next((term for term in side.terms if term.kind is TermKind.WORD
              and term.value not in question.given), None)
        for side in (a, b)
    ]  # fmt: skip
    one, other = firsts
    if one is None or other is None:
        return 1.0, float((one is None) != (other is None))
    if one.value == other.value:
        return 1.0, 0.0
    return max(0.0, similarity(one.surface, other.surface)), 0.0


def _jaccard(a: _Side, b: _Side) -> float:
    one, other = ({term.value for term in side.terms} for side in (a, b))
    union = one | other
    return len(one & other) / len(union) if union else 1.0


def _compare_details(
    question: Question, a: _Side, b: _Side, kind: TermKind
) -> tuple[float, float, float]:
    """Whether details conflict, whether only one side has any, and whether they share one."""
    one, other = (
        {
            term.value
            for term in side.terms
            if term.kind is kind and term.value not in question.given
        }
        for side in (a, b)
    )
    return (
        float(_conflicts(a.terms, b.terms, kind)),
        float(bool(one) != bool(other)),
        float(bool(one & other)),
    )


def _conflicts(first: Sequence[Term], second: Sequence[Term], kind: TermKind) -> bool:
    """Whether both speak of one thing in one dimension and no word of it agrees.

    A detail that belongs to no word, or to one that the other side has not, may belong to any.
    """
    ours = [term for term in first if term.kind is kind]
    theirs = [term for term in second if term.kind is kind]
    if not (ours and theirs):
        return False
    shared = {term.value for term in first} & {term.value for term in second}
    return any(_is_denied(term, theirs, shared) for term in ours) and any(
        _is_denied(term, ours, shared) for term in theirs
    )


def _is_denied(term: Term, others: Sequence[Term], shared: set[str]) -> bool:
    about = [
        other
        for other in others
        if other.dimension == term.dimension
        and (term.bound == other.bound or term.bound not in shared or other.bound not in shared)
    ]
    return bool(about) and all(other.value != term.value for other in about)


def _owners_conflict(a: _Side, b: _Side) -> bool:
    """Whether somebody has one colour or state here and another there."""
    table: dict[tuple[str, TermKind, int], set[str]] = {}
    for term in a.terms:
        if term.owner and term.kind in (TermKind.COLOUR, TermKind.MARK):
            table.setdefault((term.owner, term.kind, term.dimension), set()).add(term.value)
    theirs: dict[tuple[str, TermKind, int], set[str]] = {}
    for term in b.terms:
        if (term.owner, term.kind, term.dimension) in table:
            theirs.setdefault((term.owner, term.kind, term.dimension), set()).add(term.value)
    return any(not (table[key] & values) for key, values in theirs.items())


def _ends_swapped(a: _Side, b: _Side) -> bool:
    """Whether "x does y" stands against "y does x"; a passive turns one of them round."""
    ours = [term for term in a.terms if _is_named(term)]
    theirs = [term for term in b.terms if _is_named(term)]
    triples = set(_triples(ours))
    others = set(_triples(theirs))
    if a.relations & b.relations:
        return False
    if (a.passive != b.passive) != (a.direction * b.direction < 0):
        return bool(triples & others)
    return any((third, middle, first) in others for first, middle, third in triples)


def _is_named(term: Term) -> bool:
    return term.kind is TermKind.WORD or term.dimension in PEOPLE_DIMENSIONS


def _triples(terms: Sequence[Term]) -> Iterator[tuple[str, str, str]]:
    for (first, middle), (_, third) in pairwise(pairwise(terms)):
        if not (middle.listed or third.listed) and first.value != third.value:
            yield first.value, middle.value, third.value


def _compare_relations(a: _Side, b: _Side) -> tuple[float, float]:
    conflict = any(
        first != second and (second, relation, first) in b.relations
        for first, relation, second in a.relations
    )
    return float(conflict), float(bool(a.relations & b.relations))
