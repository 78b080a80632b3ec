"""The guard beside others: what each ruled on the same requests, computed by the same code.

Requests are matched by their names (`sample_id`). One counts only if every report rules on it, so
that all lines are about the same requests; a name that stands for several requests matches none,
and neither does one whose report says by a digest that it was another request.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError
from guardrail.evaluation.benchmark.false_alarms import (
    FALSE_ALARM_RATE,
    describe_point,
    measure_point,
    ordinary_rows,
)
from guardrail.evaluation.benchmark.guard_report import unruled_report
from guardrail.evaluation.benchmark.report_forms import read_guard_report
from guardrail.evaluation.benchmark.shares import measure_share
from guardrail.stats import recall_lower

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from guardrail.evaluation.benchmark.guard_report import Certified, GuardReport, Ruling
    from guardrail.evaluation.benchmark.row_result import RowResult
    from guardrail.evaluation.benchmark.shares import Share
    from guardrail.stats import OperatingPoint

__all__ = [
    "Beside",
    "CertifiedShare",
    "GuardLine",
    "count_others",
    "match_names",
    "read_reports",
]


@dataclass(frozen=True, slots=True)
class CertifiedShare:
    """Of one set, what is shown held in one column.

    Attributes:
        extent: how much of the threat, or within which radius, in words.
        shown: requests that are shown held, of `requests` that were measured.
        recall_lower: of requests drawn like them, at least this share is held. The columns of a
            family (the floors of pixels; the threats) hold together.
    """

    extent: str
    shown: int
    requests: int
    recall_lower: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "extent": self.extent,
            "shown_held": self.shown,
            "requests": self.requests,
            "recall_lower": self.recall_lower,
        }


@dataclass(frozen=True, slots=True)
class GuardLine:
    """What one guard did on the harmful requests of one set, and on clean ones beside them.

    Attributes:
        guard: whose line it is.
        passed: of the ordinary clean requests.
        stopped: of the harmful ones.
        point: recall at few false alarms; None where there are no clean requests.
        certified: by column; empty for guards that certify nothing.
    """

    guard: GuardReport
    passed: Share
    stopped: Share
    point: OperatingPoint | None
    certified: Mapping[Certified, CertifiedShare]


@dataclass(frozen=True)
class Beside:
    """Several guards on the requests that all of them ruled on.

    Attributes:
        own: the guard of the evaluation, then one check of the bare answer where it was asked.
        others: those of the reports.
        rows: every decided row, which says what is harmful and of which set.
        delta: probability, at most, that any one interval is wrong.
    """

    own: tuple[GuardReport, ...]
    others: tuple[GuardReport, ...]
    rows: tuple[RowResult, ...]
    delta: float

    @property
    def guards(self) -> tuple[GuardReport, ...]:
        return (*self.own, *self.others)

    @cached_property
    def names(self) -> frozenset[str]:
        """Of the requests that all ruled on."""
        return match_names(self.own[0], self.others)

    @cached_property
    def matched(self) -> tuple[RowResult, ...]:
        """The rows of these names."""
        return tuple(row for row in self.rows if row.name in self.names)

    @cached_property
    def ordinary(self) -> tuple[RowResult, ...]:
        """Those of `matched` that false alarms are counted on."""
        return ordinary_rows(self.matched)

    @property
    def harmful_sets(self) -> tuple[str, ...]:
        return tuple(sorted({row.set_name for row in self.matched if row.harmful}))

    @property
    def other_clean_sets(self) -> tuple[str, ...]:
        """Sets with clean rows that are no ordinary ones."""
        clean = {row.set_name for row in self.matched if not row.harmful}
        return tuple(sorted(clean - {row.set_name for row in self.ordinary}))

    def line(self, guard: GuardReport, set_name: str) -> GuardLine:
        """What a guard did on the harmful rows of a set."""
        harmful = [row for row in self.matched if row.harmful and row.set_name == set_name]
        clean, bad = _rulings(guard, self.ordinary), _rulings(guard, harmful)
        return GuardLine(
            guard=guard,
            passed=measure_share((ruling.stopped is False for ruling in clean), self.delta),
            stopped=measure_share((ruling.stopped is True for ruling in bad), self.delta),
            point=measure_point(
                (ruling.score for ruling in clean),
                (ruling.score for ruling in bad),
                delta=self.delta,
            ),
            certified=self._certify(guard, bad),
        )

    def passed(self, guard: GuardReport, set_name: str) -> Share:
        """How many clean rows of a set a guard passed."""
        clean = [row for row in self.matched if not row.harmful and row.set_name == set_name]
        flags = (ruling.stopped is False for ruling in _rulings(guard, clean))
        return measure_share(flags, self.delta)

    def _certify(
        self, guard: GuardReport, rulings: Sequence[Ruling]
    ) -> dict[Certified, CertifiedShare]:
        found: dict[Certified, CertifiedShare] = {}
        for column, claim in guard.claims.items():
            flags = [one.shown_held[column] for one in rulings if column in one.shown_held]
            if flags:
                shown, count = sum(flags), len(flags)
                delta = self.delta / claim.family
                lower = recall_lower(shown, count, delta, claim.beta)
                found[column] = CertifiedShare(claim.extent, shown, count, lower)
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "requests": len(self.matched),
            "false_alarm_rate": FALSE_ALARM_RATE,
            "guards": [self._describe(guard) for guard in self.guards],
        }

    def _describe(self, guard: GuardReport) -> dict[str, Any]:
        matched, others = count_others(self.own[0], guard)
        return {
            "name": guard.name,
            "report": guard.source,
            "rulings": len(guard.rulings) + guard.ambiguous,
            "matched": matched,
            "other_requests": others,
            "ambiguous": guard.ambiguous,
            "harmful_sets": [_describe_line(self.line(guard, name), name)
                             for name in self.harmful_sets],
            "other_clean_sets": [
                {"set": name, "passed": self.passed(guard, name).to_dict()}
                for name in self.other_clean_sets
            ],
        }  # fmt: skip


def match_names(own: GuardReport, others: Iterable[GuardReport]) -> frozenset[str]:
    """The names that stand for one and the same request in every report."""
    names = set(own.rulings)
    for other in others:
        names = {name for name in names if _is_same(own, other, name)}
    return frozenset(names)


def read_reports(
    paths: Sequence[Path], dataset: str, requests: Sequence[tuple[str, str]]
) -> tuple[GuardReport, ...]:
    """The reports of other guards, looked at before any request is decided.

    Args:
        paths: see `read_guard_report`; `dataset` likewise.
        dataset: what the present data are called as a dataset.
        requests: digest (hex) and name of each that will be decided.

    Raises:
        ConfigError: a report cannot be read, or no request is in all of them.
    """
    others = tuple(read_guard_report(path, dataset) for path in paths)
    own = unruled_report(requests)
    for other in others:
        if not match_names(own, [other]):
            raise ConfigError(
                f"the report '{other.source}' rules on none of the requests here by their names; "
                "the field id of a row is what sample_id is there"
            )
    if not match_names(own, others):
        raise ConfigError("no request here is in all of the reports; give fewer of them at a time")
    return others


def count_others(own: GuardReport, other: GuardReport) -> tuple[int, int]:
    """How many names of ours a report rules on, and on how many it had another request."""
    common = own.rulings.keys() & other.rulings.keys()
    same = sum(_is_same(own, other, name) for name in common)
    return same, len(common) - same


def _is_same(own: GuardReport, other: GuardReport, name: str) -> bool:
    """Whether both rule on it; by the requests' digests where both reports have them."""
    if name not in other.rulings:
        return False
    first, second = own.rulings[name].digest, other.rulings[name].digest
    return not (first and second) or first == second


def _rulings(guard: GuardReport, rows: Iterable[RowResult]) -> list[Ruling]:
    return [guard.rulings[row.name] for row in rows]


def _describe_line(line: GuardLine, set_name: str) -> dict[str, Any]:
    return {
        "set": set_name,
        "clean_passed": line.passed.to_dict(),
        "harmful_stopped": line.stopped.to_dict(),
        "recall_at_false_alarms": describe_point(line.point),
        "certified_recall": [
            {"threat": column.threat, "floor": column.floor, **share.to_dict()}
            for column, share in line.certified.items()
        ],
    }
