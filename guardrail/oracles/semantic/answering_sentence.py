"""Which sentence of an answer answers the question, and what it says: yes, no, or an option."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.oracles.semantic.reading import QuestionKind
from guardrail.oracles.semantic.sides import have_conflict, unbind
from guardrail.oracles.semantic.terms import TermKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.semantic.reading import Question, Sentence

__all__ = ["answer_choice", "answer_polarity", "find_core", "shows_core"]

_DETAILS = (TermKind.NUMBER, TermKind.COLOUR, TermKind.MARK, TermKind.PLACE)


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
    core = find_core(question, sentences)
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
    return any(have_conflict(unbind(asked.terms), unbind(said.terms), kind) for kind in _DETAILS)


def answer_choice(question: Question, sentences: Sequence[Sentence]) -> str:
    """The option that an answer takes; empty where it is not seen.

    "The tea is cheaper than the coffee" takes the coffee where it was asked which costs more.
    """
    if len(question.options) != 2:
        return ""
    core = find_core(question, sentences)
    named = [term.value for term in core.terms if term.value in question.options]
    if not named:
        return ""
    other = next((option for option in question.options if option != named[0]), "")
    direction = core.direction or 1
    asked = question.sentence.direction or 1
    turned = (direction != asked) != (core.negations % 2 == 1 and len(set(named)) == 1)
    return other if turned else named[0]


def shows_core(question: Question, sentence: Sentence) -> bool:
    return sentence.said != 0 or _share(question, sentence) > 0


def _share(question: Question, sentence: Sentence) -> float:
    given = question.given | set(question.options)
    terms = (term for term in sentence.terms if term.kind is not TermKind.PLACE)
    return sum(term.value in given for term in terms) + 0.5 * _fits(question, sentence)


def find_core(question: Question, sentences: Sequence[Sentence]) -> Sentence:
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
