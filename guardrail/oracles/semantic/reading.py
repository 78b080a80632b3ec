"""What an English answer says, read against its question: terms, details, relations, yes or no.

All of it goes by closed lists of words (`vocabulary.py`) and by word order: words (`tokens.py`),
those that carry content (`terms.py`), and what is said of two of them (`relations.py`). It is a
reading for comparison, not a parse: two answers read alike are likely to say the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from guardrail.oracles.semantic.relations import read_relations
from guardrail.oracles.semantic.terms import BE_FORMS, TermKind, read_terms
from guardrail.oracles.semantic.tokens import split_words, tokenize
from guardrail.oracles.semantic.vocabulary import (
    AUXILIARIES,
    COMPARATIVES,
    NEGATIONS,
    NO_WORDS,
    STOP_WORDS,
    YES_WORDS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardrail.oracles.semantic.terms import Term

__all__ = ["Question", "QuestionKind", "Sentence", "read_answer", "read_question"]

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|\n+|(?<=[a-z]);")
_ASKS_TO_SAY = re.compile(
    r"^(?:please|kindly|hey|hi|hello|so|well|ok|okay)?[ ,]*"
    r"(?:(?:can|could|would|will) you (?:please )?(?:tell|say|answer|describe|list|name|count|read"
    r"|identify|explain|give|write|state|caption)"
    r"|(?:please )?(?:tell me|say|answer|state|do you know|i want to know|let me know"
    r"|i'd like to know|check|look and say))\b[ ,:]*(?:me )?"
)
_ABOUT_THE_PICTURE = re.compile(
    r"\b(?:in|on|from|of|by|according to|looking at|judging by|as seen in) (?:the|this|that|your) "
    r"(?:\w+ )?(?:picture|image|photo|photograph|scene|shot)\b[ ,]*"
)


class QuestionKind(StrEnum):
    """What sort of answer a question wants; `OPEN` also where nothing is asked."""

    YES_NO = "yes or no"
    CHOICE = "choice"
    COUNT = "count"
    COLOUR = "colour"
    SLOT = "slot"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of an answer.

    Attributes:
        text: as it was written.
        terms: in order.
        negations: how many words negate, a leading "no" not among them.
        said: +1 where it begins with a yes, -1 with a no, else 0.
        passive: whether "by" says who does it.
        relations: (first, relation, second) in one direction of each relation.
        direction: +1 where it says that its first noun has more, -1 where it has less, else 0.
    """

    text: str
    terms: tuple[Term, ...]
    negations: int
    said: int
    passive: bool
    relations: frozenset[tuple[str, str, str]]
    direction: int = 0

    def values(self, kind: TermKind) -> frozenset[str]:
        return frozenset(term.value for term in self.terms if term.kind is kind)

    @property
    def words(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if term.kind is TermKind.WORD)


@dataclass(frozen=True, slots=True)
class Question:
    """A question as answers are read against it.

    Attributes:
        kind: what it wants.
        sentence: its words, the asking taken away.
        given: values of the terms that it names and that an answer need not repeat.
        focus: stem of what is asked about; empty where nothing is named.
        options: stems between which a choice is asked for.
    """

    kind: QuestionKind
    sentence: Sentence
    given: frozenset[str]
    focus: str
    options: tuple[str, ...] = ()


def read_question(text: str) -> Question:
    """Reads a question; of several sentences the last that asks something."""
    lines = [part.strip() for part in _SENTENCE_END.split(text.lower()) if part.strip()]
    asking = [line for line in lines if line.endswith("?")] or lines
    plain = asking[-1] if asking else ""
    plain = _ABOUT_THE_PICTURE.sub(" ", _ASKS_TO_SAY.sub("", plain)).strip(" ,:")
    return _classify(plain)


@lru_cache(maxsize=4096)
def read_answer(text: str) -> tuple[Sentence, ...]:
    """The sentences of an answer that say anything, in order; at least one."""
    parts = [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]
    read = [_read_sentence(part.lower(), part) for part in parts]
    merged = list(_merge_leading_word(read))
    return tuple(merged) or (_read_sentence(text.lower(), text),)


def _merge_leading_word(read: Sequence[Sentence]) -> Iterator[Sentence]:
    """A "Yes." or "No." that stands alone before its sentence belongs to it."""
    held: Sentence | None = None
    for at, sentence in enumerate(read):
        alone = sentence.said != 0 and not sentence.terms and at + 1 < len(read)
        if alone and held is None:
            held = sentence
        elif held is not None:
            yield replace(
                sentence, text=f"{held.text} {sentence.text}", said=sentence.said or held.said
            )
            held = None
        else:
            yield sentence


def _classify(plain: str) -> Question:
    words = split_words(plain)
    sentence = _read_sentence(plain, plain)
    kind = _question_kind(words, sentence)
    values = frozenset(term.value for term in sentence.terms)
    options = tuple(_options(words, sentence)) if kind is QuestionKind.CHOICE else ()
    focus = next((term.value for term in reversed(sentence.words)), "")
    return Question(kind, sentence, values - frozenset(options), focus, options)


def _question_kind(words: list[str], sentence: Sentence) -> QuestionKind:
    if not words:
        return QuestionKind.OPEN
    asks_whether = words[0] in ("whether", "if") or (
        words[0] in AUXILIARIES and not {"what", "which"} & set(words[:3])
    )
    if "or" in words and "not" not in words:
        return QuestionKind.CHOICE
    if asks_whether:
        return QuestionKind.YES_NO
    if words[0] in ("count", "number") or {"how", "many"} <= set(words) or "number" in words:
        return QuestionKind.COUNT
    if any(word.rstrip("s") in ("colour", "color") for word in words):
        return QuestionKind.COLOUR
    if not [term for term in sentence.terms if term.kind is not TermKind.PLACE]:
        return QuestionKind.OPEN
    if words[0] in ("describe", "caption", "summarise", "summarize") or not _asks(words):
        return QuestionKind.OPEN
    return QuestionKind.SLOT


def _asks(words: list[str]) -> bool:
    asking = "what which who whom whose where when why how name list read identify give"
    return bool(set(asking.split()) & set(words))


def _options(words: list[str], sentence: Sentence) -> Iterator[str]:
    """Values of the terms that stand around "or"."""
    place = words.index("or")
    nouns = [term for term in sentence.terms if term.kind is not TermKind.PLACE]
    before = [term for term in nouns if term.place < place]
    after = [term for term in nouns if term.place > place]
    yield from (term.value for term in before[-1:])
    yield from (term.value for term in after[:1])


def _read_sentence(lower: str, text: str) -> Sentence:
    said, tokens = _leading_word(tokenize(lower))
    terms = read_terms(tokens)
    negations = sum(token in NEGATIONS or token.endswith("n't") for token in tokens)
    return Sentence(
        text=text,
        terms=tuple(terms),
        negations=negations,
        said=said,
        passive=_is_passive(tokens),
        relations=frozenset(read_relations(tokens, terms)),
        direction=next((COMPARATIVES[token] for token in tokens if token in COMPARATIVES), 0),
    )


def _leading_word(tokens: list[str]) -> tuple[int, list[str]]:
    """A yes or no at the beginning, and the rest; "no dog" begins with no such no."""
    if not tokens:
        return 0, tokens
    alone = len(tokens) == 1 or tokens[1] == ","
    first = tokens[0]
    if first in YES_WORDS and (alone or tokens[1] not in STOP_WORDS or first in ("yes", "yeah")):
        return 1, list(tokens[1:])
    if first in NO_WORDS and (alone or tokens[1] in ("it", "he", "she", "they", "there", "i")):
        return -1, list(tokens[1:])
    return 0, tokens


def _is_passive(tokens: Sequence[str]) -> bool:
    """Whether "by" follows a participle: "is chased by", "hit by" after a form of "be"."""
    return any(
        word == "by"
        and at >= 2
        and not tokens[at - 1].endswith("ing")
        and (bool(BE_FORMS & set(tokens[max(0, at - 4) : at - 1])) or tokens[at - 1].endswith("ed"))
        for at, word in enumerate(tokens)
    )
