"""What a search by answers asks next: the interface of its proposals, and how they shrink."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from guardrail.attack.square import Square

if TYPE_CHECKING:
    import numpy as np

    from guardrail.types import Pixels

__all__ = ["Candidate", "Proposals", "draw_square"]

_FIRST_SHARE = 0.3  # of the area that squares are drawn in
# Shares of the queries, as published.
_HALVED_AT = (0.001, 0.005, 0.02, 0.1, 0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture to ask about.

    Attributes:
        pixels: uint8, shape (h, w, 3).
        sticker: where all that was changed lies; None where no sticker was laid on.
    """

    pixels: Pixels
    sticker: Square | None = None


class Proposals(Protocol):
    """One way to change a picture, and how far it may be changed."""

    def begin(self, pixels: Pixels, rng: np.random.Generator) -> Candidate:
        """The first candidate.

        Raises:
            ConfigError: no such change fits into this picture.
        """

    def change(
        self, best: Candidate, pixels: Pixels, used: float, rng: np.random.Generator
    ) -> Candidate:
        """Another candidate, a step away from the best one.

        Args:
            best: what was kept last; the picture itself where nothing was.
            pixels: the picture as it was.
            used: the share of the queries that are used up, in [0, 1].
            rng: draws the step.
        """


def draw_square(height: int, width: int, used: float, rng: np.random.Generator) -> Square:
    """A square anywhere in that area, the smaller the more of the queries are used up."""
    share = _FIRST_SHARE / 2 ** sum(used > at for at in _HALVED_AT)
    side = max(1, min(round(math.sqrt(share * height * width)), height, width))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    return Square(int(top), int(left), side)
