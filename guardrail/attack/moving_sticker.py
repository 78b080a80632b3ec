"""A sticker that is moved and painted: any change of one square, and of nothing beside it.

In the manner of the patches of Sparse-RS (Croce et al. 2022, arXiv 2006.12834): a candidate either
moves the square that was best, with what is in it, or paints a smaller square of its content in one
corner of the colours. Both steps become smaller as the queries are used up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guardrail.attack.candidates import Candidate, draw_square
from guardrail.attack.square import Square, largest_side
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.types import Pixels

__all__ = ["MovingSticker"]

_MOVES = 0.25  # probability that a candidate moves; the others are painted
_ENDS = np.array([0, 255], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class MovingSticker:
    """Implements `Proposals`.

    Attributes:
        area: the largest share of the picture that the square covers, in (0, 1).

    Raises:
        ConfigError: a number is outside its range.
    """

    area: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.area < 1:
            raise ConfigError("must be a share of the picture above 0 and below 1", field="area")

    def begin(self, pixels: Pixels, rng: np.random.Generator) -> Candidate:
        """Anywhere, in vertical stripes. Raises ConfigError where not one pixel is so small."""
        height, width = pixels.shape[:2]
        side = largest_side(height, width, self.area)
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        stripes = np.broadcast_to(rng.choice(_ENDS, (1, side, 3)), (side, side, 3))
        return _lay(pixels, stripes, Square(int(top), int(left), side))

    def change(
        self, best: Candidate, pixels: Pixels, used: float, rng: np.random.Generator
    ) -> Candidate:
        if best.sticker is None:  # the first one was worse than none: another place, other stripes
            return self.begin(pixels, rng)
        content = best.pixels[best.sticker.window].copy()
        if rng.random() < _MOVES:
            height, width = pixels.shape[:2]
            return _lay(pixels, content, _move(best.sticker, height, width, used, rng))
        side = best.sticker.side
        content[draw_square(side, side, used, rng).window] = rng.choice(_ENDS, 3)
        return _lay(pixels, content, best.sticker)


def _lay(pixels: Pixels, content: Pixels, square: Square) -> Candidate:
    changed = pixels.copy()
    changed[square.window] = content
    return Candidate(changed, square)


def _move(square: Square, height: int, width: int, used: float, rng: np.random.Generator) -> Square:
    """Another place at most so far away: at first anywhere, in the end the next pixel.

    There always is another: a square of a share below 1 leaves room on one axis at least.
    """
    reach = max(1, round((1 - used) * max(height, width)))
    side = square.side
    tops = range(max(0, square.top - reach), min(height - side, square.top + reach) + 1)
    lefts = range(max(0, square.left - reach), min(width - side, square.left + reach) + 1)
    here = tops.index(square.top) * len(lefts) + lefts.index(square.left)
    drawn = int(rng.integers(len(tops) * len(lefts) - 1))
    row, column = divmod(drawn + (drawn >= here), len(lefts))
    return Square(tops[row], lefts[column], side)
