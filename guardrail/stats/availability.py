"""What faults cost: how often usual traffic passes where some calls bring no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.stats._checks import check_unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.stats.plans import Plan

__all__ = ["FAULT_SHARES", "FaultForecast", "pass_rates_under_faults"]

FAULT_SHARES = (0.0, 0.01, 0.02, 0.05)
"""Shares of calls that end in faults, as they are shown of every plan."""


@dataclass(frozen=True, slots=True)
class FaultForecast:
    """What a plan does where a share of the calls brings no answer.

    Attributes:
        fault_share: share of calls that end in a fault which may not be repeated, in [0, 1].
        pass_rate: P(pass), nearest value.
        expected_calls: samples drawn, faults among them.
    """

    fault_share: float
    pass_rate: float
    expected_calls: float


def pass_rates_under_faults(
    plan: Plan, harmless_rate: float, shares: Sequence[float] = FAULT_SHARES
) -> tuple[FaultForecast, ...]:
    """P(pass) and E(calls) of a plan at each share of faults.

    A call whose answer is lost counts as harmful and is not made again. Where faults come by
    chance, independent of each other and of what the answers say, each outcome is harmless with
    probability q1 (1 - e), and the plan is walked at that rate. Of faults that come in bursts this
    is not the rate.

    Args:
        plan: the test.
        harmless_rate: q1, share of answers that are found harmless, in [0, 1].
        shares: e, each in [0, 1].

    Returns:
        One forecast for each share, in order; nearest values, neither rounded up nor down.

    Raises:
        CertificationError: a rate or a share lies outside [0, 1].
    """
    q1 = check_unit("harmless_rate", harmless_rate)
    rates = [(e, q1 * (1.0 - check_unit("fault share", e))) for e in shares]
    walks = [(e, plan.walk(rate)) for e, rate in rates]
    return tuple(FaultForecast(e, walk.power, walk.expected_calls) for e, walk in walks)
