"""A finished evaluation: what was measured, added up, and as one JSON object."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guardrail.evaluation.benchmark.beside import Beside
from guardrail.evaluation.benchmark.false_alarms import (
    FALSE_ALARM_RATE,
    describe_point,
    measure_point,
    ordinary_rows,
)
from guardrail.evaluation.benchmark.report_forms import reports_of
from guardrail.evaluation.benchmark.row_result import Ending
from guardrail.evaluation.benchmark.set_recall import PIXELS
from guardrail.evaluation.benchmark.shares import group_rows
from guardrail.evaluation.benchmark.spending import add_spending
from guardrail.evaluation.benchmark.usefulness import measure_usefulness

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.evaluation.benchmark.guard_report import GuardReport
    from guardrail.evaluation.benchmark.row_result import RowResult
    from guardrail.evaluation.benchmark.set_recall import SetRecall, SetThreats
    from guardrail.evaluation.benchmark.shares import GroupOutcome
    from guardrail.evaluation.benchmark.spending import Spending
    from guardrail.evaluation.benchmark.usefulness import Usefulness
    from guardrail.stats import OperatingPoint

__all__ = ["Evaluation", "Identity"]

_FORM = 1
"""Raised whenever a field of the JSON form changes its meaning."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What was evaluated, on what, and how; enough to do it again.

    Attributes:
        data, data_digest: name and SHA-256 (hex) of the rows.
        rows, clusters: rows that can be used, and families of near-copies among them.
        left_out: rows that cannot.
        seed: of the draw of one row from each cluster.
        delta: probability, at most, that any one interval is wrong, and the curves of recall alike.
        comparer: what compared answers; empty where the bare model was not asked.
    """

    policy: str
    policy_digest: str
    claim: str
    alpha: float
    sigma: float
    model: str
    upstream: str
    upstream_revision: str
    oracle_revision: str
    data: str
    data_digest: str
    rows: int
    clusters: int
    left_out: tuple[str, ...]
    seed: int
    delta: float
    comparer: str
    code_version: str
    created: str


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured.

    Attributes:
        identity: of what.
        results: one for each drawn row.
        recalls: certified recall against changes of pixels, by set.
        threats: the same against the policy's threats beside them, by set.
        recall_left_out: why there are no `recalls`; empty where there are.
        threats_left_out: likewise of `threats`.
        reports: of other guards, to be set beside this one.
    """

    identity: Identity
    results: tuple[RowResult, ...]
    recalls: tuple[SetRecall, ...]
    threats: tuple[SetThreats, ...]
    recall_left_out: str
    threats_left_out: str
    reports: tuple[GuardReport, ...] = ()

    @cached_property
    def sets(self) -> tuple[GroupOutcome, ...]:
        return group_rows(self.results, lambda row: row.set_name, self.identity.delta)

    @cached_property
    def categories(self) -> tuple[GroupOutcome, ...]:
        return group_rows(self.results, lambda row: row.category, self.identity.delta)

    @cached_property
    def languages(self) -> tuple[GroupOutcome, ...]:
        return group_rows(self.results, lambda row: row.language, self.identity.delta)

    @cached_property
    def totals(self) -> tuple[GroupOutcome, ...]:
        """All clean rows and all harmful ones."""
        return group_rows(self.results, lambda _: "all", self.identity.delta)

    @cached_property
    def ordinary(self) -> tuple[RowResult, ...]:
        """See `ordinary_rows`."""
        return ordinary_rows(self.results)

    @cached_property
    def usefulness(self) -> tuple[Usefulness, ...]:
        """Of each set with clean rows; empty where the bare model was not asked."""
        if not self.identity.comparer:
            return ()
        names = sorted({row.set_name for row in self.results if not row.harmful})
        clean = [row for row in self.results if not row.harmful]
        return tuple(
            measure_usefulness(name, [r for r in clean if r.set_name == name], self.identity.delta)
            for name in names
        )

    @cached_property
    def spending(self) -> tuple[Spending, ...]:
        return add_spending(self.results, self.recalls, self.threats)

    def operating_point(
        self, set_name: str, *, guarded: bool, shown: bool = False
    ) -> OperatingPoint | None:
        """Recall of a set's harmful rows at few false alarms among the `ordinary` ones.

        Args:
            set_name: whose harmful rows.
            guarded: by the guard's scores, else by one check of the bare answer.
            shown: see `recall_at_false_alarms`.
        """
        harmful = [row for row in self.results if row.harmful and row.set_name == set_name]

        def score(row: RowResult) -> float | None:
            if guarded:
                return row.score
            return None if row.bare is None else row.bare.check_score

        return measure_point(
            map(score, self.ordinary), map(score, harmful), delta=self.identity.delta, shown=shown
        )

    def shown_held(self, row: RowResult) -> dict[str, Any]:
        """What a row was shown held against, for JSON; empty where it was not measured.

        `pixels`: at which floors' radii; each threat: whether. It counts in shares of many rows,
        and is no certificate of one.
        """
        facts: dict[str, Any] = {}
        if not row.harmful:
            return facts
        for recall in self.recalls:
            if recall.set_name == row.set_name and row.digest in recall.shown_at:
                shown = recall.shown_at[row.digest]
                facts[PIXELS] = [floor for floor, is_shown in shown.items() if is_shown]
        for threats in self.threats:
            if threats.set_name == row.set_name:
                shown_against = threats.shown_against.get(row.digest, {})
                facts |= {str(against): shown for against, shown in shown_against.items()}
        return facts

    @property
    def harmful_sets(self) -> tuple[str, ...]:
        return tuple(sorted({row.set_name for row in self.results if row.harmful}))

    @property
    def missed(self) -> tuple[RowResult, ...]:
        """Harmful rows of which an answer left."""
        left = (Ending.PASSED, Ending.UNJUDGED)
        return tuple(row for row in self.results if row.harmful and row.ending in left)

    @property
    def stopped_clean(self) -> tuple[RowResult, ...]:
        """Clean rows of which none left."""
        none = (Ending.BLOCKED, Ending.FAULT)
        return tuple(row for row in self.results if not row.harmful and row.ending in none)

    @cached_property
    def beside(self) -> Beside | None:
        """This guard beside those of the reports; None without any."""
        if not self.reports:
            return None
        # Read as other evaluations are, so that one code computes every line.
        own = reports_of(self._facts)
        return Beside(own, self.reports, self.results, self.identity.delta)

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Names of rows are in it, nothing of what they ask or were answered."""
        beside = self.beside
        return {**self._facts, "beside": None if beside is None else beside.to_dict()}

    @cached_property
    def _facts(self) -> dict[str, Any]:
        """All of `to_dict` but other guards."""
        return {
            "type": "guardrail-evaluation",
            "form": _FORM,
            **dataclasses.asdict(self.identity),
            "decided": len(self.results),
            "totals": [group.to_dict() for group in self.totals],
            "sets": [group.to_dict() for group in self.sets],
            "categories": [group.to_dict() for group in self.categories],
            "languages": [group.to_dict() for group in self.languages],
            "certified_recall": [
                *(recall.to_dict() for recall in self.recalls),
                *(one for threats in self.threats for one in threats.to_dicts()),
            ],
            "certified_recall_left_out": self.recall_left_out,
            "threats_left_out": self.threats_left_out,
            "recall_at_false_alarms": [
                point for name in self.harmful_sets for point in self._points(name)
            ],
            "usefulness": [one.to_dict() for one in self.usefulness],
            "spending": [dataclasses.asdict(one) for one in self.spending],
            "requests": [self._describe_row(row) for row in self.results],
            "harmful_that_left": _names(self.missed),
            "clean_that_did_not": _names(self.stopped_clean),
        }

    def _describe_row(self, row: RowResult) -> dict[str, Any]:
        """What another evaluation compares itself with by the row's name, see `GuardReport`."""
        bare = row.bare
        return {
            "id": row.name,
            "digest": row.digest,
            "set": row.set_name,
            "label": "harmful" if row.harmful else "clean",
            "ending": row.ending.value,
            "score": row.score,
            "one_check": bare and {"stopped": bare.stops, "score": bare.check_score},
            "shown_held": self.shown_held(row),
        }

    def _points(self, set_name: str) -> list[dict[str, Any]]:
        asked = bool(self.identity.comparer)
        return [
            {
                "set": set_name,
                "by": "guard" if guarded else "one check",
                "rate": FALSE_ALARM_RATE,
                "rate_shown": shown,
                "point": describe_point(
                    self.operating_point(set_name, guarded=guarded, shown=shown)
                ),
            }
            for guarded in (True, False)[: 1 + asked]
            for shown in (False, True)
        ]


def _names(rows: Iterable[RowResult]) -> list[dict[str, str]]:
    return [
        {
            "name": row.name,
            "set": row.set_name,
            "category": row.category,
            "reason": row.reason,
            "stopped_by": row.stopped_by,
        }
        for row in rows
    ]
