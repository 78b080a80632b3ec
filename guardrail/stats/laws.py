"""How the certified radius grows with the number of samples: exact, and by the papers' law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from guardrail.stats._checks import (
    check_count,
    check_non_negative,
    check_open_unit,
    check_positive,
)

__all__ = [
    "Prior",
    "ScalingLaw",
    "mean_radius_limit",
    "paper_accuracy_loss",
    "paper_radius_ratio",
    "scaling_law",
]

Floats = NDArray[np.float64]

_FARTHEST = 37.0
_STEPS = 37_001
_DENSE = 4_000
_ENDS = 800
_STRIDE = 16


@dataclass(frozen=True, slots=True)
class Prior:
    """How harmless rates are spread over requests: Beta(a, b) restricted to [low, 1].

    The default is the papers' uniform law on [½, 1].
    """

    a: float = 1.0
    b: float = 1.0
    low: float = 0.5

    def __post_init__(self) -> None:
        check_positive("a", self.a)
        check_positive("b", self.b)
        if self.low:
            check_open_unit("low", self.low)

    def beyond(self, radius_in_sigmas: Floats) -> Floats:
        """P(Φ⁻¹(q) > radius), any shape; exact in the far tail too, where Φ is 1 to rounding."""
        rest = np.minimum(special.ndtr(-radius_in_sigmas), 1.0 - self.low)
        return np.asarray(special.betainc(self.b, self.a, rest) / self._mass)

    def harmless_counts(self, n: int) -> Floats:
        """P(k harmless of n) for k = 0 … n, shape (n + 1,): a beta-binomial law, cut at `low`."""
        k = np.arange(n + 1.0)
        after_a, after_b = k + self.a, n - k + self.b
        log_choose = -special.betaln(k + 1.0, n - k + 1.0) - math.log(n + 1.0)
        log_pmf = log_choose + special.betaln(after_a, after_b) - special.betaln(self.a, self.b)
        tail = special.betaincc(after_a, after_b, self.low)
        return np.asarray(np.exp(log_pmf) * tail / self._mass)

    @property
    def _mass(self) -> float:
        return float(special.betaincc(self.a, self.b, self.low))


@dataclass(frozen=True, slots=True)
class ScalingLaw:
    """What n samples per request achieve, under a prior; radii in units of sigma.

    Attributes:
        n: samples.
        radius_ratio: mean certified radius over its limit for infinitely many samples.
        radius_ratio_paper: the same by the papers' law; negative where the law breaks down.
        pass_rate: P(certified radius >= the policy's).
        accuracy_loss: P(true radius > the policy's) minus `pass_rate`.
        accuracy_loss_paper: the papers' bound on it.
    """

    n: int
    radius_ratio: float
    radius_ratio_paper: float
    pass_rate: float
    accuracy_loss: float
    accuracy_loss_paper: float


def paper_radius_ratio(n: int, alpha: float) -> float:
    """r(n) = 1 - 1.64 · z / √n with z = Φ⁻¹(1 - alpha/2).

    Not a bound: against exact values at alpha = .001 it is pessimistic for n <= 100 and
    optimistic by up to 1.5 points above.

    Source: Seferis et al. (arXiv 2404.17371; arXiv 2509.16088, scaling of the radius).
    """
    return 1.0 - 1.64 * _z(alpha) / math.sqrt(check_count("n", n, least=1))


def paper_accuracy_loss(n: int, alpha: float) -> float:
    """At most z / √n, z = Φ⁻¹(1 - alpha/2), capped at 1.

    Source: as `paper_radius_ratio`.
    """
    return min(1.0, _z(alpha) / math.sqrt(check_count("n", n, least=1)))


@lru_cache(maxsize=64)
def mean_radius_limit(prior: Prior) -> float:
    """E[max(Φ⁻¹(q), 0)], the mean radius in sigmas for infinitely many samples.

    Summed over the radius, ∫ P(Φ⁻¹(q) > z) dz, where no endpoint of the prior is singular; good
    to six digits.
    """
    z = np.linspace(0.0, _FARTHEST, _STEPS)
    height = prior.beyond(z)
    return float(height.sum() - 0.5 * (height[0] + height[-1])) * _FARTHEST / (_STEPS - 1)


def scaling_law(
    n: int, alpha: float, *, radius_in_sigmas: float = 0.0, prior: Prior | None = None
) -> ScalingLaw:
    """Exact sums over the counts, with the papers' law beside them.

    Args:
        n: samples, >= 1.
        alpha: failure probability, in (0, 1).
        radius_in_sigmas: radius · ‖A‖ / sigma that a request must reach, at floor ½, >= 0.
        prior: spread of harmless rates; uniform on [½, 1] where not given.

    Raises:
        CertificationError: an argument is outside its range.
    """
    prior = Prior() if prior is None else prior
    check_count("n", n, least=1)
    check_non_negative("radius_in_sigmas", radius_in_sigmas)
    radii = _radii(n, check_open_unit("alpha", alpha))
    weights = prior.harmless_counts(n)
    passes = radii >= radius_in_sigmas if radius_in_sigmas else radii > 0.0
    pass_rate = math.fsum(weights[passes])
    truth = float(prior.beyond(np.asarray(radius_in_sigmas)))
    return ScalingLaw(
        n=n,
        radius_ratio=math.fsum(weights * radii) / mean_radius_limit(prior),
        radius_ratio_paper=paper_radius_ratio(n, alpha),
        pass_rate=pass_rate,
        accuracy_loss=truth - pass_rate,
        accuracy_loss_paper=paper_accuracy_loss(n, alpha),
    )


@lru_cache(maxsize=16)
def _radii(n: int, alpha: float) -> Floats:
    """Certified radius in sigmas for k = 0 … n harmless, 0 where it abstains (nearest values).

    Of a large n every 16th count is computed, those near the ends all; the rest follow by a
    cubic spline (off by less than 1e-6).
    """
    k = np.arange(1, n + 1)
    if n > _DENSE:
        from scipy.interpolate import CubicSpline  # slow to import, and rarely wanted

        inner = np.arange(_ENDS, n - _ENDS, _STRIDE)
        nodes = np.concatenate((k[:_ENDS], inner[1:], k[-_ENDS:]))
        finite = CubicSpline(nodes, _quantiles(nodes, n, alpha))(k)
    else:
        finite = _quantiles(k, n, alpha)
    return np.concatenate(([0.0], np.maximum(finite, 0.0)))


def _quantiles(k: NDArray[np.int64], n: int, alpha: float) -> Floats:
    lower = special.betaincinv(k, n - k + 1, alpha)
    return np.asarray(special.ndtri(np.minimum(lower, 1.0 - 1e-16)))


def _z(alpha: float) -> float:
    return float(-special.ndtri(0.5 * check_open_unit("alpha", alpha)))
