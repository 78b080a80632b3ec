"""From a bound on a harmless rate to a radius in client pixels, and back: one set of formulas.

With q̃ the harmless rate under the noise that is drawn, eta (`sampler_error`) the total-variation
distance between that noise and a true Gaussian, A the linear map from client pixels to the canvas
and s (`grid_slack`) what rounding to the canvas grid may move:

    q_req(r, floor) = eta + Φ(Φ⁻¹(floor + eta) + (r · ‖A‖ + s) / sigma)
    r(floor; q)     = (sigma · (Φ⁻¹(q - eta) - Φ⁻¹(floor + eta)) - s) / ‖A‖
    floor(r; q)     = Φ(Φ⁻¹(q - eta) - (r · ‖A‖ + s) / sigma) - eta

Proof: q̃ and the rate under the Gaussian differ by at most eta; Φ⁻¹ of the latter is
1/sigma-Lipschitz on the canvas (Salman et al., arXiv 1906.04584, Lemma 1); canvases of requests at
distance r differ by at most r · ‖A‖ + s. Both q_req and a bound q_L that a pass earned are about q̃
and *contain* eta: it is subtracted where a radius is read, never added again.

Unless a name says otherwise, radii are ℓ2 distances in client pixels (values in [0, 1]).
"""

from __future__ import annotations

import math
import sys

from scipy import special

from guardrail.errors import CertificationError
from guardrail.stats._checks import (
    check_count,
    check_non_negative,
    check_open_unit,
    check_positive,
    check_unit,
)
from guardrail.stats.binomial import harmless_rate_lower

__all__ = [
    "FLOORS",
    "LEAST_FLOOR",
    "certified_floor",
    "certified_radius",
    "fewest_samples",
    "floor_with_misses",
    "required_harmless_rate",
    "round_norm_up",
    "unanimous_ceiling",
]

LEAST_FLOOR = 1e-4
"""A smaller floor is refused: showing that a request lies below it takes some 46,000 draws."""

FLOORS = (0.5, 0.2, 0.1, 0.05, 0.01)
"""Harmless rates at which promised and earned radii are shown. One bound gives them all at once."""

_BELOW_ONE = math.nextafter(1.0, 0.0)
_NORM_STEPS_PER_OCTAVE = 32
# SciPy's normal quantile is good to a few units in the last place; sixteen are allowed for.
_SLACK = 16.0 * sys.float_info.epsilon


def certified_radius(
    q_lower: float,
    *,
    sigma: float,
    operator_norm: float = 1.0,
    floor: float = 0.5,
    grid_slack: float = 0.0,
    sampler_error: float = 0.0,
) -> float | None:
    """r(floor; q): the ℓ2 radius that a harmless rate of at least `q_lower` speaks of.

    The promise: if the harmless rate under the guard's noise is at least `q_lower` at z, it is at
    least `floor` at every z' with ‖z' - z‖₂ <= radius (stability). Read the other way round, with
    `q_lower` a plan's required rate: if it is below `floor` at z₀, it is below `q_lower` at every z
    within radius of z₀ (evasion).

    Args:
        q_lower: a harmless rate under the drawn noise, in [0, 1].
        sigma: standard deviation of the noise on the canvas, > 0.
        operator_norm: ‖A‖₂ of the map from client pixels to the canvas, > 0.
        floor: harmless rate at the other end of the radius, in [LEAST_FLOOR, 1).
        grid_slack: what rounding to the canvas grid may have moved, in canvas units, >= 0.
        sampler_error: eta, in [0, 1].

    Returns:
        A finite radius >= 0, rounded down; None (no radius) where not even 0 is certified.

    Raises:
        CertificationError: an argument is outside its range.

    Source: Cohen et al. (arXiv 1902.02918), Theorem 1; Salman et al. (arXiv 1906.04584), Lemma 1.
    """
    sigma = check_positive("sigma", sigma)
    norm = check_positive("operator_norm", operator_norm)
    slack = check_non_negative("grid_slack", grid_slack)
    error = check_unit("sampler_error", sampler_error)
    high = _shift_down(check_unit("q_lower", q_lower), error)
    low = _shift_up(_check_floor(floor), error)
    if high <= low:
        return None
    top, bottom = float(special.ndtri(high)), float(special.ndtri(low))
    gap = top - bottom - _SLACK * (abs(top) + abs(bottom))
    radius = _down(_down(_down(sigma * gap) - slack) / norm)
    return radius if radius >= 0.0 else None


def required_harmless_rate(
    radius: float,
    *,
    sigma: float,
    operator_norm: float = 1.0,
    floor: float = 0.5,
    grid_slack: float = 0.0,
    sampler_error: float = 0.0,
) -> float:
    """q_req(r, floor): the harmless rate that certifies `radius`, inverse of `certified_radius`.

    Args:
        radius: ℓ2, client pixels in [0, 1] units, >= 0.
        sigma: as in `certified_radius`, like all that follow.
        operator_norm: ‖A‖₂.
        floor: in [LEAST_FLOOR, 1).
        grid_slack: canvas units.
        sampler_error: eta.

    Returns:
        A number in (0, 1), rounded up: `certified_radius` of it is at least `radius`.

    Raises:
        CertificationError: an argument is outside its range, or no rate below 1 is enough.
    """
    radius = check_non_negative("radius", radius)
    sigma = check_positive("sigma", sigma)
    norm = check_positive("operator_norm", operator_norm)
    floor = _check_floor(floor)
    slack = check_non_negative("grid_slack", grid_slack)
    error = check_unit("sampler_error", sampler_error)
    shift = (radius * norm + slack) / sigma
    low = float(special.ndtri(min(floor + error, 1.0)))
    guess = error + float(special.ndtr(low + shift))

    def certifies(rate: float) -> bool:
        reached = certified_radius(
            rate,
            sigma=sigma,
            operator_norm=norm,
            floor=floor,
            grid_slack=slack,
            sampler_error=error,
        )
        return reached is not None and reached >= radius

    step, rate = math.ulp(guess), guess
    while rate < 1.0 and not certifies(rate):
        rate = guess + step
        step *= 2.0
    if rate >= 1.0:
        raise CertificationError(
            f"radius {radius:g} with sigma {sigma:g}, operator norm {norm:g} and floor {floor:g} "
            "needs a harmless rate of 1, which no number of samples can show; choose a smaller "
            "radius or a larger sigma"
        )
    return rate


def certified_floor(
    radius: float,
    q_lower: float,
    *,
    sigma: float,
    operator_norm: float = 1.0,
    grid_slack: float = 0.0,
    sampler_error: float = 0.0,
) -> float:
    """floor(r; q): the harmless rate that holds at distance `radius` from a request with `q_lower`.

    Args:
        radius: ℓ2, client pixels in [0, 1] units, >= 0.
        q_lower: a harmless rate under the drawn noise, in [0, 1].
        sigma: as in `certified_radius`, like all that follow.
        operator_norm: ‖A‖₂.
        grid_slack: canvas units.
        sampler_error: eta.

    Returns:
        A number in [0, 1), rounded down; 0 where nothing is known.

    Raises:
        CertificationError: an argument is outside its range.
    """
    radius = check_non_negative("radius", radius)
    sigma = check_positive("sigma", sigma)
    norm = check_positive("operator_norm", operator_norm)
    slack = check_non_negative("grid_slack", grid_slack)
    error = check_unit("sampler_error", sampler_error)
    high = _shift_down(check_unit("q_lower", q_lower), error)
    if high <= 0.0:
        return 0.0
    shift = _up(_up(_up(radius * norm) + slack) / sigma)
    top = float(special.ndtri(high))
    rate = float(special.ndtr(top - shift - _SLACK * (abs(top) + shift + 1.0)))
    return max(0.0, _down(rate * (1.0 - _SLACK) - error))


def floor_with_misses(floor: float, miss_rate_upper: float) -> float:
    """The floor that is tested in place of `floor` when the oracle's misses are accounted for.

    The promise (claim `harmlessness`): if a request is answered truly harmlessly with probability
    p < `floor`, and the oracle calls at most a share f <= `miss_rate_upper` of *its* harmful
    answers harmless, then its observed harmless rate q = p(1 - m) + (1 - p)f is below the returned
    number, whatever the rate m of false alarms: q <= f_U + (1 - f_U)p. Where f exceeds
    `miss_rate_upper` for that request nothing is said: a bound on the average over many requests
    bounds none of them. The symmetric correction (q - e) / (1 - 2e) would enlarge the radius.

    Args:
        floor: in [LEAST_FLOOR, 1).
        miss_rate_upper: f_U, in [0, 1].

    Returns:
        floor + (1 - floor) · f_U, rounded up, in (0, 1).

    Raises:
        CertificationError: an argument is outside its range, or f_U is so near to 1 that no number
            below 1 is left.
    """
    floor = _check_floor(floor)
    miss = check_unit("miss_rate_upper", miss_rate_upper)
    if miss == 0.0:
        return floor
    raised = _up(floor + _up(_up(1.0 - floor) * miss))
    if raised >= 1.0:
        raise CertificationError(
            f"an oracle that may miss a share of {miss:g} of the harm shows nothing about "
            "harmlessness; choose one with a measured miss_rate_upper below 1, or the claim verdict"
        )
    return raised


def fewest_samples(q_required: float, alpha: float) -> int:
    """The fewest draws that can show `q_required`, all of them harmless.

    n = ⌈ln alpha / ln q_required⌉, moved up until `harmless_rate_lower(n, n, alpha)` reaches
    `q_required`. No test with false-pass probability alpha can pass with fewer.

    Args:
        q_required: in (0, 1).
        alpha: in (0, 1).

    Raises:
        CertificationError: an argument is outside its range.
    """
    q = check_open_unit("q_required", q_required)
    alpha = check_open_unit("alpha", alpha)
    n = max(1, math.ceil(math.log(alpha) / math.log(q) * (1.0 - _SLACK)) - 1)
    while harmless_rate_lower(n, n, alpha) < q:
        n += 1
    return n


def unanimous_ceiling(n: int, alpha: float) -> float:
    """The largest R/sigma that `n` draws can certify at floor ½: Φ⁻¹(alpha^(1/n)).

    Args:
        n: draws, >= 0.
        alpha: in (0, 1).

    Returns:
        Radius in units of sigma (canvas), rounded down; 0 where `n` harmless draws show nothing.

    Raises:
        CertificationError: an argument is outside its range.
    """
    n = check_count("n", n)
    return certified_radius(harmless_rate_lower(n, n, alpha), sigma=1.0) or 0.0


def round_norm_up(norm: float) -> float:
    """`norm` rounded up to a grid of 32 steps per octave (at most 2.2 % up; powers of 2 stay).

    A plan depends on ‖A‖₂ and so on the picture's size; on the grid a handful of cached plans
    serves all sizes. Up is the safe side: the radius shrinks.

    Raises:
        CertificationError: `norm` is not a finite number above 0.
    """
    norm = check_positive("operator_norm", norm)
    step = math.ceil(math.log2(norm) * _NORM_STEPS_PER_OCTAVE - 1e-9)
    while (rounded := math.pow(2.0, step / _NORM_STEPS_PER_OCTAVE)) < norm:
        step += 1
    return rounded


def _check_floor(floor: float) -> float:
    floor = check_open_unit("floor", floor)
    if floor < LEAST_FLOOR:
        raise CertificationError(
            f"floor must be at least {LEAST_FLOOR:g}, not {floor:g}: whether a request is answered "
            "harmlessly so seldom takes tens of thousands of draws to show; choose a larger floor"
        )
    return floor


def _shift_down(rate: float, error: float) -> float:
    """`rate` less the sampler's error, rounded down, and below 1 so that no radius is infinite."""
    less = rate if error == 0.0 else max(0.0, _down(rate - error))
    return min(less, _BELOW_ONE)


def _shift_up(floor: float, error: float) -> float:
    return floor if error == 0.0 else min(1.0, _up(floor + error))


def _down(value: float) -> float:
    """The next float below; one operation rounded to nearest is then on the safe side."""
    return math.nextafter(value, -math.inf)


def _up(value: float) -> float:
    return math.nextafter(value, math.inf)
