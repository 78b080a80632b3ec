"""The smallest change that reaches the attacker's goal: decoupled direction and norm (DDN).

Rony et al. 2019 (arXiv 1811.09600), Algorithm 1: the direction follows the gradient, and the norm
shrinks by a fixed share while the goal is reached and grows by it while it is not. What it finds is
an upper bound of the true minimum: a stronger attack can only find a smaller one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from guardrail.attack.tensors import distances, to_pixels, to_tensor
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.attack.objectives import Loss
    from guardrail.types import Pixels

__all__ = ["MinimumNormSettings", "SmallestChange", "find_smallest_change"]

_SHARE = 0.05  # gamma: by how much the norm shrinks or grows in a step
_FARTHER = 4.0  # the norm that a restart begins with, after one that found nothing
_LAST_STEP = 0.01  # the share of the first step that cosine annealing ends at
# The rounded change is tried at these multiples of the one that was found, the smallest first.
_LEAST, _GREATEST, _GROWTH = 0.85, 2.0, 1.04


@dataclass(frozen=True, slots=True)
class MinimumNormSettings:
    """How hard to try.

    Attributes:
        steps: gradient steps of one restart.
        restarts: the first starts at the picture itself, the others at random points near it.
        first_norm: ℓ2 norm that the search begins with, client pixels in [0, 1].
        draws: variants a step, where the loss is of the guard's own.
        seed: fixes the random starts.

    Raises:
        ConfigError: a number is not above 0.
    """

    steps: int = 80
    restarts: int = 2
    first_norm: float = 1.0
    draws: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "restarts", "first_norm", "draws"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError("must be a number above 0", field=name)


@dataclass(frozen=True, slots=True)
class SmallestChange:
    """A changed picture on the 8-bit grid that reached the goal, and how far it was moved.

    `l2` is the distance between the two pictures as they are written, client pixels in [0, 1].
    """

    pixels: Pixels
    l2: float


def find_smallest_change(
    loss: Loss,
    pixels: Pixels,
    settings: MinimumNormSettings,
    *,
    is_reached: Callable[[Pixels], bool],
    progress: Callable[[], None] = lambda: None,
) -> SmallestChange | None:
    """The nearest picture that reaches the goal, as it is written.

    Args:
        loss: at most 0 where its own goal is reached.
        pixels: uint8, shape (h, w, 3).
        settings: effort.
        is_reached: whether a picture reaches the attacker's goal, in 8 bits. The loss only stands
            for it: it may be reached earlier or later than the loss says.
        progress: called after each step.

    Returns:
        None where no restart found a picture that reaches it. The picture itself, at distance 0,
        where it does already.
    """
    if is_reached(pixels):
        return SmallestChange(pixels, 0.0)
    best: SmallestChange | None = None
    origin = to_tensor(pixels, loss.device)
    norm = settings.first_norm
    for restart in range(settings.restarts):
        start = norm * _start(origin, settings, restart)
        change = _descend(loss, origin, start, norm, settings, progress)
        if change is None:
            norm *= _FARTHER
        limit = math.inf if best is None else best.l2
        found = None if change is None else _write(origin, pixels, change, is_reached, limit)
        best = found or best
    return best


def _start(origin: torch.Tensor, settings: MinimumNormSettings, restart: int) -> torch.Tensor:
    """No change at first, then random directions, the same ones on every device."""
    if restart == 0:
        return torch.zeros_like(origin)
    generator = torch.Generator().manual_seed(settings.seed + restart)
    return _unit(torch.randn(origin.shape, generator=generator).to(origin))


def _descend(
    loss: Loss,
    origin: torch.Tensor,
    change: torch.Tensor,
    norm: float,
    settings: MinimumNormSettings,
    progress: Callable[[], None],
) -> torch.Tensor | None:
    """The smallest change of all steps at which the loss was at most 0; None where none was."""
    best, smallest = None, math.inf
    x = (origin + change).clamp(0, 1)
    for step in range(settings.steps):
        x = x.detach().requires_grad_(True)
        value = loss(x, settings.draws)
        (gradient,) = torch.autograd.grad(value, x)
        moved = x.detach() - origin
        reached = float(value.detach()) <= 0.0
        if reached and float(moved.norm()) < smallest:
            best, smallest = moved, float(moved.norm())
        size = _step_size(step, settings) * norm
        norm *= 1.0 - _SHARE if reached else 1.0 + _SHARE
        change = moved - size * _unit(torch.nan_to_num(gradient))
        x = (origin + norm * _unit(change)).clamp(0, 1)
        progress()
    return best


def _step_size(step: int, settings: MinimumNormSettings) -> float:
    """From 1 down to `_LAST_STEP` along half a cosine."""
    phase = (1.0 + math.cos(math.pi * step / settings.steps)) / 2.0
    return _LAST_STEP + (1.0 - _LAST_STEP) * phase


def _unit(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(x.flatten(), dim=0).view_as(x)


def _write(
    origin: torch.Tensor,
    pixels: Pixels,
    change: torch.Tensor,
    is_reached: Callable[[Pixels], bool],
    limit: float,
) -> SmallestChange | None:
    """The first multiple of `change` whose rounded picture reaches the goal nearer than `limit`."""
    share = _LEAST
    while share <= _GREATEST:
        written = to_pixels(origin + share * change)
        l2 = distances(written, pixels)["l2"]
        if l2 >= limit:
            return None
        if is_reached(written):
            return SmallestChange(written, l2)
        share *= _GROWTH
    return None
