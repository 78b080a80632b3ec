"""Spending alpha over the retries of one principal.

Noise that is a function of the request makes an identical retry fail identically, but a request
changed by one pixel draws anew, so N tries would pass with probability up to N · alpha.
"""

from __future__ import annotations

import math

from guardrail.stats._checks import check_count, check_open_unit

__all__ = ["spent_alpha"]


def spent_alpha(alpha: float, blocked_before: int) -> float:
    """The failure probability at which a principal's next decision is judged.

    alpha_k = 6 · alpha / (pi² k²) with k - 1 blocked decisions before. The promise: over any
    number of tries the expected number of false passes is at most the sum of
    alpha_k / (1 - alpha_k), which is at most alpha / (1 - alpha): at each level a harmful try is
    blocked, which raises k, or falsely passed with probability at most alpha_k; benign passes
    leave k alone.

    k is first rounded up to 1, 2, 3, 4, 6, 8, 12, 16, … so that a few cached plans serve all.

    Args:
        alpha: failure probability of the policy, in (0, 1).
        blocked_before: blocked decisions of the principal in the window, >= 0.

    Returns:
        A number in (0, alpha), rounded down.

    Raises:
        CertificationError: an argument is outside its range.
    """
    alpha = check_open_unit("alpha", alpha)
    k = _level(check_count("blocked_before", blocked_before) + 1)
    share = math.nextafter(6.0 / (math.pi * math.pi) / (k * k), 0.0)
    return math.nextafter(alpha * math.nextafter(share, 0.0), 0.0)


def _level(k: int) -> int:
    """`k` rounded up to a power of two or three times one."""
    power = 1 << (k - 1).bit_length()
    return power * 3 // 4 if k <= power * 3 // 4 else power
