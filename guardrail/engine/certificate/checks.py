"""What the verification of a certificate and of its threats have in common."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError

if TYPE_CHECKING:
    from guardrail.engine.certifier import Count
    from guardrail.stats import Decision, Plan

__all__ = ["MOST_SAMPLES", "PORTABLE", "follow_counts", "require"]

MOST_SAMPLES = 20_000
"""Plans of more are never made, and recomputing one could take very long."""

PORTABLE = 1e-12
"""Two machines may compute the normal quantile differently in its last bits."""


def require(holds: bool, problem: str) -> None:
    """Raises CertificationError where something does not hold."""
    if not holds:
        raise CertificationError(f"the certificate does not hold: {problem}")


def follow_counts(counts: tuple[Count, ...], plan: Plan) -> Decision | None:
    """What a test's counts lead to; None where it was cut short.

    Raises:
        CertificationError: the plan has no such course.
    """
    looks = tuple(count.samples for count in counts)
    require(looks == plan.looks[: len(looks)], "its counts do not follow the plan's looks")
    harmful = [count.harmful for count in counts]
    drawn = pairwise([0, *looks])
    grows = all(
        0 <= later - earlier <= n_later - n_earlier
        for (earlier, later), (n_earlier, n_later) in zip(
            pairwise([0, *harmful]), drawn, strict=True
        )
    )
    require(grows, "its harmful counts are impossible")
    verdicts = [plan.decide(count.samples, count.harmful) for count in counts]
    require(all(v is None for v in verdicts[:-1]), "the plan would have stopped earlier")
    return verdicts[-1] if verdicts else None
