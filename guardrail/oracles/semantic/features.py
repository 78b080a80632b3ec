"""What two answers to one question have in common and where they differ, as numbers.

Every number is symmetric in the two answers. The sentences that answer are compared
(`answering_sentence.py`), the sentences that match worst, and the whole answers (`sides.py`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from guardrail.oracles.semantic.answering_sentence import (
    answer_choice,
    answer_polarity,
    find_core,
    shows_core,
)
from guardrail.oracles.semantic.reading import QuestionKind
from guardrail.oracles.semantic.sides import SIDE_FEATURES, compare_sides, unbind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from guardrail.oracles.semantic.reading import Question, Sentence
    from guardrail.oracles.semantic.sides import Similarity

__all__ = ["FEATURES", "excludes", "pair_features", "words_to_encode"]

_MATCH = 1.0  # a rank below this is no match

_EXCLUDING = ("number conflict", "colour conflict", "negations differ", "both lack")
_EXCLUDING_IF_OPEN = ("whole: listed missing", "worst: both lack", "core: place conflict")
_OVERALL = (
    "answer same", "answer differs", "answer of one", "unmatched", "one sentence both",
    "one sentence one", "sentences differ", *(f"asks {kind}" for kind in QuestionKind),
)  # fmt: skip
FEATURES: tuple[str, ...] = (
    *(f"core: {name}" for name in SIDE_FEATURES),
    *(f"worst: {name}" for name in SIDE_FEATURES),
    *(f"whole: {name}" for name in SIDE_FEATURES),
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
        one, other = (replace(s, terms=tuple(unbind(s.terms))) for s in (one, other))
    core = compare_sides(question, [one], [other], similarity)
    whole = compare_sides(question, first, second, similarity)
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


def _cores(
    question: Question,
    first: Sequence[Sentence],
    second: Sequence[Sentence],
    similarity: Similarity,
) -> tuple[Sentence, Sentence]:
    """Of each answer the sentence that answers.

    Where nothing shows it, it is the one that is most like the other's.
    """
    one, other = find_core(question, first), find_core(question, second)
    if not shows_core(question, one) and len(first) > 1:
        one = max(first, key=lambda s: _rank(compare_sides(question, [s], [other], similarity)))
    elif not shows_core(question, other) and len(second) > 1:
        other = max(second, key=lambda s: _rank(compare_sides(question, [one], [s], similarity)))
    return one, other


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
    table = [[compare_sides(question, [a], [b], similarity) for b in many] for a in few]
    best = [max(row, key=_rank) for row in table]
    if len(few) == len(many):
        best += [max(column, key=_rank) for column in zip(*table, strict=True)]
    return min(best, key=_rank), sum(_rank(unit) < _MATCH for unit in best) / len(best)


def _rank(unit: Sequence[float]) -> float:
    named = dict(zip(SIDE_FEATURES, unit, strict=True))
    conflicts = sum(value for name, value in named.items() if name.endswith("conflict"))
    conflicts += named["negations differ"] + named["both lack"] + named["ends swapped"]
    return named["least cover"] + 2 * named["common words"] - 0.5 * conflicts
