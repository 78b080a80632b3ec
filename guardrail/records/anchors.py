"""Anchors fix the ends of chains in a database: what was there when, and what was pruned since.

A chain cannot show by itself that its end, or all of it, was removed. An anchor names the last
record of every chain that has grown since the anchor before, and that anchor's digest. So the
anchors are one chain over all writers, in which each start, stop and thousandth record leaves one;
whoever keeps the digest of the last anchor elsewhere can find out about every removal before it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from guardrail.canonical import canonical_json, digest_json, parse_strict
from guardrail.dataclass_reader import DataclassReader, FieldError
from guardrail.errors import CertificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from guardrail.records.signing import RecordSigner

__all__ = ["Anchor", "AnchorKind", "Head", "add_anchor", "read_anchor"]


class AnchorKind(StrEnum):
    """Why an anchor was written. `pruned` names the last record of each chain that was removed."""

    STARTED = "started"
    GROWN = "grown"
    CLOSED = "closed"
    PRUNED = "pruned"


@dataclass(frozen=True, slots=True)
class Head:
    """One record of a writer's chain: its number and its digest."""

    writer: str
    sequence: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One anchor.

    Attributes:
        number: from 1, without gaps.
        created: ISO 8601, UTC.
        kind: why it was written.
        heads: the ends of chains.
        previous: digest of the anchor before it; empty for the first one.
        signer, digest, signature: as those of a record.
    """

    number: int
    created: str
    kind: AnchorKind
    heads: tuple[Head, ...]
    previous: str
    signer: str = ""
    digest: str = ""
    signature: str = ""

    def compute_digest(self) -> str:
        """SHA-256 over all fields but `digest` and `signature`."""
        fields = dataclasses.asdict(self)
        return digest_json({k: v for k, v in fields.items() if k not in ("digest", "signature")})


def add_anchor(
    connection: Connection,
    kind: AnchorKind,
    heads: tuple[Head, ...],
    signer: RecordSigner | None,
) -> Anchor:
    """Appends an anchor; the transaction must hold the lock of anchors , see `anchor_chains`."""
    import sqlalchemy as sa

    from guardrail.records.tables import ANCHORS

    last = connection.execute(
        sa.select(ANCHORS.c.number, ANCHORS.c.digest).order_by(ANCHORS.c.number.desc()).limit(1)
    ).first()
    now = datetime.now(UTC)
    anchor = Anchor(
        number=1 if last is None else last.number + 1,
        created=now.isoformat(timespec="milliseconds"),
        kind=kind,
        heads=heads,
        previous="" if last is None else last.digest,
        signer="" if signer is None else signer.key_id,
    )
    anchor = dataclasses.replace(anchor, digest=anchor.compute_digest())
    if signer is not None:
        anchor = dataclasses.replace(anchor, signature=signer.sign(anchor.digest))
    document = canonical_json(dataclasses.asdict(anchor)).decode()
    connection.execute(
        sa.insert(ANCHORS),
        {"number": anchor.number, "created": now, "digest": anchor.digest, "document": document},
    )
    return anchor


def read_anchor(document: str) -> Anchor:
    """An anchor from its row's document. Raises CertificationError."""
    try:
        value: Mapping[str, Any] = parse_strict(document)
        return _READER.read(value)
    except (FieldError, ValueError) as error:
        raise CertificationError(f"an anchor's document is not one: {error}") from error


_READER = DataclassReader(Anchor)
