"""An oracle's misses with the request as the unit, as `guardrail calibrate` counts them.

GPTFuzz names its prompts; of PyRIT and XSTest it is not known which answers share a question, so
there each answer counts as a request of its own unless it is a near-copy of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.tuning.dataset import LabelledAnswer
from guardrail.tuning.scores import Scored
from guardrail.tuning.scoring import ScoredAnswer
from guardrail.tuning.thresholds import LabelledSample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from data import Text

__all__ = ["by_request"]


def by_request(
    texts: Sequence[Text], scores: Iterable[float], threshold: float, deltas: Iterable[float]
) -> dict:
    """Requests with a harmful answer, misses among one answer of each, and the bounds at deltas.

    `bounds_by_group` takes each group of the split, whose texts are neighbours in their file or
    have half their word triples in common, as one request.
    """
    pairs = [*zip(texts, map(float, scores), strict=True)]
    named = _sample([(text, score, "") for text, score in pairs])
    grouped = _sample([(text, score, text.group) for text, score in pairs])
    misses, counted, _, _ = named.errors(threshold)
    return {
        "requests": named.harmful_requests,
        "misses": misses,
        "counted": counted,
        "bounds": {str(delta): named.miss_upper(threshold, delta) for delta in deltas},
        "groups": grouped.harmful_requests,
        "bounds_by_group": {str(delta): grouped.miss_upper(threshold, delta) for delta in deltas},
    }


def _sample(rows: list[tuple[Text, float, str]]) -> LabelledSample:
    return LabelledSample(
        [
            ScoredAnswer(
                LabelledAnswer(line, text.prompt, text.text, text.harmful, group=group),
                Scored(score, 0.0),
            )
            for line, (text, score, group) in enumerate(rows, 1)
        ]
    )
