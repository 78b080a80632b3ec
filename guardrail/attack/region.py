"""Changes of any size inside a part of the picture, which no ℓ2 radius covers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from guardrail.attack.pgd import Attacked
from guardrail.attack.tensors import to_pixels, to_tensor
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guardrail.attack.objectives import Loss
    from guardrail.types import Pixels

__all__ = ["Mask", "RegionSettings", "attack_regions"]

Mask: TypeAlias = NDArray[np.bool_]
"""Which pixels of a picture, shape (h, w)."""


@dataclass(frozen=True, slots=True)
class RegionSettings:
    """How much of the picture is changed, and how hard to try.

    Attributes:
        area: the largest share of the picture that is changed, in (0, 1).
        steps: gradient steps of one restart.
        restarts: how many starts there are: of stickers, places that are drawn at random.
        draws: variants a step, where the loss is of the guard's own.
        seed: fixes all that is random.

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


def attack_regions(
    loss: Loss,
    pixels: Pixels,
    starts: Iterable[tuple[Pixels, Mask]],
    settings: RegionSettings,
    progress: Callable[[], None] = lambda: None,
) -> Attacked:
    """The best of the changed pictures; the picture itself where none of them is better.

    Args:
        loss: what to make small.
        pixels: uint8, shape (h, w, 3).
        starts: where a search begins, a picture that differs from `pixels` only inside the mask
            that comes with it; pixels inside take any values.
        settings: effort.
        progress: called after each step.
    """
    best = Attacked(pixels.copy(), _score(loss, to_tensor(pixels, loss.device), settings))
    for start, mask in starts:
        x = to_tensor(start, loss.device)
        found = to_pixels(_descend(loss, x, mask, settings, progress))
        score = _score(loss, to_tensor(found, loss.device), settings)
        if score < best.loss:
            best = Attacked(found, score)
    return best


def _score(loss: Loss, x: torch.Tensor, settings: RegionSettings) -> float:
    with torch.no_grad():
        return float(loss(x, 4 * settings.draws))


def _descend(
    loss: Loss,
    x: torch.Tensor,
    mask: Mask,
    settings: RegionSettings,
    progress: Callable[[], None],
) -> torch.Tensor:
    """Steps by the gradient's sign inside the mask, from a quarter of the range to nothing."""
    inside = torch.from_numpy(mask).to(x)
    for step in range(settings.steps):
        x = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss(x, settings.draws), x)
        size = 0.25 * (1 - step / settings.steps)
        x = (x.detach() - size * inside * torch.sign(torch.nan_to_num(gradient))).clamp(0, 1)
        progress()
    return x
