"""A case: what is decided about, and the decision that is expected."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from guardrail.engine.preprocessing import NO_FILTER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from guardrail.engine.verdict import Reason
    from guardrail.types import Answer, Json, Outcome

__all__ = [
    "AnswerCase",
    "Case",
    "CaseDecision",
    "Expectation",
    "KeptAnswer",
    "KeptCase",
    "KeptPicture",
    "PictureCase",
]


class CaseDecision(StrEnum):
    """What a policy does; a fault is neither the one nor the other."""

    STOPPED = "stopped"
    LET_THROUGH = "let through"
    NOT_DECIDED = "not decided"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must come of a case.

    Attributes:
        decision: stopped or let through.
        category: one of the harmful answers' categories; None where any will do.
        reason: why it was decided so; None where any will do.
        most_calls: calls to the model, at most; None for any number.
        radius_lower: how far the picture may at least be changed (ℓ2, pixels in [0, 1]) by the
            certificate of the decision; None where nothing is asked of it.
    """

    decision: CaseDecision
    category: str | None = None
    reason: Reason | None = None
    most_calls: int | None = None
    radius_lower: float | None = None


@dataclass(frozen=True, slots=True)
class AnswerCase:
    """An answer as a model would give it. It is judged alone; no model is called.

    `prompt` is the question before it.
    """

    answer: Answer
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class PictureCase:
    """Pictures and a question, which a model is asked about.

    `images` are files; `model` is empty for the first that the upstream lists.
    """

    images: tuple[Path, ...]
    prompt: str
    model: str = ""
    parameters: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a record keeps of one answer of a model.

    `answer` is None where it was not kept. The others are those of `SampleRecord`.
    """

    outcome: Outcome
    score: float | None = None
    category: str = ""
    field: str = ""
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """Sizes of a picture, each (height, width) in pixels: the client's, and that of its canvas."""

    client: tuple[int, int]
    canvas: tuple[int, int]


@dataclass(frozen=True, slots=True)
class KeptCase:
    """A recorded request with the answers that it got; no model is called.

    Attributes:
        record_id: of the record.
        oracle: revision of the oracle that judged the answers.
        sigma: of the noise under which they were given; None for a request without pictures.
        pictures: of the request.
        model_side_px: the longest side of a canvas, where it was the model's; None where it stood
            in the policy.
        denoise: the filter between noise and model, as certificates name it.
        answers: in the order of their draws, without gaps.
        prompt: the last question; empty where it was not kept.
    """

    record_id: str
    oracle: str
    sigma: float | None
    pictures: tuple[KeptPicture, ...]
    answers: tuple[KeptAnswer, ...]
    prompt: str = ""
    model_side_px: int | None = None
    denoise: str = NO_FILTER


Given: TypeAlias = AnswerCase | PictureCase | KeptCase


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: unique in its file; noise and seeds follow from it.
        given: what is decided about.
        expect: what must come of it.
        tags: names by which some of the cases are chosen.
        file, line: where it is written; None for one that was made of a record.
    """

    name: str
    given: Given
    expect: Expectation
    tags: tuple[str, ...] = ()
    file: str | None = None
    line: int | None = None
