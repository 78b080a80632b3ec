"""The course of a soak as SVG: latency and memory over time, with what was done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.svg import Axis, draw_curve, draw_line, draw_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["draw_chart"]

WIDTH, HEIGHT = 900, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 880, 56, 260
INK, GRID, EVENT = "#222222", "#dddddd", "#b00020"
COLOURS = ("#1f5fa8", "#c46a00", "#2d8a4e", "#7a3fa0")


def draw_chart(
    title: str,
    unit: str,
    curves: Mapping[str, Sequence[Sequence[tuple[float, float]]]],
    events: Sequence[tuple[float, str]],
    minutes: float,
) -> str:
    """Curves by their names, each in pieces of (seconds, value); events as (seconds, words)."""
    highest = max(
        (y for pieces in curves.values() for piece in pieces for _, y in piece), default=1.0
    )
    x = Axis(0.0, minutes, LEFT, RIGHT)
    y = Axis(0.0, 1.05 * highest, BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        draw_text(LEFT, 18, title, colour=INK, size=14),
    ]
    for tick in y.ticks():
        parts.append(draw_line(LEFT, RIGHT, y.at(tick), y.at(tick), colour=GRID))
        parts.append(draw_text(LEFT - 6, y.at(tick) + 4, f"{tick:g}", colour=INK, anchor="end"))
    for tick in x.ticks():
        parts.append(
            draw_text(x.at(tick), BOTTOM + 16, f"{tick:g} min", colour=INK, anchor="middle")
        )
    parts.append(draw_text(LEFT - 6, TOP - 10, unit, colour=INK, anchor="end"))
    for number, (at_s, words) in enumerate(events):
        at = x.at(at_s / 60.0)
        parts.append(draw_line(at, at, TOP, BOTTOM, colour=EVENT, dash="3 3"))
        parts.append(draw_text(at + 3, TOP + 10 + 12 * (number % 2), words, colour=EVENT, size=10))
    for number, (name, pieces) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(draw_text(LEFT + 130 * number, 36, f"— {name}", colour=colour))
        for piece in pieces:
            points = [(x.at(at_s / 60.0), y.at(value)) for at_s, value in piece]
            if len(points) > 1:
                parts.append(draw_curve(points, colour=colour))
    return "\n".join([*parts, "</svg>", ""])
