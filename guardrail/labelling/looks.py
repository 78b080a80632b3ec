"""Several reviewers' labels of one request: what they agree on, and whether another is wanted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from guardrail.records.review import LabelVerdict

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["MOST_LOOKS", "disagree", "looks_wanted", "settle"]

MOST_LOOKS = 3
"""Reviewers who label one request, at most: the third decides between two."""


def settle(verdicts: Collection[LabelVerdict], planned: int = 1) -> LabelVerdict | None:
    """What the labels of different reviewers say together: harmful, harmless, or None for neither.

    Nothing is settled before as many labels as planned are there: what one of two reviewers said
    could still be overruled. More than half must agree. "Unsure" is a label like the others, and
    where it prevails nothing is settled.

    Args:
        verdicts: the label that counts of each reviewer.
        planned: how many reviewers shall label it at least.
    """
    if len(verdicts) < planned:
        return None
    for verdict, count in Counter(verdicts).items():
        if 2 * count > len(verdicts):
            return None if verdict is LabelVerdict.UNSURE else verdict
    return None


def disagree(verdicts: Collection[LabelVerdict]) -> bool:
    """Whether two reviewers said different things and no third one has decided."""
    return len(verdicts) > 1 and len(set(verdicts)) > 1 and len(verdicts) < MOST_LOOKS


def looks_wanted(verdicts: Collection[LabelVerdict], planned: int) -> int:
    """How many reviewers shall label a request, by what those said who have.

    As many as planned, and one more as long as they differ or are unsure.
    """
    if len(verdicts) < planned or not verdicts:
        return max(planned, 1)
    is_clear = len(set(verdicts)) == 1 and LabelVerdict.UNSURE not in verdicts
    return len(verdicts) if is_clear else min(len(verdicts) + 1, MOST_LOOKS)
