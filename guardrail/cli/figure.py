"""Line charts as SVG documents; dark and light pages both show them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from guardrail.svg import Axis, draw_curve, draw_line, draw_text

__all__ = ["Curve", "Panel", "figure"]

_WIDTH, _HEIGHT = 720, 330
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 40, 190, 48
_COLOURS = ("#1f6feb", "#d98200", "#1a8f4c", "#a23bb5", "#c8322f", "#5b6474")
_INK, _SOFT, _GRID = "#1c2330", "#5b6474", "#e4e8ee"


@dataclass(frozen=True, slots=True)
class Curve:
    """Points in the order in which they are joined; `dashed` marks approximations."""

    label: str
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes. On a logarithmic axis points at or below 0 are left out.

    Attributes:
        title: above the axes.
        x_label: below them; `y_label` beside them.
        curves: at least one with a point.
        marks: (x, label) of vertical lines.
        log_x: whether x grows by factors; `log_y` alike.
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    marks: tuple[tuple[float, str], ...] = ()
    log_x: bool = False
    log_y: bool = False


def figure(panels: tuple[Panel, ...]) -> str:
    """The panels below each other, as one SVG document."""
    height = _HEIGHT * len(panels)
    body = "".join(
        f'<g transform="translate(0 {_HEIGHT * i})">{_panel(panel)}</g>'
        for i, panel in enumerate(panels)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>{body}</svg>\n'
    )


def _panel(panel: Panel) -> str:
    x = _axis(panel, 0, panel.log_x, _LEFT, _WIDTH - _RIGHT)
    y = _axis(panel, 1, panel.log_y, _HEIGHT - _BOTTOM, _TOP)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return "".join(
        (
            draw_text(_LEFT, 22, panel.title, colour=_INK, size=14),
            draw_text(middle, _HEIGHT - 12, panel.x_label, colour=_SOFT, anchor="middle"),
            draw_text(14, _TOP - 6, panel.y_label, colour=_SOFT),
            *(_x_tick(x, value) for value in x.ticks()),
            *(_y_tick(y, value) for value in y.ticks()),
            *(_mark(x, value, label) for value, label in panel.marks),
            *(_curve(curve, i, panel, x, y) for i, curve in enumerate(panel.curves)),
        )
    )


def _axis(panel: Panel, part: int, log: bool, start: float, end: float) -> Axis:
    """From the smallest to the largest value of all curves; a linear one begins at 0 or below."""
    values = [point[part] for curve in panel.curves for point in _show(curve, panel)]
    low, high = min(values), max(values)
    if log:
        low, high = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
    return Axis(low if log else min(low, 0.0), high, start, end, log)


def _show(curve: Curve, panel: Panel) -> list[tuple[float, float]]:
    return [
        (x, y)
        for x, y in curve.points
        if (x > 0.0 or not panel.log_x) and (y > 0.0 or not panel.log_y)
    ]


def _curve(curve: Curve, index: int, panel: Panel, x: Axis, y: Axis) -> str:
    """The curve, and its line in the legend."""
    colour, dash = _COLOURS[index % len(_COLOURS)], "6 4" if curve.dashed else ""
    left, top = _WIDTH - _RIGHT + 14, _TOP + 12 + 18 * index
    return "".join(
        (
            draw_curve(
                [(x.at(a), y.at(b)) for a, b in _show(curve, panel)], colour=colour, dash=dash
            ),
            draw_line(left, left + 20, top - 4, top - 4, colour=colour, width=3, dash=dash),
            draw_text(left + 26, top, curve.label, colour=_SOFT),
        )
    )


def _x_tick(axis: Axis, value: float) -> str:
    x, bottom = axis.at(value), _HEIGHT - _BOTTOM
    return draw_line(x, x, _TOP, bottom, colour=_GRID) + draw_text(
        x, bottom + 16, _number(value), colour=_SOFT, anchor="middle"
    )


def _y_tick(axis: Axis, value: float) -> str:
    y = axis.at(value)
    return draw_line(_LEFT, _WIDTH - _RIGHT, y, y, colour=_GRID) + draw_text(
        _LEFT - 6, y + 4, _number(value), colour=_SOFT, anchor="end"
    )


def _mark(axis: Axis, value: float, label: str) -> str:
    x = axis.at(value)
    return draw_line(x, x, _TOP, _HEIGHT - _BOTTOM, colour=_INK, dash="3 4") + draw_text(
        x - 4, _TOP + 12, label, colour=_INK, anchor="end"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.6g}"
