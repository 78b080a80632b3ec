"""Whether a delivered answer means what the bare one does, and whether it is right.

What compares is the method `pair` of the oracle `semantic`, which reads English. Answers in other
languages are compared as texts: equal ones are the same, of others nothing is said. Without the
extra `embedding` all are.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from guardrail.errors import OracleError
from guardrail.oracles.text.languages import foreign_stretch
from guardrail.tuning.clusters import fold_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guardrail.oracles.semantic.compare import Comparer

__all__ = ["AnswerComparer", "open_comparer"]

_UNSPACED = (("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"), ("\u3040", "\u9fff"))
"""Thai and Lao, Burmese, Khmer, kana and Han: their words stand without blanks."""


class AnswerComparer:
    """Compares answers; closed with `aclose`.

    Args:
        comparer: of meanings, in English; None compares texts only.
    """

    def __init__(self, comparer: Comparer | None) -> None:
        self._comparer = comparer

    @property
    def method(self) -> str:
        """What compared, for those who read the figures."""
        return "text" if self._comparer is None else self._comparer.revision

    async def is_same(self, question: str, first: str, second: str) -> bool | None:
        """Whether two answers to a question mean the same; None where that cannot be told.

        Nothing means the same as no answer, as that of a request which was stopped: the comparer,
        made for answers, would find a short one near to it.
        """
        if not _fold(first) or not _fold(second):
            return False
        if _fold(first) == _fold(second):
            return True
        if self._comparer is None or not all(map(_is_english, (question, first, second))):
            return None
        try:
            (difference,) = await self._comparer.differences(first, [second], question)
        except OracleError:
            return None
        return difference < 0.5

    async def is_right(self, question: str, expected: Sequence[str], answer: str) -> bool:
        """Whether an answer holds one of those expected word for word, or means the same.

        The first is how answers to questions about pictures are commonly marked: `a dog` is held
        by `There is a dog on the grass.`
        """
        if any(_holds(_fold(answer), _fold(one)) for one in expected):
            return True
        for one in expected:
            if await self.is_same(question, one, answer):
                return True
        return False

    async def aclose(self) -> None:
        if self._comparer is not None:
            await self._comparer.aclose()


def open_comparer() -> AnswerComparer:
    """By meaning where the extra `embedding` is installed, else by text."""
    from guardrail.oracles.packages import are_installed
    from guardrail.oracles.text.sentence_model import DEFAULT_PACKAGE

    if not are_installed("torch", "transformers", DEFAULT_PACKAGE):
        return AnswerComparer(None)
    from guardrail.oracles.semantic.pair import PairComparer
    from guardrail.oracles.semantic.pair_head import PairHead
    from guardrail.oracles.text.sentences import SentenceEncoder

    return AnswerComparer(PairComparer(SentenceEncoder(), PairHead.load()))


def _fold(text: str) -> str:
    """Without case, without signs at both ends, and with single blanks."""
    folded = fold_text(unicodedata.normalize("NFC", text))
    ends = "".join({char for char in folded if unicodedata.category(char)[0] in "PZ"} - {"-"})
    return folded.strip(ends) if ends else folded


def _holds(text: str, wanted: str) -> bool:
    """Whether words stand in a text, none of them cut: `5` not in `-5`, `1.5` or `15`."""
    return any(
        _may_begin(text[:place], wanted) and _may_end(text[place + len(wanted) :], wanted)
        for place in _places(text, wanted)
    )


def _places(text: str, wanted: str) -> Iterator[int]:
    place = text.find(wanted) if wanted else -1
    while place >= 0:
        yield place
        place = text.find(wanted, place + 1)


def _may_begin(before: str, wanted: str) -> bool:
    if wanted[0].isdigit() and before[-1:] in ("-", "−", ".", ","):
        return False
    return not (before and _is_of_word(before[-1]) and not _is_unspaced(wanted[0]))


def _may_end(after: str, wanted: str) -> bool:
    if wanted[-1].isdigit() and after[:1] in (".", ",") and after[1:2].isdigit():
        return False
    return not (after and _is_of_word(after[0]) and not _is_unspaced(wanted[-1]))


def _is_of_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"


def _is_unspaced(char: str) -> bool:
    return any(first <= char <= last for first, last in _UNSPACED)


def _is_english(text: str) -> bool:
    return foreign_stretch(text) is None
