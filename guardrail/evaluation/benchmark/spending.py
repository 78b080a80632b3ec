"""Calls, dollars and time of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.evaluation.benchmark.row_result import Ending
from guardrail.evaluation.benchmark.shares import quantile
from guardrail.evaluation.recall import add_costs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardrail.evaluation.benchmark.row_result import RowResult
    from guardrail.evaluation.benchmark.set_recall import SetRecall, SetThreats

__all__ = ["Spending", "add_spending"]


@dataclass(frozen=True, slots=True)
class Spending:
    """Calls, dollars and time of decisions, of bare answers or of draws for recall.

    Attributes:
        what: `guarded`, `bare`, `recall` (noisy variants) or `views`.
        requests: how many there were.
        calls: of the model.
        cost_usd: of all; None where a price or a count of tokens is not known.
        p50_s, p95_s: time of one request, in seconds; those that ended in a fault are left out.
    """

    what: str
    requests: int
    calls: int
    cost_usd: float | None
    p50_s: float | None = None
    p95_s: float | None = None


def add_spending(
    rows: Sequence[RowResult], recalls: Sequence[SetRecall], threats: Sequence[SetThreats]
) -> tuple[Spending, ...]:
    """Guarded decisions, bare answers, and draws for recall: of variants, and of views."""
    times = [row.elapsed_s for row in rows if row.ending is not Ending.FAULT]
    found = [
        Spending(
            "guarded", len(rows), sum(row.calls for row in rows),
            _add_all(row.cost_usd for row in rows), quantile(times, 0.5), quantile(times, 0.95),
        )
    ]  # fmt: skip
    bare = [row.bare for row in rows if row.bare is not None]
    if bare:
        times = [one.elapsed_s for one in bare if one.outcome != "fault"]
        found.append(
            Spending(
                "bare", len(bare), sum(one.calls for one in bare),
                _add_all(one.cost_usd for one in bare),
                quantile(times, 0.5), quantile(times, 0.95),
            )
        )  # fmt: skip
    if recalls:
        found.append(
            Spending(
                "recall",
                sum(len(recall.outcome.results) for recall in recalls),
                sum(recall.outcome.calls for recall in recalls),
                _add_all(recall.outcome.cost_usd for recall in recalls),
            )
        )
    if threats:
        outcomes = [one.outcome for one in threats]
        found.append(
            Spending(
                "views",
                sum(len(outcome.results) for outcome in outcomes),
                sum(outcome.calls for outcome in outcomes),
                _add_all(cost for outcome in outcomes for cost in outcome.costs_usd),
            )
        )
    return tuple(found)


def _add_all(costs: Iterable[float | None]) -> float | None:
    total: float | None = 0.0
    for cost in costs:
        total = add_costs(total, cost)
    return total
