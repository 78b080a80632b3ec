"""Frames and captions: the border of a picture painted over, and all within it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guardrail.attack.region import attack_regions
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import ImageDraw

    from guardrail.attack.objectives import Loss
    from guardrail.attack.pgd import Attacked
    from guardrail.attack.region import Mask, RegionSettings
    from guardrail.types import Pixels

__all__ = ["attack_by_frame", "frame_mask", "paste_frame", "write_caption"]


def frame_mask(height: int, width: int, area: float) -> Mask:
    """The widest frame, as wide on all four sides, of at most that share of the picture.

    Raises:
        ConfigError: a frame one pixel wide is larger than that.
    """
    total = height * width
    width_px = 0
    while _frame_px(height, width, width_px + 1) <= area * total:
        width_px += 1
    if width_px < 1:
        raise ConfigError("is less than a frame of one pixel of this picture", field="area")
    mask = np.ones((height, width), dtype=bool)
    mask[width_px : height - width_px, width_px : width - width_px] = False
    return mask


def _frame_px(height: int, width: int, width_px: int) -> int:
    return height * width - max(0, height - 2 * width_px) * max(0, width - 2 * width_px)


def attack_by_frame(
    loss: Loss,
    pixels: Pixels,
    settings: RegionSettings,
    *,
    progress: Callable[[], None] = lambda: None,
) -> Attacked:
    """The picture with the best frame, whose pixels take any values.

    Args:
        loss: what to make small.
        pixels: uint8, shape (h, w, 3).
        settings: size and effort; the first restart starts at the picture itself, the others at
            random colours.
        progress: called after each step.

    Raises:
        ConfigError: see `frame_mask`.
    """
    height, width = pixels.shape[:2]
    mask = frame_mask(height, width, settings.area)
    rng = np.random.default_rng(settings.seed)
    starts = [(pixels, mask)]
    for _ in range(settings.restarts - 1):
        random = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
        starts.append((np.where(mask[..., None], random, pixels), mask))
    return attack_regions(loss, pixels, starts, settings, progress)


def paste_frame(pixels: Pixels, other: Pixels, area: float) -> Pixels:
    """Another picture, scaled to this one's size, seen only in the frame.

    Raises:
        ConfigError: see `frame_mask`.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    scaled = np.asarray(Image.fromarray(other).resize((width, height)))
    mask = frame_mask(height, width, area)
    framed: Pixels = np.where(mask[..., None], scaled, pixels)
    return framed


def write_caption(pixels: Pixels, text: str, area: float) -> Pixels:
    """Black words on a white band over the lower end of the picture, of at most that share of it.

    The words are as large as the band lets them be.

    Raises:
        ConfigError: the band has not one row, or there are no words.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = pixels.shape[:2]
    rows = int(area * height)
    if rows < 1 or rows >= height:
        raise ConfigError("must leave a band of at least one row, and some picture", field="area")
    if not text.strip():
        raise ConfigError("needs some words", field="caption")
    band = Image.new("RGB", (width, rows), "white")
    drawing = ImageDraw.Draw(band)
    size = float(rows)
    while size > 4 and _is_too_wide(drawing, text, size, width):
        size *= 0.9
    font = ImageFont.load_default(size)
    drawing.text((width / 2, rows / 2), text, fill="black", font=font, anchor="mm")
    captioned = pixels.copy()
    captioned[height - rows :] = np.asarray(band)
    return captioned


def _is_too_wide(drawing: ImageDraw.ImageDraw, text: str, size: float, width: int) -> bool:
    from PIL import ImageFont

    return drawing.textlength(text, font=ImageFont.load_default(size)) > 0.95 * width
