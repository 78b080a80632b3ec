"""Certified recall: which share of a population of requests is held, and how far out.

A population of requests that should be stopped, N of them drawn one by one; of each, `draws`
variants under the policy's noise. A request is *held at r* if no change of its pixels within ℓ2
distance r has a harmless rate above what a pass must prove, so that each such change passes with
probability at most alpha a try. `held_radius` says from the counts of one request how far it is
*shown held*; one that is not held at r is shown held there with probability at most beta. So if
a share rho of the population is held at r, each drawn request is shown held with probability

    pi(r) <= rho(r) + beta (1 - rho(r)),

and a Clopper–Pearson lower bound of pi from the number shown gives one of rho. A large beta is
cheap, because it is multiplied by the share that is not held; for the same reason *shown held* is
no certificate of a single request.

All shares are of requests drawn like those that were measured. None of them is about a request
that an attacker picks.
"""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_open_unit
from guardrail.stats.binomial import harmless_rate_lower, harmless_rate_upper
from guardrail.stats.radius import LEAST_FLOOR, certified_radius

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "NOT_HELD",
    "RECALLS",
    "RecallReach",
    "RecallStaircase",
    "fewest_requests",
    "fewest_shown",
    "giving_up_counts",
    "held_radius",
    "radii_by_recall",
    "radius_at_recall",
    "recall_lower",
    "recall_staircase",
]

RECALLS = (0.5, 0.9, 0.99)
"""Shares of a population at which the radius is shown; they share delta."""

NOT_HELD = -math.inf
"""The radius of a request that is shown held nowhere, or was given up."""

_GIVE_UP_ALPHA = 1e-3


def held_radius(
    harmless: int,
    draws: int,
    *,
    q_required: float,
    beta: float,
    sigma: float,
    operator_norm: float,
    grid_slack: float,
    sampler_error: float,
) -> float:
    """How far one request is shown held: the largest ℓ2 radius in the space of `operator_norm`.

    R = (sigma (Φ⁻¹(q_required - η) - Φ⁻¹(u + η)) - grid_slack) / operator_norm, where u is the
    Clopper–Pearson upper bound of the harmless rate at beta and η is `sampler_error`: what
    `certified_radius` says of q_required at the floor u.

    The promise: if the request is not held at r, then P[R >= r] <= beta. It fails where `draws`
    depended on the outcomes, and where a missing outcome was not counted as harmless.

    Args:
        harmless: outcomes that were harmless or missing, 0 <= harmless <= draws.
        draws: variants drawn, fixed beforehand; 0 shows nothing.
        q_required: the harmless rate that a pass of this request must prove, in (0, 1).
        beta: in (0, 1).
        sigma: standard deviation of the noise on the canvas, > 0.
        operator_norm: ‖A‖₂ of the map from the space of the radius to the canvas, > 0.
        grid_slack: what rounding to the canvas grid may have moved, in canvas units, >= 0.
        sampler_error: how far the noise's law may be off, as a probability, >= 0.

    Returns:
        A radius >= 0, rounded down; `NOT_HELD` where not even 0 is shown.

    Raises:
        CertificationError: an argument is outside its range.
    """
    upper = harmless_rate_upper(harmless, draws, check_open_unit("beta", beta))
    if upper >= 1.0:
        return NOT_HELD
    # The pass condition's own curve, read at the rate u in place of the policy's floor.
    radius = certified_radius(
        check_open_unit("q_required", q_required),
        sigma=sigma,
        operator_norm=operator_norm,
        floor=max(upper, LEAST_FLOOR),
        grid_slack=grid_slack,
        sampler_error=sampler_error,
    )
    return NOT_HELD if radius is None else radius


def giving_up_counts(draws: int, hopeless: int) -> tuple[int, ...]:
    """When a request may be given up before its last draw.

    Giving up sets its radius to `NOT_HELD`, which can only lower what is shown of the population:
    any rule is valid, and this one wastes little. A request is given up once it can no longer be
    shown held, or once its harmless rate is almost surely (1 - 0.001 at each look) too high.

    Args:
        draws: variants of a request, >= 1.
        hopeless: the fewest harmless or missing outcomes with which it is shown held nowhere.

    Returns:
        For n = 0 … draws the fewest harmless or missing outcomes among the first n at which it is
        given up, more than n where it never is.

    Raises:
        CertificationError: an argument is outside its range.
    """
    draws = check_count("draws", draws, least=1)
    hopeless = check_count("hopeless", hopeless)
    too_high = min(1.0, hopeless / draws)
    counts, sure = [], 0
    for n in range(draws + 1):
        # It grows with n, by one at most for each draw.
        while sure <= n and harmless_rate_lower(sure, n, _GIVE_UP_ALPHA) < too_high:
            sure += 1
        counts.append(min(sure, hopeless))
    return tuple(counts)


def recall_lower(shown: int, requests: int, delta: float, beta: float) -> float:
    """Lower bound of the share that is held, from `shown` of `requests` shown held at one radius.

    max(0, (pi_L - beta) / (1 - beta)) with pi_L the Clopper–Pearson lower bound at `delta`.

    The promise: at a radius fixed beforehand, it exceeds the true share with probability at most
    `delta`. At a radius chosen by the outcomes use `radius_at_recall` or `recall_staircase`.

    Returns:
        A number in [0, 1), rounded down; no requests give 0.

    Raises:
        CertificationError: an argument is outside its range.
    """
    beta = check_open_unit("beta", beta)
    excess = harmless_rate_lower(shown, requests, delta) - beta
    # Two operations rounded to nearest; three floats below is on the safe side of both.
    lower = excess / (1.0 - beta)
    for _ in range(3):
        lower = math.nextafter(lower, -math.inf)
    return max(0.0, lower)


def fewest_shown(requests: int, recall: float, delta: float, beta: float) -> int | None:
    """k*: the fewest requests, of so many, that must be shown held for `recall` to be shown.

    The least K with Clopper–Pearson lower bound (K of `requests`, `delta`) at least
    recall + beta (1 - recall); None where not even all of them are enough.

    Raises:
        CertificationError: an argument is outside its range.
    """
    requests = check_count("requests", requests)
    wanted = _share_wanted(recall, beta)
    if harmless_rate_lower(requests, requests, delta) < wanted:
        return None
    return bisect.bisect_left(
        range(requests + 1), True, key=lambda k: harmless_rate_lower(k, requests, delta) >= wanted
    )


def fewest_requests(recall: float, delta: float, beta: float) -> int:
    """The fewest requests that can show `recall`, all of them shown held.

    ⌈ln delta / ln(recall + beta (1 - recall))⌉, moved up until `fewest_shown` agrees. At
    beta = 0.2 and delta = 0.01 / 3, which is a third of 0.01: 69 for 0.9, 140 for 0.95, 711 for
    0.99.

    Raises:
        CertificationError: an argument is outside its range.
    """
    delta = check_open_unit("delta", delta)
    estimate = math.log(delta) / math.log(_share_wanted(recall, beta))
    requests = max(1, math.ceil(estimate * (1.0 - 1e-9)) - 1)
    while fewest_shown(requests, recall, delta, beta) is None:
        requests += 1
    return requests


def radius_at_recall(
    radii: Sequence[float], recall: float, delta: float, beta: float
) -> float | None:
    """The largest radius at which the share `recall` of the population is shown to be held.

    The k*-th largest of the requests' own radii, k* of `fewest_shown`.

    The promise: the true share that is held at the returned radius is below `recall` with
    probability at most `delta`, the choice of the radius included. (The number shown held and the
    true share both fall as the radius grows, so the events "shown at r, though not true at r" are
    nested.) Several shares hold together if their deltas add up.

    Args:
        radii: of every request that was drawn, `held_radius` or `NOT_HELD`.
        recall: in (0, 1).
        delta: in (0, 1), of this statement alone.
        beta: that of the radii.

    Returns:
        A radius >= 0, or None: not shown.

    Raises:
        CertificationError: an argument is outside its range, or a radius is not a number.
    """
    ordered = sorted(_check_radii(radii), reverse=True)
    needed = fewest_shown(len(ordered), recall, delta, beta)
    if needed is None or ordered[needed - 1] < 0.0:
        return None
    return ordered[needed - 1]


@dataclass(frozen=True, slots=True)
class RecallReach:
    """How far at least the share `recall` of a population is held; None: not shown."""

    recall: float
    radius: float | None


def radii_by_recall(radii: Sequence[float], delta: float, beta: float) -> tuple[RecallReach, ...]:
    """`radius_at_recall` for each of `RECALLS`: all of them hold together but for `delta`.

    Args:
        radii: of every request that was drawn.
        delta: in (0, 1), of all statements together.
        beta: that of the radii.

    Raises:
        CertificationError: an argument is outside its range, or a radius is not a number.
    """
    share = check_open_unit("delta", delta) / len(RECALLS)
    return tuple(
        RecallReach(recall, radius_at_recall(radii, recall, share, beta)) for recall in RECALLS
    )


@dataclass(frozen=True, slots=True)
class RecallStaircase:
    """Lower bounds of the share held at all radii at once.

    Attributes:
        radii: where the bounds were taken, ascending, fixed before the first draw.
        recall_lower: the bound at each of them, descending.
    """

    radii: tuple[float, ...]
    recall_lower: tuple[float, ...]

    def at(self, radius: float) -> float:
        """The bound at any radius: that of the next larger one taken; 0 beyond the last."""
        index = bisect.bisect_left(self.radii, radius)
        return self.recall_lower[index] if index < len(self.radii) else 0.0


def recall_staircase(
    radii: Sequence[float], steps: Sequence[float], delta: float, beta: float
) -> RecallStaircase:
    """Bounds of the share held that are valid at every radius together.

    `recall_lower` at each of the J radii in `steps`, at delta / J. Bounds each at delta, joined
    to a curve, are not valid together (they fail with probability .21 at delta .01, 300 requests).

    Args:
        radii: of every request that was drawn.
        steps: J radii >= 0, ascending, fixed before the first draw.
        delta: in (0, 1), of the whole curve.
        beta: that of the radii.

    Raises:
        CertificationError: an argument is outside its range.
    """
    points = tuple(float(step) for step in steps)
    ascending = all(a < b for a, b in itertools.pairwise(points))
    if not points or points[0] < 0.0 or not ascending or not math.isfinite(points[-1]):
        raise CertificationError(
            f"the radii of a staircase are {points}, but must be ascending, finite and 0 or more"
        )
    share = check_open_unit("delta", delta) / len(points)
    ordered = sorted(_check_radii(radii))
    count = len(ordered)
    bounds = tuple(
        recall_lower(count - bisect.bisect_left(ordered, point), count, share, beta)
        for point in points
    )
    return RecallStaircase(points, bounds)


def _share_wanted(recall: float, beta: float) -> float:
    """The share that must be shown held, rounded up: recall + beta (1 - recall)."""
    recall, beta = check_open_unit("recall", recall), check_open_unit("beta", beta)
    wanted = recall + beta * (1.0 - recall)
    for _ in range(3):  # three operations rounded to nearest
        wanted = math.nextafter(wanted, 1.0)
    return wanted


def _check_radii(radii: Sequence[float]) -> list[float]:
    if any(math.isnan(radius) or radius == math.inf for radius in radii):
        raise CertificationError("a request's radius is not a number, or infinite; recompute it")
    return [float(radius) for radius in radii]
