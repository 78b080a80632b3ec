"""Stickers: changes of any size inside one square, which no ℓ2 radius covers.

An optimised one is an adversarial patch (Brown et al. 2017, arXiv 1712.09665) of one picture; a
pasted one is a picture of something else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from guardrail.attack.pgd import Attacked
from guardrail.attack.tensors import to_pixels, to_tensor
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from guardrail.attack.objectives import Loss
    from guardrail.types import Pixels

__all__ = ["Square", "StickerSettings", "attack_by_sticker", "draw_squares", "paste_sticker"]


@dataclass(frozen=True, slots=True)
class StickerSettings:
    """How large a sticker is, and how hard to try.

    Attributes:
        area: the largest share of the picture that it covers, in (0, 1).
        steps: gradient steps at each place.
        restarts: places that are tried, drawn at random.
        draws: variants a step, where the loss is of the guard's own.
        seed: fixes the places.

    Raises:
        ConfigError: a number is outside its range.
    """

    area: float
    steps: int = 60
    restarts: int = 1
    draws: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("area", "steps", "restarts", "draws"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError("must be a number above 0", field=name)
        if self.area >= 1:
            raise ConfigError("must be a share of the picture below 1", field="area")


@dataclass(frozen=True, slots=True)
class Square:
    """A place in a picture, in pixels."""

    top: int
    left: int
    side: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return (
            slice(self.top, self.top + self.side),
            slice(self.left, self.left + self.side),
        )


def draw_squares(height: int, width: int, settings: StickerSettings) -> list[Square]:
    """One random place for each restart: the largest square of at most that area.

    Raises:
        ConfigError: not one pixel has so small an area.
    """
    side = min(math.isqrt(int(settings.area * height * width)), height, width)
    if side < 1:
        raise ConfigError("is less than one pixel of this picture", field="area")
    rng = np.random.default_rng(settings.seed)
    return [
        Square(int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side)
        for _ in range(settings.restarts)
    ]


def attack_by_sticker(
    loss: Loss,
    pixels: Pixels,
    settings: StickerSettings,
    *,
    progress: Callable[[], None] = lambda: None,
) -> Attacked:
    """The picture with the best of the stickers, whose pixels take any values.

    Args:
        loss: what to make small.
        pixels: uint8, shape (h, w, 3).
        settings: size and effort.
        progress: called after each step.
    """
    origin = to_tensor(pixels, loss.device)
    best = Attacked(pixels.copy(), _score(loss, origin, settings))
    height, width = pixels.shape[:2]
    for square in draw_squares(height, width, settings):
        found = to_pixels(_descend(loss, origin, square, settings, progress))
        score = _score(loss, to_tensor(found, loss.device), settings)
        if score < best.loss:
            best = Attacked(found, score)
    return best


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


def _score(loss: Loss, x: torch.Tensor, settings: StickerSettings) -> float:
    with torch.no_grad():
        return float(loss(x, 4 * settings.draws))


def _descend(
    loss: Loss,
    origin: torch.Tensor,
    square: Square,
    settings: StickerSettings,
    progress: Callable[[], None],
) -> torch.Tensor:
    """Steps by the gradient's sign inside the square, from a quarter of the range to nothing."""
    mask = torch.zeros_like(origin)
    mask[(slice(None), *square.window)] = 1.0
    x = origin
    for step in range(settings.steps):
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(x, settings.draws), x)
        size = 0.25 * (1 - step / settings.steps)
        x = (x.detach() - size * mask * torch.sign(torch.nan_to_num(gradient))).clamp(0, 1)
        progress()
    return x
