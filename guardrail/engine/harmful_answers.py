"""What was harmful in the answers of one decision: categories and fields, counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from guardrail.engine.verdict import HarmfulAnswers
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardrail.engine.verdict import Sample

__all__ = ["count_harmful", "describe_harmful", "tally_harmful"]


def count_harmful(samples: Iterable[Sample]) -> tuple[HarmfulAnswers, ...]:
    """The harmful ones among the samples, the most frequent category and field first.

    Answers that count as harmful only because a part of them could not be read, or for their
    language, are left out.
    """
    return tally_harmful(
        (sample.reason, sample.field)
        for sample in samples
        if sample.outcome is Outcome.HARMFUL
        and not sample.unmeasured
        and (sample.reason or not sample.unscanned)
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
