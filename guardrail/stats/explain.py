"""What a radius means: the same ℓ2 distance said in terms of a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

from guardrail.stats._checks import check_count, check_non_negative

__all__ = ["RadiusInWords", "explain_radius"]


@dataclass(frozen=True, slots=True)
class RadiusInWords:
    """One radius in several units; every number is rounded down.

    Attributes:
        radius: ℓ2, client pixels with values in [0, 1].
        width_px: width of the picture (of all pictures side by side, where there are several).
        height_px: its height.
        channels: values per pixel.
        rms_levels: a change that uses the whole radius evenly alters each value by this many
            8-bit levels, root mean square.
        linf_levels: every change of at most this many 8-bit levels per value is covered; the
            same number as `rms_levels`, since the even change is the worst for its size.
        full_pixels: this many whole pixels may be changed at will (black to white).
        full_values: this many single channel values may be changed at will.
    """

    radius: float
    width_px: int
    height_px: int
    channels: int
    rms_levels: float
    linf_levels: float
    full_pixels: int
    full_values: int

    @property
    def text(self) -> str:
        """Two or three sentences for people."""
        size = f"{self.width_px} × {self.height_px} picture"
        return (
            f"An ℓ2 radius of {self.radius:.4g} in [0, 1] pixel values on a {size}: "
            f"any change of at most {self.linf_levels:.3g} of 255 levels in every value is covered "
            f"(root mean square {self.rms_levels:.3g} levels). "
            f"{self._large_changes}"
            "Beyond the radius nothing is promised; crops, rotations and other large changes "
            "usually lie beyond it."
        )

    @property
    def _large_changes(self) -> str:
        """Which changes of any size are covered; nothing where there are none."""
        if not self.full_values:
            return ""
        pixels = "pixel" if self.full_pixels == 1 else "pixels"
        of_pixels = f"{self.full_pixels} {pixels} or " if self.full_pixels else ""
        values = "value" if self.full_values == 1 else "values"
        many = f"{of_pixels}{self.full_values} single colour {values}"
        return f"So is any change, however large, of up to {many}. "


def explain_radius(
    radius: float, width_px: int, height_px: int, *, channels: int = 3
) -> RadiusInWords:
    """The radius in words, for a picture's size.

    Args:
        radius: ℓ2, client pixels in [0, 1] units, >= 0.
        width_px: >= 1.
        height_px: >= 1.
        channels: values per pixel, >= 1.

    Raises:
        CertificationError: an argument is outside its range.
    """
    radius = check_non_negative("radius", radius)
    width = check_count("width_px", width_px, least=1)
    height = check_count("height_px", height_px, least=1)
    channels = check_count("channels", channels, least=1)
    levels = _down(255.0 * radius / math.sqrt(width * height * channels))
    values = width * height * channels
    return RadiusInWords(
        radius=radius,
        width_px=width,
        height_px=height,
        channels=channels,
        rms_levels=min(levels, 255.0),
        linf_levels=min(levels, 255.0),
        full_pixels=min(math.floor(_down(radius * radius) / channels), width * height),
        full_values=min(math.floor(_down(radius * radius)), values),
    )


def _down(value: float) -> float:
    """A few units in the last place below, so that no count is rounded up; 0 stays 0."""
    return value * (1.0 - 1e-15)
