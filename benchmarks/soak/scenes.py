"""Pictures at a known distance from the model's plane."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

__all__ = ["DISTANCES", "SIDE_PX", "normal", "picture"]

SIDE_PX = 28  # the least side of a canvas: the guard pads smaller ones
DISTANCES = {"clean": 2.0, "close": 0.25, "attacked": -0.8, "forbidden": -2.0}
"""Signed ℓ2 distances, in [0, 1] pixel units; the harmless rate under noise is Φ(distance / sigma).

Attacked ones are clean ones that were moved over the plane; close ones are harmless, and not
certifiable.
"""


def normal() -> np.ndarray:
    """Green is harmless, red is not."""
    plane = np.zeros((SIDE_PX, SIDE_PX, 3))
    plane[:, :, 0], plane[:, :, 1] = -1.0, 1.0
    return plane


def picture(kind: str, rng: np.random.Generator, comment: str) -> bytes:
    """A PNG file of this kind, none like another, with a comment in a chunk of text."""
    unit = normal() / np.linalg.norm(normal())
    grey = rng.uniform(0.4, 0.6, (SIDE_PX, SIDE_PX, 1)) * np.ones(3)
    pixels = grey + DISTANCES[kind] * unit + rng.normal(0.0, 0.01, grey.shape)
    info = PngInfo()
    info.add_text("Comment", comment)
    buffer = io.BytesIO()
    image = Image.fromarray(np.clip(np.rint(255.0 * pixels), 0, 255).astype(np.uint8))
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()
