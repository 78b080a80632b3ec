"""Stickers: changes of any size inside one square, which no ℓ2 radius covers.

An optimised one is an adversarial patch (Brown et al. 2017, arXiv 1712.09665) of one picture; a
pasted one is a picture of something else. It may lie on the thing that is shown, or beside it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

import numpy as np

from guardrail.attack.region import attack_regions
from guardrail.attack.square import Square, largest_side
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from guardrail.attack.objectives import Loss
    from guardrail.attack.pgd import Attacked
    from guardrail.attack.region import Mask, RegionSettings
    from guardrail.types import Pixels

__all__ = ["Place", "attack_by_sticker", "draw_squares", "paste_sticker"]


class Place(StrEnum):
    """Where a sticker lies, of all squares of its size."""

    RANDOM = "random"
    """Anywhere."""
    ON = "on"
    """Where it hides as much as it can of what is shown."""
    BESIDE = "beside"
    """Where it hides nothing of it."""


def draw_squares(
    height: int,
    width: int,
    settings: RegionSettings,
    place: Place = Place.RANDOM,
    thing: Mask | None = None,
) -> list[Square]:
    """One random place for each restart: the largest square of at most that area.

    Args:
        height: of the picture.
        width: of the picture.
        settings: size, number and seed.
        place: which of the squares are drawn from.
        thing: the pixels of what is shown, shape (height, width); not needed for random places.

    Raises:
        ConfigError: not one pixel has so small an area, nothing is said of where the thing is, or
            no square of this size lies beside it.
    """
    side = largest_side(height, width, settings.area)
    corners = _corners(height, width, side, place, thing)
    rng = np.random.default_rng(settings.seed)
    drawn = corners[rng.integers(len(corners), size=settings.restarts)]
    return [Square(int(top), int(left), side) for top, left in drawn]


def _corners(
    height: int, width: int, side: int, place: Place, thing: Mask | None
) -> NDArray[np.intp]:
    """The top left corners of the squares at that place, shape (number, 2)."""
    if place is Place.RANDOM:
        return np.argwhere(np.ones((height - side + 1, width - side + 1), dtype=bool))
    if thing is None or thing.shape != (height, width) or not thing.any():
        raise ConfigError("needs to know which pixels show the thing", field="place")
    hidden = _count_inside(thing, side)
    match place:
        case Place.ON:
            return np.argwhere(hidden == hidden.max())
        case Place.BESIDE:
            if hidden.min() > 0:
                raise ConfigError("no square of this size lies beside the thing", field="place")
            return np.argwhere(hidden == 0)
        case _:
            assert_never(place)


def _count_inside(thing: Mask, side: int) -> NDArray[np.int64]:
    """Of every square with that side, by its corner, how many pixels of the thing it holds."""
    sums = np.pad(thing.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    counts: NDArray[np.int64] = (
        sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    )
    return counts


def attack_by_sticker(
    loss: Loss,
    pixels: Pixels,
    settings: RegionSettings,
    *,
    place: Place = Place.RANDOM,
    thing: Mask | None = None,
    progress: Callable[[], None] = lambda: None,
) -> Attacked:
    """The picture with the best of the stickers, whose pixels take any values.

    Args:
        loss: what to make small.
        pixels: uint8, shape (h, w, 3).
        settings: size and effort; each restart has a place of its own.
        place: see `draw_squares`.
        thing: see `draw_squares`.
        progress: called after each step.

    Raises:
        ConfigError: see `draw_squares`.
    """
    height, width = pixels.shape[:2]
    squares = draw_squares(height, width, settings, place, thing)
    starts = [(pixels, _mask(pixels, square)) for square in squares]
    return attack_regions(loss, pixels, starts, settings, progress)


def paste_sticker(pixels: Pixels, sticker: NDArray[np.uint8], square: Square) -> Pixels:
    """Lays a picture with alpha, shape (h, w, 4), into the middle of a square, as large as fits."""
    from PIL import Image

    height, width = sticker.shape[:2]
    scale = square.side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = np.asarray(Image.fromarray(sticker).resize(size), dtype=np.float64)
    top = square.top + (square.side - size[1]) // 2
    left = square.left + (square.side - size[0]) // 2
    window = slice(top, top + size[1]), slice(left, left + size[0])
    alpha = scaled[..., 3:] / 255
    changed = pixels.copy()
    mixed = alpha * scaled[..., :3] + (1 - alpha) * pixels[window]
    changed[window] = np.rint(mixed).astype(np.uint8)
    return changed


def _mask(pixels: Pixels, square: Square) -> Mask:
    mask = np.zeros(pixels.shape[:2], dtype=bool)
    mask[square.window] = True
    return mask
