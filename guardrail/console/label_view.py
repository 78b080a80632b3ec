"""What a reviewer sees of a request to label: what was asked and answered, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.console.decision_view import read_messages
from guardrail.labelling.answers import open_records, text_to_label
from guardrail.records.content import open_content
from guardrail.tuning.first_answer import first_answer_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.console.decision_view import Said
    from guardrail.database.database import Database
    from guardrail.records.content import ContentKeys

__all__ = ["ItemView", "view_item"]

_LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class ItemView:
    """Neither the verdict nor a score, nor the ids of records, which would lead to them.

    Attributes:
        said: what was asked.
        answers: the answers to judge, each once; none where they are not kept any more.
        pictures: how many the model was asked about; they are not shown.
    """

    said: Sequence[Said]
    answers: Sequence[str]
    pictures: int


def view_item(
    database: Database,
    record_ids: Sequence[str],
    keys: ContentKeys | None,
    *,
    first_answers: bool = False,
) -> ItemView | None:
    """What is shown of the decisions on one request; None where no such decision is kept.

    With `first_answers`, the answer to the first variant of each, whatever was decided. Raises
    StorageError.
    """
    found = open_records(database, record_ids, keys)
    records = [found[name] for name in record_ids if name in found]
    if not records:
        return None
    read = first_answer_text if first_answers else text_to_label
    answers = dict.fromkeys(text for record in records if (text := read(record)))
    said = read_messages(open_content(records[0], None).get("messages"))
    return ItemView(said, [text[:_LONGEST] for text in answers], records[0].pictures)
