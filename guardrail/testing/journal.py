"""Records kept in memory, and what of them is the same wherever a request was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.records.kept_pictures import SealedPicture
    from guardrail.records.record import Record
    from guardrail.types import Json

__all__ = ["MemoryJournal", "comparable"]

_OF_THE_PLACE = frozenset(
    {"record_id", "previous", "digest", "signer", "signature", "route", "request_id"}
)
_OF_THE_TIME = frozenset({"created", "elapsed_s", "overhead_s"})
_OF_THE_MODEL = frozenset({"upstream", "upstream_revision"})  # the way to it, not what it says
_OF_THE_DRAWS = {"attempt", "noise_digest"}  # every decision has noise of its own
_DIFFERENT = _OF_THE_PLACE | _OF_THE_TIME | _OF_THE_MODEL | _OF_THE_DRAWS


class MemoryJournal:
    """A journal that is a list, with one of pictures beside it."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.pictures: list[SealedPicture] = []

    def append_all(
        self, records: Sequence[Record], pictures: Sequence[SealedPicture] = ()
    ) -> list[Record]:
        self.pictures += pictures
        sealed = [record.seal() for record in records]
        self.records += sealed
        return sealed

    def check(self) -> None:
        """Memory can always be written."""

    def close(self) -> None:
        """Nothing to do."""


def comparable(record: Record) -> Json:
    """All that a record says but where, when and by which way to the model."""
    return _without(record.to_dict())


def _without(value: Json) -> Json:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in _DIFFERENT}
    return [_without(item) for item in value] if isinstance(value, list) else value
