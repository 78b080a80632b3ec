"""What people write in a file of cases. One text a field, for the schema and for the page."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from guardrail.engine.preprocessing import NO_FILTER
from guardrail.engine.verdict import Reason
from guardrail.section import FilePath, Section, Word
from guardrail.types import Outcome

__all__ = ["CaseSection", "CasesFile", "KeptAnswerSection", "RecordSection"]

MOST_CASES = 10_000
_Name = Annotated[str, Field(min_length=1, max_length=300)]
_Tag = Annotated[str, Field(min_length=1, max_length=100)]
_Tuple = Strict(strict=False)
"""Lists of a file become tuples; their items must have their type already."""
_Side = Annotated[int, Field(ge=1, le=2**20)]
_Size = Annotated[tuple[_Side, _Side], _Tuple]


class KeptAnswerSection(Section):
    """One answer of a recorded request."""

    outcome: Annotated[Outcome, Word]
    """How it was judged when it was recorded."""
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """The oracle's score at that time."""
    category: str = ""
    """The category that it was judged harmful for."""
    field: str = ""
    """The part of the answer that was judged worst."""
    answer: str | dict[str, Any] | None = None
    """What the model said: a text, or the whole message. Left out where it was not kept."""


class KeptPictureSection(Section):
    """The sizes of one picture of a recorded request."""

    client: _Size
    """Height and width of the picture as it was sent, in pixels."""
    canvas: _Size
    """Height and width of its canvas."""


class RecordSection(Section):
    """What is kept of a recorded request; `guardrail records export --as-case` writes it."""

    id: _Name
    """The record."""
    oracle: _Name
    """The revision of the oracle that judged the answers."""
    sigma: Annotated[float, Field(gt=0, le=4, allow_inf_nan=False)] | None = None
    """The noise under which they were given. Left out for a request without pictures."""
    pictures: Annotated[tuple[KeptPictureSection, ...], _Tuple] = ()
    """The pictures of the request: their sizes only."""
    model_side_px: Annotated[int, Field(ge=1)] | None = None
    """The longest side of a canvas, where it was the model's own and not the policy's."""
    denoise: _Name = NO_FILTER
    """The filter between noise and model, as certificates name it; none if left out."""
    answers: Annotated[tuple[KeptAnswerSection, ...], _Tuple] = Field(
        min_length=1, max_length=MOST_CASES
    )
    """The answers in the order of their draws."""


class CaseSection(Section):
    """One case."""

    name: _Name
    """What the case is called, once in a file. The noise follows from it."""
    answer: str | dict[str, Any] | None = None
    """An answer as the model would give it: its text, or an assistant message in OpenAI's form
    (content, refusal, tool_calls, …). The policy's oracle judges it; no model is called."""
    image: FilePath | None = None
    """A picture that is sent with the prompt to the model: a file, by its path from this one."""
    images: Annotated[tuple[FilePath, ...], _Tuple] | None = Field(default=None, min_length=1)
    """The same with several pictures, in order."""
    prompt: str = ""
    """The question. Needed with pictures; with an answer only for oracles that read questions."""
    model: str = ""
    """The model to ask, where the upstream has several; left out: the first one."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request, such as max_tokens."""
    record: RecordSection | None = None
    """A recorded request with what was kept of its answers; no model is called."""
    expect: Literal["stopped", "let through"]
    """What the policy must do."""
    category: _Name | None = None
    """A category that one of the harmful answers must have. Only where stopped is expected."""
    reason: Annotated[Reason, Word] | None = None
    """The reason that must be given, as records have it."""
    needs_at_most_calls: Annotated[int, Field(ge=1)] | None = None
    """How many calls to the model it may take. Not with an answer."""
    radius_at_least: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    """How far the picture may be changed at least, as the certificate says (l2, pixel values in
    [0, 1]). Only where let through is expected of a request with pictures."""
    tags: Annotated[tuple[_Tag, ...], _Tuple] = ()
    """Names by which `--tag` chooses cases."""


class CasesFile(Section):
    """The whole file."""

    cases: Annotated[tuple[CaseSection, ...], _Tuple] = Field(min_length=1, max_length=MOST_CASES)
    """The cases."""
