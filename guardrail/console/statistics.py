"""What the overview counts of a stretch of time, and how often each key asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.verdict import Action, Reason
from guardrail.records.tables import RECORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from guardrail.database.database import Database

__all__ = ["Group", "Overview", "Slot", "read_key_use", "read_overview"]

_STEPS = {
    # Of each period: how long a column is, and how many characters of a time name it.
    "hour": (timedelta(minutes=1), 16),
    "day": (timedelta(hours=1), 13),
    "week": (timedelta(hours=6), 13),
    "month": (timedelta(days=1), 10),
}
_POSTGRES_FORMS = {16: "YYYY-MM-DD HH24:MI", 13: "YYYY-MM-DD HH24", 10: "YYYY-MM-DD"}
_FORMS = {16: "%Y-%m-%d %H:%M", 13: "%Y-%m-%d %H", 10: "%Y-%m-%d"}
_LATENCIES_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 20, 30, 60, 120, 300)
_INSTANT = timedelta(microseconds=1)
_Times: TypeAlias = tuple[datetime, datetime]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Group:
    """Decisions that are counted together.

    Attributes:
        actions: how many of each verdict.
        would_block: how many were let through by a policy that only observes.
        calls: to models.
        cost_usd: of those decisions whose cost is known.
        unpriced: how many decisions' cost is not known.
    """

    actions: Counter[str] = field(default_factory=Counter)
    would_block: int = 0
    calls: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0

    @property
    def decisions(self) -> int:
        return self.actions.total()

    @property
    def stopped(self) -> int:
        return self.actions[Action.BLOCK]

    @property
    def let_through(self) -> int:
        return self.actions[Action.PASS]

    @property
    def faults(self) -> int:
        return self.actions[Action.FAULT]

    @property
    def known_cost_usd(self) -> float | None:
        """None where not one decision's cost is known."""
        return None if self.unpriced == self.decisions and self.decisions else self.cost_usd

    def share(self, part: int) -> float | None:
        """A part of all decisions; None where there are none."""
        return part / self.decisions if self.decisions else None

    def add(self, row: sa.RowMapping) -> None:
        """Counts the decisions of one row of the query."""
        self.actions[row["action"]] += row["decisions"]
        self.would_block += row["decisions"] if row["would_block"] else 0
        self.calls += row["calls"] or 0
        self.cost_usd += row["cost_usd"] or 0.0
        self.unpriced += row["decisions"] - row["priced"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A column of the chart: when it begins, and what was decided in it."""

    begins: datetime
    group: Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """A stretch of time.

    Attributes:
        all: every decision.
        slots: the same by time, without a gap.
        reasons: by verdict and reason, the most frequent first.
        tests: by the test that ended it without a pass (`StoppedBy`), the most frequent first;
            those that none did are not counted.
        overridden: how many were decided by a person in the guard's place; they count nowhere else.
        categories: harmful answers by kind, the most frequent first.
        policies: by policy and mode.
        versions: by policy and digest, of policies of which several versions decided; the one that
            decided last, first.
        half_s, most_s: within how many seconds half of the decisions, and 95 % of them, were made;
            rounded up to a step of the histogram. None where there are none.
    """

    all: Group
    slots: Sequence[Slot]
    reasons: Sequence[tuple[str, str, int]]
    tests: Sequence[tuple[str, int]]
    categories: Sequence[tuple[str, int]]
    policies: Sequence[tuple[str, str, Group]]
    half_s: float | None
    most_s: float | None
    overridden: int = 0
    versions: Sequence[tuple[str, str, Group]] = ()


def read_overview(
    database: Database, period: str, now: datetime, day: tuple[datetime, datetime] | None = None
) -> Overview:
    """Counts the decisions of the last hour, day, week or month, or those of one day.

    Args:
        database: with records.
        period: `hour`, `day`, `week` or `month`; not looked at where a day is given.
        now: when the period ends.
        day: from when, and until before when.

    Raises:
        StorageError: they cannot be read.
    """
    step, digits = _STEPS["day" if day else period]
    if day is None:
        first = _floor(now, step) - {"hour": 59, "day": 23, "week": 27, "month": 29}[period] * step
        end = now + _INSTANT
    else:
        first, end = day
    with database.read() as connection:
        query = _groups_query((first, end), digits, is_sqlite=database.is_sqlite)
        rows = connection.execute(query).mappings().all()
        times = connection.execute(_times_query((first, end))).all()
    whole, overridden = Group(), 0
    slots: dict[datetime, Group] = {}
    at = _floor(first, step)
    while at < end:
        slots[at] = Group()
        at += step
    reasons, tests, categories = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
    policies: defaultdict[tuple[str, str], Group] = defaultdict(Group)
    versions: defaultdict[tuple[str, str], Group] = defaultdict(Group)
    last: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["reason"] == Reason.OVERRIDE.value:
            overridden += row["decisions"]
            continue
        whole.add(row)
        begins = datetime.strptime(row["slot"], _FORMS[digits]).replace(tzinfo=UTC)
        slots.setdefault(_floor(begins, step), Group()).add(row)
        policies[row["policy"], row["mode"]].add(row)
        version = row["policy"], row["policy_digest"]
        versions[version].add(row)
        last[version] = max(last.get(version, ""), row["slot"])
        reasons[row["action"], row["reason"]] += row["decisions"]
        if row["stopped_by"] != StoppedBy.NONE.value:
            tests[row["stopped_by"]] += row["decisions"]
        if row["category"]:
            categories[row["category"]] += row["decisions"]
    half_s, most_s = _quantiles(times)
    return Overview(
        all=whole,
        slots=[Slot(begins, slots[begins]) for begins in sorted(slots)],
        reasons=[(action, reason, n) for (action, reason), n in reasons.most_common()],
        tests=tests.most_common(),
        categories=categories.most_common(20),
        policies=[(name, mode, one) for (name, mode), one in sorted(policies.items())],
        half_s=half_s,
        most_s=most_s,
        overridden=overridden,
        versions=_list_versions(versions, last),
    )


def _list_versions(
    versions: Mapping[tuple[str, str], Group], last: Mapping[tuple[str, str], str]
) -> list[tuple[str, str, Group]]:
    """Those of policies that have several."""
    several = Counter(name for name, _ in versions)
    newest_first = sorted(versions, key=last.__getitem__, reverse=True)
    return [
        (name, digest, versions[name, digest])
        for name, digest in sorted(newest_first, key=itemgetter(0))
        if several[name] > 1
    ]


def read_key_use(database: Database, since: datetime) -> dict[str, Group]:
    """What each API key asked since a time, by its id. Raises StorageError."""
    # Not the bare column, by whose own index SQLite would else read the rows of all times.
    key_id = sa.func.coalesce(RECORDS.c.api_key_id, "").label("key_id")
    columns = (key_id, RECORDS.c.action, RECORDS.c.would_block)
    query = (
        sa.select(*columns, *_sums())
        .where(RECORDS.c.created >= since)
        .group_by(sa.text("1"), *columns[1:])
    )
    found: defaultdict[str, Group] = defaultdict(Group)
    with database.read() as connection:
        for row in connection.execute(query).mappings():
            found[row["key_id"]].add(row)
    return dict(found)


def _groups_query(times: _Times, digits: int, *, is_sqlite: bool) -> sa.Select[Any]:
    """All of it is answered by the index `records_overview`."""
    if is_sqlite:
        # Times are kept there as texts that begin with the day.
        slot = sa.func.substr(sa.type_coerce(RECORDS.c.created, sa.Text), 1, digits)
    else:
        utc = sa.func.timezone("UTC", RECORDS.c.created)
        slot = sa.func.to_char(utc, _POSTGRES_FORMS[digits])
    columns = [
        RECORDS.c[name]
        for name in (
            "policy", "policy_digest", "mode", "action", "reason", "stopped_by", "category",
            "would_block",
        )
    ]  # fmt: skip
    query = sa.select(slot.label("slot"), *columns, *_sums())
    # The number of the column, as PostgreSQL takes two texts with parameters for different ones.
    return query.where(*_made_in(times)).group_by(sa.text("1"), *columns)


def _made_in(times: _Times) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return RECORDS.c.created >= times[0], RECORDS.c.created < times[1]


def _sums() -> list[sa.Label[Any]]:
    return [
        sa.func.count().label("decisions"),
        sa.func.sum(RECORDS.c.calls).label("calls"),
        sa.func.sum(RECORDS.c.cost_usd).label("cost_usd"),
        sa.func.count(RECORDS.c.cost_usd).label("priced"),
    ]


def _times_query(times: _Times) -> sa.Select[Any]:
    """How many decisions took at most so long."""
    steps = [(RECORDS.c.elapsed_s <= most, number) for number, most in enumerate(_LATENCIES_S)]
    step = sa.case(*steps, else_=len(_LATENCIES_S)).label("step")
    query = sa.select(step, sa.func.count()).where(*_made_in(times))
    query = query.where(RECORDS.c.reason != Reason.OVERRIDE.value)
    return query.where(RECORDS.c.action != Action.FAULT.value).group_by(sa.text("1"))


def _quantiles(times: Iterable[Any]) -> tuple[float | None, float | None]:
    counts = Counter(dict(times))
    total = counts.total()

    def within(share: float) -> float | None:
        seen = 0
        for number, most in enumerate(_LATENCIES_S):
            seen += counts[number]
            if seen and seen >= share * total:
                return most
        return float("inf") if total else None

    return within(0.5), within(0.95)


def _floor(time: datetime, step: timedelta) -> datetime:
    """The beginning of the step that a time is in."""
    return time - (time - _EPOCH) % step
