"""Two sides of a comparison, each one sentence or a whole answer: what they share, and what not.

Every number is symmetric in the two sides. Words that only one side has are compared by their
vectors, which come from a sentence encoder.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from guardrail.oracles.semantic.terms import TermKind
from guardrail.oracles.semantic.vocabulary import BACKDROPS, COMPARATIVES, PEOPLE_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from guardrail.oracles.semantic.reading import Question, Sentence
    from guardrail.oracles.semantic.terms import Term

__all__ = ["SIDE_FEATURES", "Similarity", "compare_sides", "have_conflict", "unbind"]

Similarity: TypeAlias = "Callable[[str, str], float]"

_SHORTEST = 3  # letters of a word whose vector says anything
_GIVEN_ALIKE = 0.85  # words with at least this cosine to one of the question are taken for it
_ALIKE = 0.8  # words with at least this cosine are taken for one

SIDE_FEATURES = (
    "least cover", "most cover", "fewer lacking", "more lacking", "common words", "core words",
    "core missing", "number conflict", "number one-sided", "number shared", "colour conflict",
    "colour one-sided", "colour shared", "mark conflict", "mark one-sided", "mark shared",
    "place conflict", "owner conflict", "negations differ", "ends swapped",
    "relation conflict", "relation shared", "listed missing", "both lack",
)  # fmt: skip
"""Names of the numbers of `compare_sides`, in order."""


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


def compare_sides(
    question: Question,
    first: Sequence[Sentence],
    second: Sequence[Sentence],
    similarity: Similarity,
) -> list[float]:
    """The numbers named in `SIDE_FEATURES`.

    Args:
        question: what both answer.
        first: one sentence, or all of an answer.
        second: likewise, of the other answer.
        similarity: cosine of the vectors of two words, symmetric.
    """
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
        float(have_conflict(a.terms, b.terms, TermKind.PLACE)),
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
        float(have_conflict(a.terms, b.terms, kind)),
        float(bool(one) != bool(other)),
        float(bool(one & other)),
    )


def have_conflict(first: Sequence[Term], second: Sequence[Term], kind: TermKind) -> bool:
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


def unbind(terms: Sequence[Term]) -> list[Term]:
    """The same terms as if no detail were said of any word in particular."""
    return [replace(term, bound="", owner="") for term in terms]
