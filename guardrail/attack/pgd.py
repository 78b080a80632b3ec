"""Projected gradient descent with random restarts (Madry et al. 2018, arXiv 1706.06083)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

import torch

from guardrail.attack.tensors import to_pixels, to_tensor
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.attack.objectives import Loss
    from guardrail.types import Pixels

__all__ = ["AttackSettings", "Attacked", "Norm", "attack"]


class Norm(StrEnum):
    L2 = "l2"
    LINF = "linf"


@dataclass(frozen=True, slots=True)
class AttackSettings:
    """How hard to try.

    Attributes:
        norm: which distance `epsilon` bounds.
        epsilon: largest change, client pixels in [0, 1].
        steps: gradient steps of one restart.
        restarts: the first starts at the picture itself, the others inside the ball.
        draws: variants a step, where the loss is of the guard's own.
        seed: fixes the random restarts.

    Raises:
        ConfigError: a number is not above 0.
    """

    norm: Norm
    epsilon: float
    steps: int = 60
    restarts: int = 1
    draws: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epsilon", "steps", "restarts", "draws"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError("must be a number above 0", field=name)


@dataclass(frozen=True, slots=True)
class Attacked:
    """The best picture found, on the 8-bit grid and inside the ball, and its loss."""

    pixels: Pixels
    loss: float


def attack(
    loss: Loss,
    pixels: Pixels,
    settings: AttackSettings,
    *,
    progress: Callable[[], None] = lambda: None,
) -> Attacked:
    """Searches the ball around `pixels` for the picture with the smallest loss.

    The picture itself is a candidate, so what is found is never worse than doing nothing, as far
    as the noise of the comparison allows.

    Args:
        loss: what to make small.
        pixels: uint8, shape (h, w, 3).
        settings: norm, size and effort.
        progress: called after each step.
    """
    origin = to_tensor(pixels, loss.device)
    best = Attacked(pixels.copy(), _score(loss, origin, settings))
    for restart in range(settings.restarts):
        start = _start(origin, settings, restart)
        change = _descend(loss, origin, start, settings, progress)
        found = _quantise(origin, change, settings)
        score = _score(loss, found, settings)
        if score < best.loss:
            best = Attacked(to_pixels(found), score)
    return best


def _start(origin: torch.Tensor, settings: AttackSettings, restart: int) -> torch.Tensor:
    """No change at first, then random points of the ball, the same ones on every device."""
    if restart == 0:
        return torch.zeros_like(origin)
    generator = torch.Generator().manual_seed(settings.seed + restart)
    return _project(
        settings.epsilon * torch.randn(origin.shape, generator=generator).to(origin), settings
    )


def _score(loss: Loss, x: torch.Tensor, settings: AttackSettings) -> float:
    with torch.no_grad():
        return float(loss(x, 4 * settings.draws))


def _descend(
    loss: Loss,
    origin: torch.Tensor,
    change: torch.Tensor,
    settings: AttackSettings,
    done: Callable[[], None],
) -> torch.Tensor:
    """Normalised gradient steps that shrink from a quarter of the ball to almost nothing."""
    for step in range(settings.steps):
        change = change.detach().requires_grad_(True)
        value = loss((origin + change).clamp(0, 1), settings.draws)
        (gradient,) = torch.autograd.grad(value, change)
        gradient = torch.nan_to_num(gradient)  # halves overflow on some models
        size = settings.epsilon * 0.25 * (1 - step / settings.steps)
        change = _project(change.detach() - size * _direction(gradient, settings.norm), settings)
        change = (origin + change).clamp(0, 1) - origin
        done()
    return change.detach()


def _direction(gradient: torch.Tensor, norm: Norm) -> torch.Tensor:
    match norm:
        case Norm.L2:
            return torch.nn.functional.normalize(gradient.flatten(), dim=0).view_as(gradient)
        case Norm.LINF:
            return torch.sign(gradient)
        case _:
            assert_never(norm)


def _project(change: torch.Tensor, settings: AttackSettings) -> torch.Tensor:
    match settings.norm:
        case Norm.L2:
            share = min(1.0, settings.epsilon / max(float(change.norm()), 1e-20))
            return change * share
        case Norm.LINF:
            return torch.clamp(change, -settings.epsilon, settings.epsilon)
        case _:
            assert_never(settings.norm)


def _quantise(origin: torch.Tensor, change: torch.Tensor, settings: AttackSettings) -> torch.Tensor:
    """The picture on the 8-bit grid; shrinks the change until the rounded one is in the ball.

    Ends, because a change shrunk below half a level rounds to none.
    """
    levels = (origin * 255).round()
    share = 1.0
    while True:
        found = ((origin + share * change).clamp(0, 1) * 255).round()
        moved = (found - levels).double() / 255
        size = moved.norm() if settings.norm is Norm.L2 else moved.abs().max()
        if float(size) <= settings.epsilon:
            return found / 255
        share *= 0.97
