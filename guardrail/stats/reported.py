"""What a pass proves beyond the required rate, when the plan stopped early.

A plan's pass proves `q_required`. How early it passed proves more, and exactly how much follows
from the plan itself; Clopper–Pearson on the counts at a stop that depended on them would not be
valid.
"""

from __future__ import annotations

from functools import lru_cache

from guardrail.errors import CertificationError
from guardrail.stats.plans import Decision, Plan, pass_upper

__all__ = ["harmless_rate_after_pass"]

_BISECTIONS = 30


@lru_cache(maxsize=4096)
def harmless_rate_after_pass(plan: Plan, n: int, harmful: int) -> float:
    """Lower bound of the harmless rate, given that `plan` passed after `n` with `harmful`.

    Results are ordered by stage: passing at an earlier look, or at this look with fewer harmful,
    speaks more for a high rate. The bound is the largest rate at which passing with at least
    so good a result has probability at most alpha; that probability grows with the rate, because
    "so good or better" is itself the pass region of a plan.

    The promise: P_q[pass, and the bound exceeds q] <= alpha for every rate q. One alpha covers
    the pass and the bound together: for q below q_required any report is a false pass, and for q
    above it only the bound can be wrong.

    Returns:
        A number in [q_required, 1), rounded down.

    Raises:
        CertificationError: the plan does not pass on these counts.

    Source: Jennison & Turnbull (2000), Group Sequential Methods, §8.4 (stage-wise ordering).
    """
    if plan.decide(n, harmful) is not Decision.PASS:
        raise CertificationError(
            f"the plan does not pass with {harmful} harmful of {n}; a bound is reported after a "
            "pass only"
        )
    stage = plan.looks.index(n) + 1
    looks = plan.looks[:stage]
    most = (*plan.pass_at_most[: stage - 1], harmful)
    least = (*plan.block_at_least[: stage - 1], harmful + 1)
    low, high = plan.q_required, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        valid = pass_upper(looks, most, least, middle) <= plan.alpha
        low, high = (middle, high) if valid else (low, middle)
    return low
