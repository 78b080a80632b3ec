"""What tries cost a principal whose tries share alpha."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.plan import UNSCALED, plan_for
from guardrail.errors import CertificationError
from guardrail.stats import spending_level, spent_alpha

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.engine.rules import Rules

__all__ = ["SpendingCost", "spending_costs"]


@dataclass(frozen=True, slots=True)
class SpendingCost:
    """What a try that holds the number `k` costs.

    Attributes:
        k: the number.
        level: k rounded up, which sets alpha.
        alpha: failure probability of the try.
        expected_calls: of ordinary traffic (`expected_harmless_rate`), for a picture that fits the
            canvas; None where no test fits `max_samples`, so that the try is answered 429.
    """

    k: int
    level: int
    alpha: float
    expected_calls: float | None


def spending_costs(rules: Rules, ks: Iterable[int] = (1, 16, 64, 256)) -> tuple[SpendingCost, ...]:
    """What tries cost a principal that holds all smaller numbers already."""
    return tuple(_cost(rules, k) for k in ks)


def _cost(rules: Rules, k: int) -> SpendingCost:
    alpha = spent_alpha(rules.alpha, k)
    try:
        plan = plan_for(rules, UNSCALED, alpha=alpha)
    except CertificationError:
        calls = None
    else:
        calls = plan.expected_calls_at(rules.expected_harmless_rate)
    return SpendingCost(k, spending_level(k), alpha, calls)
