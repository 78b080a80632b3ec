"""Line charts as SVG text, with no library behind them; dark and light pages both show them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

__all__ = ["Curve", "Panel", "figure"]

_WIDTH, _HEIGHT = 720, 330
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 40, 190, 48
_COLOURS = ("#1f6feb", "#d98200", "#1a8f4c", "#a23bb5", "#c8322f", "#5b6474")


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
class _Axis:
    """Maps values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        low, high, here = (_scale(v, self.log) for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (here - low) / ((high - low) or 1.0)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        step = _round_step((self.high - self.low) / 5.0)
        first, last = math.ceil(self.low / step), math.floor(self.high / step + 1e-9)
        return [step * i for i in range(first, last + 1)]


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
            _text(_LEFT, 22, panel.title, size=14, colour="#1c2330"),
            _text(middle, _HEIGHT - 12, panel.x_label, anchor="middle"),
            _text(14, _TOP - 6, panel.y_label),
            *(_x_tick(x, value) for value in x.ticks()),
            *(_y_tick(y, value) for value in y.ticks()),
            *(_mark(x, value, label) for value, label in panel.marks),
            *(_curve(curve, i, panel, x, y) for i, curve in enumerate(panel.curves)),
        )
    )


def _axis(panel: Panel, part: int, log: bool, start: float, end: float) -> _Axis:
    """From the smallest to the largest value of all curves; a linear one begins at 0 or below."""
    values = [point[part] for curve in panel.curves for point in _show(curve, panel)]
    low, high = min(values), max(values)
    if log:
        low, high = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
    return _Axis(low if log else min(low, 0.0), high, start, end, log)


def _show(curve: Curve, panel: Panel) -> list[tuple[float, float]]:
    return [
        (x, y)
        for x, y in curve.points
        if (x > 0.0 or not panel.log_x) and (y > 0.0 or not panel.log_y)
    ]


def _curve(curve: Curve, index: int, panel: Panel, x: _Axis, y: _Axis) -> str:
    colour = _COLOURS[index % len(_COLOURS)]
    dash = ' stroke-dasharray="6 4"' if curve.dashed else ""
    points = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in _show(curve, panel))
    left, top = _WIDTH - _RIGHT + 14, _TOP + 12 + 18 * index
    return (
        f'<polyline fill="none" stroke="{colour}" stroke-width="2"{dash} points="{points}"/>'
        f'<line x1="{left}" x2="{left + 20}" y1="{top - 4}" y2="{top - 4}" stroke="{colour}" '
        f'stroke-width="3"{dash}/>{_text(left + 26, top, curve.label)}'
    )


def _x_tick(axis: _Axis, value: float) -> str:
    place = axis.at(value)
    return _line(place, place, _TOP, _HEIGHT - _BOTTOM) + _text(
        place, _HEIGHT - _BOTTOM + 16, _number(value), anchor="middle"
    )


def _y_tick(axis: _Axis, value: float) -> str:
    place = axis.at(value)
    return _line(_LEFT, _WIDTH - _RIGHT, place, place) + _text(
        _LEFT - 6, place + 4, _number(value), anchor="end"
    )


def _mark(axis: _Axis, value: float, label: str) -> str:
    place = axis.at(value)
    return _line(place, place, _TOP, _HEIGHT - _BOTTOM, colour="#1c2330", dash="3 4") + _text(
        place - 4, _TOP + 12, label, anchor="end", colour="#1c2330"
    )


def _line(
    x1: float, x2: float, y1: float, y2: float, *, colour: str = "#e4e8ee", dash: str = ""
) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#5b6474"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.6g}"


def _scale(value: float, log: bool) -> float:
    return math.log10(value) if log else value


def _round_step(rough: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if rough <= 0.0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
