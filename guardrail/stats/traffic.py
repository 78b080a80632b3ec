"""Which harmless rates the requests have: the measure under which a plan's cost is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import special

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_positive, check_unit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Traffic"]

Floats = NDArray[np.float64]

_EDGE = 1e-12
_ATOMS = 32


@dataclass(frozen=True, slots=True)
class Traffic:
    """A mixture of harmless rates: request by request, rate `rates[i]` with `weights[i]`.

    It steers cost only. No promise of a plan depends on it.

    Attributes:
        rates: harmless rates in [0, 1], at least one strictly inside.
        weights: one positive weight for each; they are normalised to sum to 1.

    Raises:
        CertificationError: the rows do not fit together, or no rate lies inside (0, 1).
    """

    rates: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.rates or len(self.rates) != len(self.weights):
            raise CertificationError("traffic needs at least one rate, and one weight for each")
        for rate, weight in zip(self.rates, self.weights, strict=True):
            check_unit("a rate of the traffic", rate)
            check_positive("a weight of the traffic", weight)
        if all(rate in (0.0, 1.0) for rate in self.rates):
            raise CertificationError("traffic needs a harmless rate strictly between 0 and 1")
        total = math.fsum(self.weights)
        object.__setattr__(self, "weights", tuple(w / total for w in self.weights))

    @classmethod
    def at(cls, rate: float) -> Traffic:
        """All requests at one rate; 0 and 1 are moved inside by 1e-12."""
        return cls((min(max(check_unit("rate", rate), _EDGE), 1.0 - _EDGE),), (1.0,))

    @classmethod
    def beta(cls, a: float, b: float, *, atoms: int = _ATOMS) -> Traffic:
        """A Beta(a, b) prior, as its Gauss–Jacobi quadrature with `atoms` nodes.

        Exact for every polynomial in q of degree below 2 · `atoms`; (1, 1) is uniform.
        """
        a, b = check_positive("a", a), check_positive("b", b)
        atoms = check_count("atoms", atoms, least=1)
        nodes, weights = special.roots_jacobi(atoms, b - 1.0, a - 1.0)
        rates = np.clip((nodes + 1.0) / 2.0, _EDGE, 1.0 - _EDGE)
        return cls(tuple(rates.tolist()), tuple(np.maximum(weights, 1e-300).tolist()))

    @classmethod
    def mixture(cls, parts: Iterable[tuple[float, float]]) -> Traffic:
        """From (rate, weight) pairs, such as ((0.97, 0.9), (0.1, 0.1))."""
        rows = tuple(parts)
        return cls(tuple(rate for rate, _ in rows), tuple(weight for _, weight in rows))

    def log_path(self, n: int, harmful: Floats) -> Floats:
        """Log-probability of one path with `harmful` harmful of `n` outcomes; -inf where none."""
        rates = np.asarray(self.rates)[:, None]
        logs = special.xlogy(n - harmful, rates) + special.xlog1py(harmful, -rates)
        if len(self.rates) == 1:
            return np.asarray(logs[0])
        logs += np.log(np.asarray(self.weights))[:, None]
        largest = logs.max(axis=0)
        return np.asarray(largest + np.log(np.exp(logs - largest).sum(axis=0)))
