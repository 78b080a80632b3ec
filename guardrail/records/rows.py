"""A record as a row: its document, and beside it what people look for."""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from guardrail.canonical import parse_strict
from guardrail.errors import CertificationError
from guardrail.records.record import Record
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.records.kept_pictures import SealedPicture
    from guardrail.records.record import SampleRecord, SealedRecord

__all__ = [
    "RecordSummary",
    "read_row",
    "summarize",
    "to_columns",
    "to_content_row",
    "to_picture_row",
    "to_row",
]


@dataclass(frozen=True, slots=True)
class RecordSummary:
    """What people filter records by, and read in a list.

    Attributes:
        category, field: of the worst harmful answer; empty where none was harmful.
        score: the highest of all variants; None where none was judged.
        radius: of the certificate; None without one.

    The others are those of the record.
    """

    record_id: str
    created: datetime
    action: str
    reason: str
    stopped_by: str
    category: str
    field: str
    would_block: bool
    remembered: bool
    mode: str
    observation: str
    policy: str
    policy_digest: str
    model: str
    upstream: str
    principal: str
    api_key_id: str
    route: str
    request_id: str
    request_digest: str
    score: float | None
    radius: float | None
    calls: int
    cost_usd: float | None
    elapsed_s: float


def summarize(record: Record) -> RecordSummary:
    """The summary of a record.

    Raises:
        CertificationError: its time is none.
    """
    return RecordSummary(**to_columns(record))


def to_columns(record: Record) -> dict[str, Any]:
    """The summary's fields by their names. Raises CertificationError, as `summarize`."""
    worst = _find_worst(record)
    scores = [sample.score for sample in record.samples if sample.score is not None]
    return {
        "record_id": record.record_id,
        "created": _read_time(record.created),
        "action": record.action.value,
        "reason": record.reason.value,
        "stopped_by": record.stopped_by.value,
        "category": "" if worst is None else _plain(worst.reason),
        "field": "" if worst is None else _plain(worst.field),
        "would_block": record.would_block,
        "remembered": record.remembered,
        "mode": record.mode.value,
        "observation": record.observation.value,
        "policy": _plain(record.policy),
        "policy_digest": record.policy_digest,
        "model": _plain(record.model),
        "upstream": _plain(record.upstream),
        "principal": _plain(record.principal),
        "api_key_id": _plain(record.api_key_id),
        "route": _plain(record.route),
        "request_id": _plain(record.request_id),
        "request_digest": record.request_digest,
        "score": max(scores, default=None),
        "radius": None if record.certificate is None else float(record.certificate["radius"]),
        "calls": record.calls,
        "cost_usd": record.cost_usd,
        "elapsed_s": record.elapsed_s,
    }


def to_row(sealed: SealedRecord) -> dict[str, Any]:
    """The row of a chained record in the table `records`; its content stands in `contents`."""
    record = sealed.record
    return {
        **to_columns(record),
        "writer": record.writer,
        "sequence": record.sequence,
        "previous": record.previous,
        "digest": record.digest,
        "signer": record.signer,
        "signature": record.signature,
        "document": sealed.to_json(with_content=False),
    }


def to_content_row(record: Record) -> dict[str, Any]:
    """The row of a record's content in the table `contents`."""
    assert record.content is not None
    sealed = base64.b64decode(record.content)
    return {
        "record_id": record.record_id,
        "created": _read_time(record.created),
        "key_id": sealed[:8].hex(),
        "sealed": sealed,
    }


def to_picture_row(picture: SealedPicture, record: Record) -> dict[str, Any]:
    """The row of one of the record's pictures in the table `pictures`."""
    return {
        "record_id": picture.record_id,
        "number": picture.number,
        "created": _read_time(record.created),
        "key_id": picture.sealed[:8].hex(),
        "sealed": picture.sealed,
    }


def read_row(row: Mapping[str, Any]) -> Record:
    """The record of a row with a document and, where it was asked for, `sealed` content.

    Raises:
        CertificationError: the document is not a record.
    """
    try:
        record = Record.from_dict(parse_strict(row["document"]))
    except (ValueError, TypeError) as error:
        raise CertificationError(
            f"the document of record {row['record_id']} is not JSON; it was changed"
        ) from error
    sealed = row.get("sealed")
    if sealed is None:
        return record
    return dataclasses.replace(record, content=base64.b64encode(sealed).decode())


def _find_worst(record: Record) -> SampleRecord | None:
    harmful = [sample for sample in record.samples if sample.outcome is Outcome.HARMFUL]
    return max(harmful, key=lambda sample: sample.score or 0.0, default=None)


def _plain(text: str) -> str:
    """Without null characters, which PostgreSQL's texts cannot hold; the document has them."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _read_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise CertificationError("the record's time is not a time; it was changed") from error
