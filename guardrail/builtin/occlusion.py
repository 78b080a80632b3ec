"""Hides parts of a scene: windows of one colour, all but one window, stickers of harmless things.

The truth about the scene follows: a thing that is hidden is no longer shown, one that is half
hidden is never drawn, because nobody could say whether it is shown.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from guardrail.builtin.kinds import HARMLESS, KINDS
from guardrail.builtin.scenes import Placed, Scene, SpriteBank, paste

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["add_sticker", "cover_window", "keep_window"]

_SHOWN_FROM, _HIDDEN_UP_TO = 0.4, 0.12  # shares of a thing's pixels that are left
_TRIES = 8
_STICKER_LARGEST = 0.4  # a sticker's longer side, as a share of the picture's
_ORDER_GAP = 0.06  # how far apart centres must be for a plain order from left to right

Mask = NDArray[np.bool_]


def cover_window(scene: Scene, rng: np.random.Generator) -> Scene:
    """One or two windows, each 15 to 55 percent of the side long and high, of one colour."""

    def windows() -> Mask:
        covered = np.zeros(scene.owner.shape, dtype=bool)
        for _ in range(int(rng.integers(1, 3))):
            covered[_window(scene, 0.15, 0.55, rng)] = True
        return covered

    return _without(scene, windows, rng)


def keep_window(scene: Scene, rng: np.random.Generator) -> Scene:
    """Everything but a window of 35 to 85 percent of the side is of one colour."""

    def rest() -> Mask:
        covered = np.ones(scene.owner.shape, dtype=bool)
        covered[_window(scene, 0.35, 0.85, rng)] = False
        return covered

    return _without(scene, rest, rng)


def add_sticker(scene: Scene, bank: SpriteBank, rng: np.random.Generator) -> Scene:
    """A harmless thing more, pasted anywhere; unchanged if that would half hide another."""
    for _ in range(_TRIES):
        kind = str(rng.choice(list(HARMLESS)))
        sprite = bank.pick(kind, _STICKER_LARGEST, rng)
        if kind in scene.kinds:
            continue
        height, width = sprite.shape[:2]
        left = int(rng.integers(0, bank.side - width + 1))
        top = int(rng.integers(0, bank.side - height + 1))
        canvas, owner = scene.pixels.astype(np.float32), scene.owner.copy()
        sticker = paste(canvas, owner, sprite, left, top, kind, rng)
        left_over = _left_over(scene, owner)
        if left_over is None or not _in_plain_order((*left_over, sticker), bank.side):
            continue
        pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
        return _show(scene, pixels, owner, (*left_over, sticker))
    return scene


def _without(scene: Scene, draw: Callable[[], Mask], rng: np.random.Generator) -> Scene:
    for _ in range(_TRIES):
        covered = draw()
        owner = np.where(covered, np.int16(-1), scene.owner)
        left_over = _left_over(scene, owner)
        if left_over is not None:
            pixels = scene.pixels.copy()
            pixels[covered] = _fill(scene.pixels, rng)
            return _show(scene, pixels, owner, left_over)
    return scene


def _window(
    scene: Scene, smallest: float, largest: float, rng: np.random.Generator
) -> tuple[slice, slice]:
    side = scene.owner.shape[0]
    height, width = (max(1, round(side * share)) for share in rng.uniform(smallest, largest, 2))
    top, left = int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1))
    return slice(top, top + height), slice(left, left + width)


def _fill(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture's median colour, a grey, or any colour."""
    choice = rng.random()
    if choice < 0.4:
        colour = np.median(pixels.reshape(-1, 3), axis=0)
    elif choice < 0.7:
        colour = np.full(3, rng.choice([0, 128, 255]))
    else:
        colour = rng.integers(0, 256, 3)
    filling: NDArray[np.uint8] = colour.astype(np.uint8)
    return filling


def _left_over(scene: Scene, owner: NDArray[np.int16]) -> tuple[Placed, ...] | None:
    """The things still shown, or None if one is neither shown nor hidden."""
    shown = []
    for thing in scene.things:
        index = KINDS.index(thing.kind)
        before, after = (int((pixels == index).sum()) for pixels in (scene.owner, owner))
        share = after / max(1, before)
        if share >= _SHOWN_FROM:
            shown.append(thing)
        elif share > _HIDDEN_UP_TO:
            return None
    return tuple(shown)


def _in_plain_order(things: tuple[Placed, ...], side: int) -> bool:
    centres = sorted((thing.box[0] + thing.box[2]) / 2 for thing in things)
    return all(b - a >= _ORDER_GAP * side for a, b in pairwise(centres))


def _show(
    scene: Scene, pixels: NDArray[np.uint8], owner: NDArray[np.int16], things: tuple[Placed, ...]
) -> Scene:
    """The scene with these things, from left to right; what is left of the others is nothing's."""
    kept = [KINDS.index(thing.kind) for thing in things]
    owner = np.where(np.isin(owner, kept), owner, np.int16(-1))
    ordered = tuple(sorted(things, key=lambda thing: thing.box[0] + thing.box[2]))
    return replace(scene, pixels=pixels, owner=owner, things=ordered)
