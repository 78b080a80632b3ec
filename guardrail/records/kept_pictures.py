"""Pictures that are kept beside records: sealed, in a table of their own, and opened again.

A picture is kept as the bytes that were sent, which nobody has made harmless: whoever shows one
decodes it and shows the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError, ConfigError
from guardrail.records.content import digest_content
from guardrail.records.record import Omission, PictureRecord, Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.database.database import Database
    from guardrail.records.content import ContentKeys
    from guardrail.records.sent_pictures import HeldPicture

__all__ = [
    "NewRecord",
    "SealedPicture",
    "find_pictures",
    "read_picture",
    "seal_pictures",
]


@dataclass(frozen=True, slots=True)
class SealedPicture:
    """A picture of a record, `number` from 0 in the order of the request."""

    record_id: str
    number: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record that is not chained yet, and the pictures that are to be kept with it."""

    record: Record
    pictures: tuple[SealedPicture, ...] = ()


def seal_pictures(
    sent: Sequence[HeldPicture | Omission], keys: ContentKeys, record_id: str
) -> tuple[tuple[PictureRecord, ...], tuple[SealedPicture, ...]]:
    """What the record says of each picture, and those that are kept."""
    told, kept = [], []
    for number, one in enumerate(sent):
        if isinstance(one, Omission):
            told.append(PictureRecord(omitted=one))
            continue
        sealed = keys.seal_bytes(one.data, _name(record_id, number))
        told.append(PictureRecord(digest=digest_content(sealed)))
        kept.append(SealedPicture(record_id, number, sealed))
    return tuple(told), tuple(kept)


def find_pictures(database: Database, record_id: str) -> frozenset[int]:
    """The numbers of a record's pictures that are there: kept, and not erased since."""
    import sqlalchemy as sa

    from guardrail.records.tables import PICTURES

    query = sa.select(PICTURES.c.number).where(PICTURES.c.record_id == record_id)
    with database.read() as connection:
        return frozenset(connection.execute(query).scalars())


def read_picture(
    database: Database, record: Record, number: int, keys: ContentKeys | None
) -> bytes | None:
    """A picture as it was sent: bytes of a stranger.

    Returns:
        None where it is not there: never kept, or erased.

    Raises:
        ConfigError: there is no key, or another one.
        CertificationError: it is not the one that was kept.
    """
    import sqlalchemy as sa

    from guardrail.records.tables import PICTURES

    if not 0 <= number < len(record.kept_pictures):
        return None
    query = sa.select(PICTURES.c.sealed).where(
        PICTURES.c.record_id == record.record_id, PICTURES.c.number == number
    )
    with database.read() as connection:
        sealed = connection.execute(query).scalar_one_or_none()
    if sealed is None:
        return None
    if keys is None:
        raise ConfigError("the records' pictures are sealed; give their key with --content-key")
    if record.kept_pictures[number].digest != digest_content(sealed):
        raise CertificationError(
            f"picture {number + 1} of record {record.record_id} is not the one that was kept"
        )
    return keys.open_bytes(sealed, _name(record.record_id, number))


def _name(record_id: str, number: int) -> str:
    """What a picture is sealed for, so that it can stand in no other place."""
    return f"{record_id}/picture/{number}"
