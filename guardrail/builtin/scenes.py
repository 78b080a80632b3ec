"""Draws scenes: one to three emoji on a varied background, with the truth about what is shown.

Only training, evaluation and the making of demo pictures need this; it wants Pillow and the
Noto Color Emoji font (Debian package `fonts-noto-color-emoji`, OFL).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from guardrail.builtin.kinds import BACKGROUNDS, FORBIDDEN, HARMLESS, KINDS
from guardrail.errors import ConfigError

__all__ = ["FONT_PATH", "Placed", "Scene", "SpriteBank", "draw_scene", "paste"]

FONT_PATH = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
_FONT_PX = 109  # the only size at which the font holds bitmaps
_SMALLEST, _LARGEST = 0.30, 0.80  # a thing's longer side, as a share of the picture's
_LARGEST_BY_COUNT = {0: 0.80, 1: 0.80, 2: 0.50, 3: 0.42}
_PLACING_TRIES = 60

Rgb = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Placed:
    """One thing in a scene; the box is (left, top, right, bottom) in pixels."""

    kind: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """Pixels (side, side, 3) uint8, the things from left to right, the background's name.

    `owner` (side, side) int16 holds the index into KINDS of the thing covering a pixel, or -1.
    """

    pixels: NDArray[np.uint8]
    things: tuple[Placed, ...]
    background: str
    owner: NDArray[np.int16]

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(thing.kind for thing in self.things)


class SpriteBank:
    """Every kind rendered at several random sizes and angles, ready to be pasted."""

    def __init__(
        self, *, side: int, variants: int, rng: np.random.Generator, font_path: Path = FONT_PATH
    ) -> None:
        if not font_path.is_file():
            raise ConfigError(
                "the emoji font is not there; install it with "
                "'apt-get install fonts-noto-color-emoji'",
                file=str(font_path),
            )
        font = ImageFont.truetype(str(font_path), _FONT_PX)
        self.side = side
        self._sprites = {
            kind: _variants(_glyph(font, _emoji(kind)), side, variants, rng) for kind in KINDS
        }

    def pick(self, kind: str, largest: float, rng: np.random.Generator) -> NDArray[np.uint8]:
        """A random variant (h, w, 4) of a kind, no larger than this share of the side."""
        sprites = self._sprites[kind]
        fitting = sum(max(sprite.shape) <= largest * self.side for sprite in sprites)
        return sprites[int(rng.integers(max(1, fitting)))]


def draw_scene(
    bank: SpriteBank,
    rng: np.random.Generator,
    kinds: tuple[str, ...],
    background: str | None = None,
) -> Scene:
    """Places the kinds, up to three, at random, without overlap, on a background of that colour."""
    name = background or str(rng.choice(list(BACKGROUNDS)))
    canvas = _background(name, bank.side, rng)
    owner = np.full((bank.side, bank.side), -1, dtype=np.int16)
    things = []
    for kind, (sprite, left, top) in zip(kinds, _place(bank, kinds, rng), strict=True):
        things.append(paste(canvas, owner, sprite, left, top, kind, rng))
    things.sort(key=lambda thing: thing.box[0] + thing.box[2])
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return Scene(pixels, tuple(things), name, owner)


def _emoji(kind: str) -> str:
    return HARMLESS[kind] if kind in HARMLESS else FORBIDDEN[kind][0]


def _glyph(font: ImageFont.FreeTypeFont, emoji: str) -> Image.Image:
    tile = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    ImageDraw.Draw(tile).text((30, 30), emoji, font=font, embedded_color=True)
    return tile.crop(tile.getbbox())


def _variants(
    glyph: Image.Image, side: int, count: int, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """Rendered sprites, smallest first; sizes are spread evenly on a logarithmic scale."""
    steps = (np.arange(count) + rng.uniform(size=count)) / count
    sizes = _SMALLEST * (_LARGEST / _SMALLEST) ** steps
    sprites = []
    for size in sizes:
        turned = glyph.rotate(
            float(rng.uniform(-25, 25)), resample=Image.Resampling.BICUBIC, expand=True
        )
        turned = turned.crop(turned.getbbox())
        scale = size * side / max(turned.size)
        shape = (max(1, round(turned.width * scale)), max(1, round(turned.height * scale)))
        sprites.append(np.asarray(turned.resize(shape, Image.Resampling.BOX, reducing_gap=None)))
    return sorted(sprites, key=lambda sprite: max(sprite.shape))


def _place(
    bank: SpriteBank, kinds: tuple[str, ...], rng: np.random.Generator
) -> list[tuple[NDArray[np.uint8], int, int]]:
    """Sprites with their top-left corners; shrinks the things until they fit."""
    largest = _LARGEST_BY_COUNT[len(kinds)]
    while True:
        for _ in range(_PLACING_TRIES):
            placed = [(bank.pick(kind, largest, rng), 0, 0) for kind in kinds]
            placed = [_corner(sprite, bank.side, rng) for sprite, _, _ in placed]
            if _apart(placed, bank.side):
                return placed
        largest = max(_SMALLEST, largest * 0.9)


def _corner(
    sprite: NDArray[np.uint8], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], int, int]:
    height, width = sprite.shape[:2]
    return (
        sprite,
        int(rng.integers(0, max(1, side - width + 1))),
        int(rng.integers(0, max(1, side - height + 1))),
    )


def _apart(placed: list[tuple[NDArray[np.uint8], int, int]], side: int) -> bool:
    """True if no two things overlap much and their order from left to right is plain."""
    circles = [
        (left + s.shape[1] / 2, top + s.shape[0] / 2, 0.44 * max(s.shape[:2]))
        for s, left, top in placed
    ]
    return all(
        (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 >= (a[2] + b[2]) ** 2
        and abs(a[0] - b[0]) >= 0.06 * side
        for i, a in enumerate(circles)
        for b in circles[i + 1 :]
    )


def paste(
    canvas: Rgb,
    owner: NDArray[np.int16],
    sprite: NDArray[np.uint8],
    left: int,
    top: int,
    kind: str,
    rng: np.random.Generator,
) -> Placed:
    """Blends a sprite into the canvas and marks its pixels as the kind's; both change in place."""
    height, width = sprite.shape[:2]
    window = (slice(top, top + height), slice(left, left + width))
    alpha = sprite[..., 3:].astype(np.float32) / 255
    colour = sprite[..., :3].astype(np.float32) * np.float32(rng.uniform(0.85, 1.12))
    canvas[window] += alpha * (colour - canvas[window])
    owner[window][alpha[..., 0] > 0.5] = KINDS.index(kind)
    return Placed(kind, (left, top, left + width, top + height))


def _background(name: str, side: int, rng: np.random.Generator) -> Rgb:
    """A named colour with a jitter, a gradient and a soft texture."""
    base = np.array(BACKGROUNDS[name], dtype=np.float32) + rng.uniform(-12, 12, 3)
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]
    field = rng.uniform(0, 22) * ramp
    if rng.random() < 0.5:
        stripes = np.sin(axis * rng.uniform(6, 40) + rng.uniform(0, 6))
        field = field + rng.uniform(0, 9) * (
            stripes[None, :] if angle < np.pi else stripes[:, None]
        )
    if rng.random() < 0.5:
        coarse = rng.normal(0, rng.uniform(0, 9), (8, 8)).astype(np.float32)
        soft = Image.fromarray(coarse).resize((side, side), Image.Resampling.BILINEAR)
        field = field + np.asarray(soft)
    canvas: Rgb = (base + field[..., None]).astype(np.float32)
    return canvas
