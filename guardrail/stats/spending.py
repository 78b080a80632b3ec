"""Spending alpha over the tries of one principal.

A request that is changed by one pixel draws anew, so N tries at the same alpha pass falsely with
probability up to N · alpha. Here the tries of one principal share one alpha, however many they are.
"""

from __future__ import annotations

import math

from guardrail.stats._checks import check_count, check_open_unit

__all__ = ["spending_level", "spent_alpha"]


def spent_alpha(alpha: float, k: int) -> float:
    """The failure probability at which a try that holds the number k is judged.

    alpha_k = 6 · alpha / (pi² · k̄²), where k̄ >= k is k rounded up by `spending_level`. k is the
    smallest number that none of the principal's decisions of the window holds. A try takes k before
    its first draw and gives it back only by passing: while it is under way, and for a window after
    it has ended in any other way, k is held. What is held is k itself, never k̄: a try at k̄ that
    took up all numbers from k to k̄ would make later tries cost more and protect nobody.

    The promise, for one principal and all decisions that begin in any one period as long as the
    window, whatever the principal chooses in the light of all that went before:

        P[any false pass] <= sum over k of alpha_k <= alpha,
        E[falsely passed decisions] <= alpha / (1 - alpha).

    M principals: M times as much. A false pass is a pass of a request whose harmless rate is below
    what the plan tests; each try is a test whose false-pass probability is at most its own alpha,
    given everything that came before its first draw.

    Proof. Call a try bad if its request's harmless rate is below what is tested. Take the tries of
    the period that hold one number k; no two of them hold it at the same time, so they have an
    order. The first bad one among them passes with probability at most alpha_k. If it does not pass
    it holds k beyond the end of the period, and no later try of the period holds k. If it passes, k
    is free again, and the next bad one is in the same position. So the number of false passes that
    held k is at least j with probability at most alpha_k^j: any at all with probability at most
    alpha_k, and alpha_k / (1 - alpha_k) of them in expectation. Tries that should pass change
    nothing: one that passes gives k back, one that does not takes k away from the bad ones. Add up
    over k: sum of alpha_k <= (6 / pi²) · alpha · (sum of 1 / k²) = alpha, since k̄ >= k; and
    alpha_k / (1 - alpha_k) <= alpha_k / (1 - alpha). The bad tries need not be independent, and any
    number of tries may run side by side, each with a number of its own. A try that ended before it
    drew anything cannot have passed falsely, and may give k back as well. ∎

    It does not hold where tries are forgotten (a ledger that is lost when its process ends, or
    that drops entries when it is full), or where one attacker is counted as many principals.

    Args:
        alpha: failure probability of the policy, in (0, 1).
        k: the number that the try holds, >= 1.

    Returns:
        A number in [0, alpha), rounded down; 6 / pi² = .61 of alpha at k = 1.

    Raises:
        CertificationError: an argument is outside its range.
    """
    alpha = check_open_unit("alpha", alpha)
    level = spending_level(k)
    share = math.nextafter(6.0 / (math.pi * math.pi) / (level * level), 0.0)
    return math.nextafter(alpha * math.nextafter(share, 0.0), 0.0)


def spending_level(k: int) -> int:
    """k̄: `k` rounded up to 1, 2, 3, 4, 6, 8, 12, 16, 24, … so that a few cached plans serve all.

    That is a power of two, or three times one, and less than 1.5 · k.

    Raises:
        CertificationError: `k` is not an integer of at least 1.
    """
    k = check_count("k", k, least=1)
    power = 1 << (k - 1).bit_length()
    return power * 3 // 4 if k <= power * 3 // 4 else power
