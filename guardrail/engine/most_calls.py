"""How many calls to the model a decision makes at most, before it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.plan import measure_geometry, plan_for
from guardrail.errors import CertificationError
from guardrail.oracles.base import ReferenceOracle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.rules import Rules
    from guardrail.images.canvas import CanvasOperator
    from guardrail.oracles.base import Oracle

__all__ = ["most_calls"]


def most_calls(
    rules: Rules, oracle: Oracle, canvases: Sequence[CanvasOperator], alpha: float | None = None
) -> int:
    """The calls of the longest path through a test, and the repeats of one of them.

    A reference, every sample of the plan, and the whole answer that is delivered. Nearly every
    decision ends long before its last sample, which leaves room for more repeats; where it does
    not, the decision ends at its limit of calls.

    Args:
        rules: the policy.
        oracle: judges; one that compares draws a reference first.
        canvases: of the pictures.
        alpha: failure probability of the decision; None for that of the rules.
    """
    one = 1 + rules.retries
    if not canvases:
        return one
    try:
        plan = plan_for(rules, measure_geometry(canvases), alpha=alpha)
    except CertificationError:
        return one  # no test exists, and nothing is drawn
    reference = oracle.n0 if isinstance(oracle, ReferenceOracle) else 0
    return reference + plan.max_samples + one
