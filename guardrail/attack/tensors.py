"""Between pictures, uint8 of shape (h, w, 3), and tensors of shape (3, h, w) in [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from guardrail.types import Pixels

__all__ = ["distances", "to_pixels", "to_tensor"]


def to_tensor(pixels: Pixels, device: torch.device | str) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).to(device).permute(2, 0, 1).float() / 255


def to_pixels(x: torch.Tensor) -> Pixels:
    """The picture on the 8-bit grid that is nearest, value by value."""
    levels = (x.detach() * 255).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(1, 2, 0).contiguous().cpu().numpy()


def distances(one: Pixels, other: Pixels) -> dict[str, float]:
    """ℓ2, ℓ∞ (pixels in [0, 1]) and root-mean-square in 8-bit levels between two pictures."""
    change = (one.astype(np.float64) - other.astype(np.float64)) / 255
    return {
        "l2": float(np.linalg.norm(change)),
        "linf": float(np.abs(change).max()),
        "rms_levels": float(255 * np.sqrt(np.mean(change**2))),
    }
