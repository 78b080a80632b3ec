"""Which decisions a page looks at: the newest, or those of a day or a period.

Days are those of the reader's zone: the page's script sends their bounds as `since` and `until`.
Without a script they are days in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from guardrail.console.decision_filter import PERIODS
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DAYS", "LAST", "MOST_READ", "WINDOWS", "DecisionWindow", "read_times", "read_window"]

LAST = (1_000, 5_000, 20_000)
MOST_READ = LAST[-1]
DAYS: Mapping[str, str] = {"yesterday": "yesterday", "date": "one day"}
WINDOWS: Mapping[str, str] = {
    **{str(most): f"the last {most:,} decisions" for most in LAST},
    "yesterday": DAYS["yesterday"],
    "week": f"the {PERIODS['week'][0]}",
    "date": DAYS["date"],
}
"""What can be chosen where decisions are replayed, in words."""

_LONGEST_DAY = timedelta(hours=26)


@dataclass(frozen=True, slots=True)
class DecisionWindow:
    """The newest decisions, of all or of some time.

    Attributes:
        choice: as in `WINDOWS`; `shadow` for all since a version is in shadow.
        most: at most so many are read.
        since: only those made at this time or later; None for any.
        until: only those made before this time; None for any.
        day: as it was chosen, for the form.
    """

    choice: str
    most: int = MOST_READ
    since: datetime | None = None
    until: datetime | None = None
    day: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """Of a form or an address that asks for the same."""
        times = {"since": self.since, "until": self.until}
        given = {name: time.isoformat() for name, time in times.items() if time is not None}
        return {"span": self.choice, **given, **({"day": self.day} if self.day else {})}


def read_window(given: Mapping[str, str], now: datetime, usual: int = LAST[1]) -> DecisionWindow:
    """The window of a form or an address (`span`, `day`, `since`, `until`).

    Raises:
        RequestError: nothing that can be chosen.
    """
    choice = given.get("span", str(usual))
    if choice not in WINDOWS:
        raise RequestError("choose over how many decisions", param="span")
    if choice == "week":
        # By whole hours, so that the same records are meant when the page asks again.
        hour = now.replace(minute=0, second=0, microsecond=0)
        return DecisionWindow(choice, since=_read_time(given, "since") or hour - PERIODS["week"][1])
    if choice not in DAYS:
        return DecisionWindow(choice, int(choice))
    since, until = read_times(given, choice, now)
    return DecisionWindow(choice, since=since, until=until, day=given.get("day", "")[:10])


def read_times(given: Mapping[str, str], choice: str, now: datetime) -> tuple[datetime, datetime]:
    """From when and until when a period or a day lasts that was chosen.

    Raises:
        RequestError: there is no such choice, or no day is named.
    """
    if choice in PERIODS:
        return now - PERIODS[choice][1], now
    if choice not in DAYS:
        raise RequestError("choose a time of those on the page", param="period")
    since, until = _read_time(given, "since"), _read_time(given, "until")
    if since is None or until is None:
        since = _read_day(given, choice, now)
        until = since + timedelta(days=1)
    if not timedelta() < until - since <= _LONGEST_DAY:
        raise RequestError("this is no day; choose one on the page", param="day")
    return since, until


def _read_day(given: Mapping[str, str], choice: str, now: datetime) -> datetime:
    """When the day begins, in UTC."""
    if choice == "yesterday":
        day = now.astimezone(UTC).date() - timedelta(days=1)
    else:
        try:
            day = date.fromisoformat(given.get("day", ""))
        except ValueError as error:
            raise RequestError("choose the day", param="day") from error
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _read_time(given: Mapping[str, str], name: str) -> datetime | None:
    text = given.get(name, "")
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise RequestError(f"'{name}' is not a time; choose one on the page", param=name) from error
