"""Which answer stands for a request whose answers people label: the first one.

A decision ends when enough of its answers were found harmful, so among all of them too many are
found ones: an oracle that misses half of the harmful answers would seem to miss fewer. The answer
to the first variant alone is drawn whatever the oracle says, and of several decisions on equal
requests the first that drew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.visible_text import extract_text
from guardrail.records.content import open_content
from guardrail.tuning.deliveries import message_text
from guardrail.types import Answer

if TYPE_CHECKING:
    from guardrail.records.record import Record, SampleRecord
    from guardrail.types import Json

__all__ = ["FIRST", "find_first_sample", "first_answer", "first_answer_text", "name_equal"]

FIRST = 0
"""The number of the variant that every decision asks about first."""


def name_equal(request_digest: str, record_id: str) -> str:
    """What the records of equal requests have in common; the record's id where nothing is known."""
    return request_digest or record_id


def find_first_sample(record: Record) -> SampleRecord | None:
    """What was measured of the answer to the first variant."""
    return next((sample for sample in record.samples if sample.index == FIRST), None)


def first_answer(record: Record) -> str | dict[str, Json] | None:
    """The answer to the first variant, a text or a whole message.

    None where none is kept, or nothing in it can be read, so that there is nothing to label.
    """
    answers = open_content(record, None).get("answers")
    said = answers.get(str(FIRST)) if isinstance(answers, dict) else None
    if isinstance(said, str):
        return said if said.strip() else None
    if isinstance(said, dict):
        return said if extract_text(Answer(said)).text.strip() else None
    return None


def first_answer_text(record: Record) -> str:
    """All that is read of the answer to the first variant; empty where there is none to label."""
    said = first_answer(record)
    return "" if said is None else said if isinstance(said, str) else message_text(said)
