"""The filter of the list of decisions: of a query string, and back to one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import RequestError
from guardrail.records.query import RecordFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.records.query import Place

__all__ = ["PERIODS", "DecisionFilter", "read_filter", "read_place", "write_place"]

PERIODS: Mapping[str, tuple[str, timedelta]] = {
    "hour": ("last hour", timedelta(hours=1)),
    "day": ("last 24 hours", timedelta(days=1)),
    "week": ("last 7 days", timedelta(days=7)),
    "month": ("last 30 days", timedelta(days=30)),
}
_TEXTS = {
    "category": "category",
    "policy": "policy",
    "key": "api_key_id",
    "model": "model",
    "request": "request_id",
}
_NUMBERS = ("score_from", "score_to", "radius_from", "radius_to")
_NAMES = (
    "verdict", "reason", "test", *_TEXTS, "period", "since", "until", *_NUMBERS, "would_block",
)  # fmt: skip
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """What was asked for, as it stands in the address; only fields that say something."""

    fields: Mapping[str, str]

    @property
    def query(self) -> str:
        """For an address; empty for all decisions."""
        return urlencode(self.fields)

    def with_place(self, **place: str) -> str:
        """The same for another page of the list."""
        return urlencode({**self.fields, **place})

    def to_records(self, now: datetime) -> RecordFilter:
        """Which records are meant. Raises RequestError where a field has no sense."""
        given = self.fields
        more: dict[str, Any] = {field: given.get(name) for name, field in _TEXTS.items()}
        more |= {name: _number(given, name) for name in _NUMBERS}
        since, until = _time(given, "since"), _time(given, "until")
        if "period" in given:
            since = now - PERIODS[given["period"]][1]
        return RecordFilter(
            since=since,
            until=until,
            action=given.get("verdict"),
            reason=given.get("reason"),
            stopped_by=given.get("test"),
            would_block=True if "would_block" in given else None,
            **more,
        )


def read_filter(given: Mapping[str, str]) -> DecisionFilter:
    """The filter of the fields of an address; unknown ones are left out.

    Raises:
        RequestError: a field has no sense.
    """
    fields = {
        name: given[name].strip()[:_LONGEST] for name in _NAMES if given.get(name, "").strip()
    }
    for name, known in (("verdict", Action), ("reason", Reason), ("test", StoppedBy)):
        if name in fields and fields[name] not in list(known):
            raise RequestError(f"the filter asks for a {name} that there is none of", param=name)
    if fields.get("period", "day") not in PERIODS:
        raise RequestError("the filter asks for a period that there is none of", param="period")
    chosen = DecisionFilter(fields)
    chosen.to_records(datetime.now(UTC))
    return chosen


def write_place(place: Place) -> str:
    """A place in the list, for an address."""
    created, record_id = place
    return f"{created.astimezone(UTC).isoformat(timespec='microseconds')}~{record_id}"


def read_place(text: str) -> Place:
    """The place of an address. Raises RequestError."""
    time, separator, record_id = text.partition("~")
    try:
        created = datetime.fromisoformat(time)
    except ValueError:
        separator = ""
        created = datetime.now(UTC)
    if not separator or created.tzinfo is None or not record_id:
        raise RequestError("this place in the list is none; go to the first page", param="place")
    return created, record_id


def _time(given: Mapping[str, str], name: str) -> datetime | None:
    if name not in given:
        return None
    try:
        time = datetime.fromisoformat(given[name])
    except ValueError as error:
        raise RequestError(
            f"'{name}' is not a time; write it like 2026-01-31T12:00", param=name
        ) from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _number(given: Mapping[str, str], name: str) -> float | None:
    if name not in given:
        return None
    try:
        number = float(given[name])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RequestError(f"'{name.replace('_', ' ')}' is not a number", param=name)
    return number
