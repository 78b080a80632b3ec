"""How many calls to the model a decision makes at most, before it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.engine.plan import measure_geometry, plan_for, view_plan_for
from guardrail.engine.threats import plan_views
from guardrail.errors import CertificationError
from guardrail.oracles.base import ReferenceOracle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.rules import Rules
    from guardrail.images.canvas import CanvasOperator
    from guardrail.oracles.base import Oracle

__all__ = ["most_calls", "most_view_calls"]


def most_calls(
    rules: Rules, oracle: Oracle, canvases: Sequence[CanvasOperator], alpha: float | None = None
) -> int:
    """The calls of the longest path through a test, and the repeats of one of them.

    A reference, every sample of the plans, and the whole answer that is delivered. Nearly every
    decision ends long before its last sample, which leaves room for more repeats; where it does
    not, the decision ends at its limit of calls.

    Args:
        rules: the policy.
        oracle: judges; one that compares draws a reference first.
        canvases: of the pictures.
        alpha: failure probability of the decision; None for that of the rules.
    """
    one = 1 + rules.retries
    if not rules.tests(len(canvases)):
        return one
    try:
        of_views = most_view_calls(rules, [canvas.source_size for canvas in canvases], alpha)
        plan = plan_for(rules, measure_geometry(canvases), alpha=alpha) if canvases else None
    except CertificationError:
        return one  # no test exists, and nothing is drawn
    reference = oracle.n0 if isinstance(oracle, ReferenceOracle) else 0
    return reference + (0 if plan is None else plan.max_samples) + of_views + one


def most_view_calls(
    rules: Rules, sizes: Sequence[tuple[int, int]], alpha: float | None = None
) -> int:
    """The same of views alone, and of a request without pictures that is tested like them.

    It is for the longest text. A shorter one has fewer views, and hence a plan of no more samples
    than another number of views would have; the longest of these plans is taken.

    Args:
        rules: the policy.
        sizes: heights and widths of the pictures, in pixels.
        alpha: see `most_calls`.

    Raises:
        CertificationError: a picture is too small, or no test exists.
    """
    threats = rules.threats
    if threats is None or not rules.tests(len(sizes)):
        return 0
    views = len(plan_views(threats, sizes))
    tests = views if sizes else views + 1
    fewest = max(1, tests if threats.suffix is None else tests - threats.suffix.most - 1)
    plans = [
        view_plan_for(rules, threats, number, alpha=alpha).max_samples
        for number in range(fewest, tests + 1)
    ]
    return tests * max(plans, default=0)
