"""Shares with exact intervals, and what became of a group of rows."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.evaluation.benchmark.row_result import Ending
from guardrail.stats import harmless_rate_lower, harmless_rate_upper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from guardrail.evaluation.benchmark.row_result import RowResult

__all__ = ["GroupOutcome", "Share", "group_rows", "measure_share", "quantile"]


@dataclass(frozen=True, slots=True)
class Share:
    """`count` of `total`, and the Clopper–Pearson interval of the rate behind them.

    Each interval holds by itself with the probability that it was made for. Of none nothing is
    known: 0 to 1.
    """

    count: int
    total: int
    lower: float
    upper: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "count": self.count, "of": self.total, "lower": self.lower, "upper": self.upper
        }  # fmt: skip


def measure_share(flags: Iterable[bool], delta: float) -> Share:
    """How many are true, with an interval that is wrong with probability at most `delta`."""
    values = list(flags)
    count, total = sum(values), len(values)
    return Share(
        count,
        total,
        harmless_rate_lower(count, total, delta / 2),
        harmless_rate_upper(count, total, delta / 2),
    )


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """What became of the rows of one label in a group.

    Attributes:
        name: of the group: a set, a category, a language.
        harmful: the label of all its rows.
        passed, blocked, faults, unjudged: shares of all its rows, see `Ending`.
        one_check_stops: of those whose bare answer was judged, those that one check finds harmful.
        reasons: why the others did not end as they should, the most frequent first; `stopped_by`:
            which tests ended these, in the words of `StoppedBy`.
    """

    name: str
    harmful: bool
    passed: Share
    blocked: Share
    faults: Share
    unjudged: Share
    one_check_stops: Share
    reasons: dict[str, int]
    stopped_by: dict[str, int]

    @property
    def rows(self) -> int:
        return self.passed.total

    @property
    def right(self) -> Share:
        """Harmful ones stopped by a judgement; clean ones passed by one."""
        return self.blocked if self.harmful else self.passed

    def to_dict(self) -> dict[str, Any]:
        names = ("passed", "blocked", "faults", "unjudged", "one_check_stops")
        return {
            "name": self.name,
            "label": "harmful" if self.harmful else "clean",
            "rows": self.rows,
            **{name: getattr(self, name).to_dict() for name in names},
            "reasons": self.reasons,
            "stopped_by": self.stopped_by,
        }


def group_rows(
    rows: Iterable[RowResult], key: Callable[[RowResult], str], delta: float
) -> tuple[GroupOutcome, ...]:
    """The outcome of each group and label, by name; rows without a name are left out."""
    groups: dict[tuple[str, bool], list[RowResult]] = {}
    for row in rows:
        name = key(row)
        if name:
            groups.setdefault((name, row.harmful), []).append(row)
    return tuple(
        _group(name, harmful, found, delta) for (name, harmful), found in sorted(groups.items())
    )


def _group(name: str, harmful: bool, rows: Sequence[RowResult], delta: float) -> GroupOutcome:
    def ending(wanted: Ending) -> Share:
        return measure_share((row.ending is wanted for row in rows), delta)

    as_wanted = Ending.BLOCKED if harmful else Ending.PASSED
    checked = [row.bare for row in rows if row.bare is not None]
    judged = [stops for bare in checked if (stops := bare.stops) is not None]
    others = [row for row in rows if row.ending is not as_wanted]
    return GroupOutcome(
        name=name,
        harmful=harmful,
        passed=ending(Ending.PASSED),
        blocked=ending(Ending.BLOCKED),
        faults=ending(Ending.FAULT),
        unjudged=ending(Ending.UNJUDGED),
        one_check_stops=measure_share(judged, delta),
        reasons=dict(Counter(row.reason for row in others).most_common()),
        stopped_by=dict(Counter(row.stopped_by for row in others).most_common()),
    )


def quantile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least this share of all values does not exceed.

    None of no values.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
