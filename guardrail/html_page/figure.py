"""Line charts as SVG: documents of their own on white, or parts of a page in its colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from guardrail.svg import Axis, draw_curve, draw_line, draw_text

__all__ = ["Curve", "Panel", "figure"]

_WIDTH, _HEIGHT = 720, 330
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 40, 190, 48


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


@dataclass(frozen=True, slots=True)
class _Palette:
    """Colours of SVG; `back` is empty where the figure stands on something already."""

    ink: str
    soft: str
    grid: str
    series: tuple[str, ...]
    back: str = ""


# A document is shown by programs that know no variables of CSS.
_WHITE = _Palette(
    "#1a2130",
    "#535d6f",
    "#dbe0e8",
    ("#1f63d6", "#b26a00", "#12803f", "#9334a8", "#b92d29", "#535d6f"),
    back="#ffffff",
)
_PAGE = _Palette(
    "var(--ink)",
    "var(--soft)",
    "var(--line)",
    tuple(f"var(--series-{i})" for i in range(1, 7)),
)


def figure(panels: tuple[Panel, ...], *, in_page: bool = False) -> str:
    """The panels below each other: one SVG document, or a part of a page, dark where it is."""
    palette = _PAGE if in_page else _WHITE
    height = _HEIGHT * len(panels)
    body = "".join(
        f'<g transform="translate(0 {_HEIGHT * i})">{_panel(panel, palette)}</g>'
        for i, panel in enumerate(panels)
    )
    back = f'<rect width="{_WIDTH}" height="{height}" fill="{palette.back}"/>'
    title = escape("; ".join(panel.title for panel in panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="12" '
        f'role="img" aria-label="{title}">{back if palette.back else ""}{body}</svg>\n'
    )


def _panel(panel: Panel, palette: _Palette) -> str:
    x = _axis(panel, 0, panel.log_x, _LEFT, _WIDTH - _RIGHT)
    y = _axis(panel, 1, panel.log_y, _HEIGHT - _BOTTOM, _TOP)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return "".join(
        (
            draw_text(_LEFT, 22, panel.title, colour=palette.ink, size=14),
            draw_text(middle, _HEIGHT - 12, panel.x_label, colour=palette.soft, anchor="middle"),
            draw_text(14, _TOP - 6, panel.y_label, colour=palette.soft),
            *(_x_tick(x, value, palette) for value in x.ticks()),
            *(_y_tick(y, value, palette) for value in y.ticks()),
            *(_mark(x, value, label, palette) for value, label in panel.marks),
            *(_curve(curve, i, panel, (x, y), palette) for i, curve in enumerate(panel.curves)),
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


def _curve(
    curve: Curve, index: int, panel: Panel, axes: tuple[Axis, Axis], palette: _Palette
) -> str:
    """The curve, and its line in the legend."""
    (x, y), dash = axes, "6 4" if curve.dashed else ""
    colour = palette.series[index % len(palette.series)]
    left, top = _WIDTH - _RIGHT + 14, _TOP + 12 + 18 * index
    return "".join(
        (
            draw_curve(
                [(x.at(a), y.at(b)) for a, b in _show(curve, panel)], colour=colour, dash=dash
            ),
            draw_line(left, left + 20, top - 4, top - 4, colour=colour, width=3, dash=dash),
            draw_text(left + 26, top, curve.label, colour=palette.soft),
        )
    )


def _x_tick(axis: Axis, value: float, palette: _Palette) -> str:
    x, bottom = axis.at(value), _HEIGHT - _BOTTOM
    return draw_line(x, x, _TOP, bottom, colour=palette.grid) + draw_text(
        x, bottom + 16, _number(value), colour=palette.soft, anchor="middle"
    )


def _y_tick(axis: Axis, value: float, palette: _Palette) -> str:
    y = axis.at(value)
    return draw_line(_LEFT, _WIDTH - _RIGHT, y, y, colour=palette.grid) + draw_text(
        _LEFT - 6, y + 4, _number(value), colour=palette.soft, anchor="end"
    )


def _mark(axis: Axis, value: float, label: str, palette: _Palette) -> str:
    x = axis.at(value)
    return draw_line(x, x, _TOP, _HEIGHT - _BOTTOM, colour=palette.ink, dash="3 4") + draw_text(
        x - 4, _TOP + 12, label, colour=palette.ink, anchor="end"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.6g}"
