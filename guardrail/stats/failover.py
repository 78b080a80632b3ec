"""Sharing alpha among the upstreams that may decide one request."""

from __future__ import annotations

from fractions import Fraction

from guardrail.stats._checks import check_count, check_open_unit
from guardrail.stats.rounding import round_down

__all__ = ["failover_alpha"]

_FIRST = Fraction(9, 10)


def failover_alpha(alpha: float, position: int, upstreams: int) -> float:
    """The failure probability at which one of several upstreams tests a request.

    A decision that its upstream lets down is made again, from the start, by the next one. That is
    a second chance to pass falsely, so the tests share alpha: the first upstream tests at
    0.9 · alpha, each of the m - 1 others at 0.1 · alpha / (m - 1); a single one has all of it.

    The promise: whatever decides which upstreams are asked, a request passes falsely with
    probability at most alpha. Proof: let E_j be the event that test j, run to its end with every
    answer of upstream j, passes although the harmless rate of that upstream is below the required
    one; P(E_j) <= alpha_j for each j. A test that is not run, or is cut short, passes nothing. One
    that lacks answers counts them as harmful, and a plan that passes with more harmful ones passes
    with fewer. So a false pass by upstream j lies within E_j, and
    P(false pass) <= P(E_1 or ... or E_m) <= sum of alpha_j <= alpha. The E_j need
    not be independent (all tests meet the same noise), and the choice among them may depend on
    anything: on faults, on the answers themselves, or on an attacker who can bring a fault about.

    A share belongs to the position, not to the number of tests that were made: one that grew where
    an earlier upstream was skipped would make the sum depend on that choice.

    Args:
        alpha: failure probability of the decision, in (0, 1).
        position: of the upstream, from 0.
        upstreams: how many there are, >= 1.

    Returns:
        A number in [0, alpha], rounded down; the exact sum over all positions is at most alpha.

    Raises:
        CertificationError: an argument is outside its range.
    """
    alpha = check_open_unit("alpha", alpha)
    upstreams = check_count("upstreams", upstreams, least=1)
    position = check_count("position", position)
    check_count("upstreams - position", upstreams - position, least=1)
    if upstreams == 1:
        return alpha
    share = _FIRST if position == 0 else (1 - _FIRST) / (upstreams - 1)
    return round_down(Fraction(alpha) * share)
