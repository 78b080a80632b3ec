"""From a bound on a rate to a radius in client pixels, and back.

Unless a name says otherwise, radii are ℓ2 distances in client pixels (values in [0, 1]) and
`operator_norm` is the norm of the linear map from client pixels to the canvas on which the noise
of standard deviation `sigma` is added.
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
    "certified_radius",
    "fewest_samples",
    "required_harmless_rate",
    "round_norm_up",
    "true_harmless_lower",
    "unanimous_ceiling",
]

_BELOW_ONE = math.nextafter(1.0, 0.0)
_NORM_STEPS_PER_OCTAVE = 32
# SciPy's normal quantile is good to a few units in the last place; sixteen are allowed for.
_SLACK = 16.0 * sys.float_info.epsilon


def true_harmless_lower(q_lower: float, miss_rate_upper: float) -> float:
    """Lower bound of the true harmless rate p behind the oracle's verdicts.

    The promise: if q = p(1 - m) + (1 - p)f with f <= `miss_rate_upper` < 1 and any m in [0, 1],
    then q >= `q_lower` implies p >= (q_lower - f_U) / (1 - f_U). Nothing about false alarms (m)
    is assumed. The symmetric correction (q - e) / (1 - 2e) enlarges the radius and is not used.

    Args:
        q_lower: lower bound of the observed harmless rate, in [0, 1].
        miss_rate_upper: upper bound f_U of P[oracle says harmless | harmful], in [0, 1].

    Returns:
        A number in [0, 1], rounded down; 0 where nothing is known (f_U = 1).

    Raises:
        CertificationError: an argument is outside its range.
    """
    q = check_unit("q_lower", q_lower)
    miss = check_unit("miss_rate_upper", miss_rate_upper)
    if miss == 0.0:
        return q
    if q <= miss:
        return 0.0
    return _down((q - miss) / (1.0 - miss))


def certified_radius(
    q_lower: float,
    *,
    sigma: float,
    operator_norm: float = 1.0,
    floor: float = 0.5,
    miss_rate_upper: float = 0.0,
    grid_slack: float = 0.0,
) -> float | None:
    """The ℓ2 radius within which the harmless probability stays at or above `floor`.

    The promise: if the observed harmless rate at x is at least `q_lower`, then p(x + d) >= floor
    for every d with ‖d‖₂ <= radius, where
    radius = (sigma · (Φ⁻¹(p_lower) - Φ⁻¹(floor)) - grid_slack) / operator_norm.
    With `miss_rate_upper` = 0 it is the composite claim on model and oracle together.

    Args:
        q_lower: lower bound of the observed harmless rate, in [0, 1].
        sigma: standard deviation of the noise on the canvas, > 0.
        operator_norm: ‖A‖₂ of the map from client pixels to the canvas, > 0.
        floor: harmless probability that must hold in the whole ball, in (0, 1).
        miss_rate_upper: see `true_harmless_lower`.
        grid_slack: what rounding to the canvas grid may have moved, in canvas units, >= 0.

    Returns:
        A finite radius >= 0, rounded down; None (abstain) where not even 0 is certified.

    Raises:
        CertificationError: an argument is outside its range.

    Source: Cohen et al. (arXiv 1902.02918), Theorem 1; Salman et al. (arXiv 1906.04584),
    Lemma 1 (Φ⁻¹ of a smoothed probability is 1/sigma-Lipschitz).
    """
    sigma = check_positive("sigma", sigma)
    norm = check_positive("operator_norm", operator_norm)
    floor = check_open_unit("floor", floor)
    slack = check_non_negative("grid_slack", grid_slack)
    p = min(true_harmless_lower(q_lower, miss_rate_upper), _BELOW_ONE)
    if p <= floor:
        return None
    high, low = float(special.ndtri(p)), float(special.ndtri(floor))
    gap = high - low - _SLACK * (abs(high) + abs(low))
    radius = _down(_down(_down(sigma * gap) - slack) / norm)
    return radius if radius >= 0.0 else None


def required_harmless_rate(
    radius: float,
    *,
    sigma: float,
    operator_norm: float = 1.0,
    floor: float = 0.5,
    miss_rate_upper: float = 0.0,
    grid_slack: float = 0.0,
) -> float:
    """The observed harmless rate that certifies `radius`: the inverse of `certified_radius`.

    q_req = f_U + (1 - f_U) · Φ(Φ⁻¹(floor) + (radius · operator_norm + grid_slack) / sigma).

    Args:
        radius: ℓ2, client pixels in [0, 1] units, >= 0.
        sigma: as in `certified_radius`, like all that follow.
        operator_norm: ‖A‖₂.
        floor: in (0, 1).
        miss_rate_upper: in [0, 1).
        grid_slack: canvas units.

    Returns:
        A number in (0, 1), rounded up: `certified_radius` of it is at least `radius`.

    Raises:
        CertificationError: an argument is outside its range, or no rate below 1 is enough.
    """
    radius = check_non_negative("radius", radius)
    sigma = check_positive("sigma", sigma)
    norm = check_positive("operator_norm", operator_norm)
    floor = check_open_unit("floor", floor)
    miss = check_unit("miss_rate_upper", miss_rate_upper)
    slack = check_non_negative("grid_slack", grid_slack)
    shift = (radius * norm + slack) / sigma
    guess = miss + (1.0 - miss) * float(special.ndtr(float(special.ndtri(floor)) + shift))

    def certifies(rate: float) -> bool:
        reached = certified_radius(
            rate,
            sigma=sigma,
            operator_norm=norm,
            floor=floor,
            miss_rate_upper=miss,
            grid_slack=slack,
        )
        return reached is not None and reached >= radius

    step, rate = math.ulp(guess), guess
    while rate < 1.0 and not certifies(rate):
        rate = guess + step
        step *= 2.0
    if rate >= 1.0:
        raise CertificationError(
            f"radius {radius:g} with sigma {sigma:g}, operator norm {norm:g}, floor {floor:g} and "
            f"miss rate {miss:g} needs a harmless rate of 1, which no number of samples can show; "
            "choose a smaller radius or a larger sigma"
        )
    return rate


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


def _down(value: float) -> float:
    """The next float below; one operation rounded to nearest is then on the safe side."""
    return math.nextafter(value, -math.inf)
