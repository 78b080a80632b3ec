"""Changes of every pixel by a little, one square at a time: the square attack.

Andriushchenko et al. 2020 (arXiv 1912.00049), in the ℓ∞ form: the search begins with vertical
stripes at the edge of the allowed change, then moves one square at a time to another corner of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guardrail.attack.candidates import Candidate, draw_square
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardrail.types import Pixels

__all__ = ["LinfSquares"]


@dataclass(frozen=True, slots=True)
class LinfSquares:
    """Implements `Proposals`.

    Attributes:
        epsilon: largest ℓ∞ change, client pixels in [0, 1].

    Raises:
        ConfigError: a number is outside its range.
    """

    epsilon: float = 16 / 255

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1:
            raise ConfigError("must be above 0 and at most 1", field="epsilon")

    def begin(self, pixels: Pixels, rng: np.random.Generator) -> Candidate:
        signs = rng.choice((-1.0, 1.0), (1, *pixels.shape[1:]))
        return self._clip(pixels, pixels + self.epsilon * 255 * signs)

    def change(
        self, best: Candidate, pixels: Pixels, used: float, rng: np.random.Generator
    ) -> Candidate:
        height, width = pixels.shape[:2]
        window = draw_square(height, width, used, rng).window
        moved = best.pixels.astype(np.float64)
        moved[window] = pixels[window] + self.epsilon * 255 * rng.choice((-1.0, 1.0), 3)
        return self._clip(pixels, moved)

    def _clip(self, pixels: Pixels, moved: NDArray[np.float64]) -> Candidate:
        """On the 8-bit grid, within the ball: the change is rounded towards none."""
        levels = math.floor(self.epsilon * 255 + 1e-9)
        origin = pixels.astype(np.int64)
        change = np.clip(np.trunc(moved - origin).astype(np.int64), -levels, levels)
        return Candidate(np.clip(origin + change, 0, 255).astype(np.uint8))
