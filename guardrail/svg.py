"""Parts of charts as SVG text, with no library behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Axis", "draw_curve", "draw_dot", "draw_line", "draw_text"]


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values to pixels.

    Attributes:
        low: the value at `start`; above 0 where `log`.
        high: the value at `end`.
        start: a pixel; for a vertical axis the lower end, whose number is the larger one.
        end: a pixel.
        log: whether equal distances are equal factors.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, here = (_scale(v, self.log) for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (here - low) / ((high - low) or 1.0)

    def ticks(self) -> list[float]:
        """About five round values; powers of ten where `log`."""
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        step = _round_step((self.high - self.low) / 5.0)
        first, last = math.ceil(self.low / step), math.floor(self.high / step + 1e-9)
        return [step * i for i in range(first, last + 1)]


def draw_text(
    x: float,
    y: float,
    text: str,
    *,
    colour: str,
    anchor: str = "start",
    size: int | None = None,
) -> str:
    """A text that may hold any characters; without a size it has the document's."""
    sized = "" if size is None else f' font-size="{size}"'
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{sized} fill="{colour}">'
        f"{escape(text)}</text>"
    )


def draw_line(
    x1: float, x2: float, y1: float, y2: float, *, colour: str, width: int = 1, dash: str = ""
) -> str:
    """A straight line; `dash` are lengths of strokes and gaps, as in "6 4"."""
    return (
        f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"{_dashes(dash)}/>'
    )


def draw_curve(
    points: Iterable[tuple[float, float]], *, colour: str, dash: str = "", opacity: float = 1.0
) -> str:
    """Straight lines from each pixel to the next."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline fill="none" stroke="{colour}" stroke-width="2" opacity="{opacity:g}"'
        f'{_dashes(dash)} points="{joined}"/>'
    )


def draw_dot(x: float, y: float, *, colour: str, opacity: float = 1.0) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}" opacity="{opacity:g}"/>'


def _dashes(dash: str) -> str:
    return f' stroke-dasharray="{dash}"' if dash else ""


def _scale(value: float, log: bool) -> float:
    return math.log10(value) if log else value


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if rough <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
