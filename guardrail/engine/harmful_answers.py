"""What was harmful in the answers of one decision: categories and fields, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardrail.engine.verdict import Sample

__all__ = ["HarmfulAnswers", "count_harmful", "describe_harmful", "tally_harmful"]


@dataclass(frozen=True, slots=True)
class HarmfulAnswers:
    """Answers of one decision that are harmful for one reason in one field.

    Attributes:
        category: the oracle's category or the kind of refusal, as `Sample.reason` has it.
        field: where it was found, as `Sample.field` has it; empty where no oracle was asked.
        answers: how many there are, at least 1.
    """

    category: str
    field: str
    answers: int


def count_harmful(samples: Iterable[Sample]) -> tuple[HarmfulAnswers, ...]:
    """The harmful ones among the samples, the most frequent category and field first.

    Answers that count as harmful only because a part of them could not be read are left out.
    """
    return tally_harmful(
        (sample.reason, sample.field)
        for sample in samples
        if sample.outcome is Outcome.HARMFUL and (sample.reason or not sample.unscanned)
    )


def tally_harmful(found: Iterable[tuple[str, str]]) -> tuple[HarmfulAnswers, ...]:
    """The same of pairs of category and field, one for each harmful answer."""
    counts = sorted(Counter(found).items(), key=lambda item: (-item[1], item[0]))
    return tuple(HarmfulAnswers(*pair, answers) for pair, answers in counts)


def describe_harmful(found: Sequence[HarmfulAnswers]) -> str:
    """In one line: `harmful answers: 12 lexicon: threat in reasoning; 1 refusal`."""
    parts = [
        f"{one.answers} {one.category or 'without a category'}"
        f"{f' in {one.field}' if one.field else ''}"
        for one in found
    ]
    return f"harmful answers: {'; '.join(parts) or 'none'}"
