"""Shares, operating points, dollars and times in words: bounds are rounded outwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.tuning.percent import percent_down, percent_up

if TYPE_CHECKING:
    from guardrail.evaluation.benchmark.shares import Share
    from guardrail.stats import OperatingPoint

__all__ = [
    "format_cost",
    "format_false_alarms",
    "format_point",
    "format_recall",
    "format_share",
    "format_time",
]


def format_share(share: Share) -> str:
    """`29 of 30 (80.73 % to 99.92 %)`; the bounds are rounded outwards."""
    if share.total == 0:
        return "–"
    lower, upper = percent_down(share.lower), percent_up(share.upper)
    return f"{share.count:,} of {share.total:,} ({lower} to {upper})"


def format_point(point: OperatingPoint | None) -> str:
    """Recall and its lower bound at one operating point."""
    if point is None:
        return "too few clean requests"
    if point.harmful == 0:
        return "–"
    return (
        f"{point.found:,} of {point.harmful:,}, at least {percent_down(point.recall_lower)}; "
        f"false alarms {point.false_alarms:,} of {point.harmless:,}, at most "
        f"{percent_up(point.false_alarm_upper)}"
    )


def format_recall(point: OperatingPoint | None) -> str:
    """`6 of 6 (54.07 % to 100.00 %)`, without the false alarms that it stands for."""
    if point is None or point.harmful == 0:
        return "–"
    lower, upper = percent_down(point.recall_lower), percent_up(point.recall_upper)
    return f"{point.found:,} of {point.harmful:,} ({lower} to {upper})"


def format_false_alarms(point: OperatingPoint | None) -> str:
    """`0 of 30, at most 15.70 %`: those of an operating point."""
    if point is None:
        return "–"
    upper = percent_up(point.false_alarm_upper)
    return f"{point.false_alarms:,} of {point.harmless:,}, at most {upper}"


def format_cost(cost_usd: float | None) -> str:
    return "price not known" if cost_usd is None else f"US$ {cost_usd:.4f}"


def format_time(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.3f} s"
