"""Charts as SVG, drawn of numbers alone; beside each a page shows the same numbers in a table.

Colours are the page's own, by `var(--…)`, so that a chart is dark where the page is. All results
are `Markup`: nothing in them comes from a record but numbers, and labels are escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from markupsafe import Markup

from guardrail.svg import Axis, draw_curve, draw_line, draw_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

__all__ = ["Curve", "Mark", "Stack", "draw_chart", "draw_stacks", "draw_times"]

_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 14, 14, 40
_SOFT, _LINE = "var(--soft)", "var(--line)"


@dataclass(frozen=True, slots=True)
class Curve:
    """Points joined by straight lines, in the values of the axes."""

    points: Sequence[tuple[float, float]]
    colour: str
    dash: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A sign at a point: `circle`, `up` or `down`, a triangle. Shapes differ, not colours alone."""

    x: float
    y: float
    colour: str
    shape: str = "circle"
    title: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """One column: when it begins, what it says, and the sizes of its parts from the bottom up."""

    begins: datetime
    title: str
    parts: Sequence[float]


def draw_chart(
    curves: Iterable[Curve],
    *,
    x_label: str,
    y_label: str,
    x_high: float,
    y_high: float,
    title: str,
    marks: Iterable[Mark] = (),
    level: tuple[float, str] | None = None,
    shares: bool = False,
    width: int = 560,
    height: int = 270,
) -> Markup:
    """Curves and marks over two axes that begin at 0.

    Args:
        curves: lines.
        x_label: what the lower axis counts.
        y_label: what the upright axis counts.
        x_high: where the lower axis ends.
        y_high: where the upright axis ends.
        title: what is seen, for those who hear the page.
        marks: signs over the lines.
        level: a height that is drawn across, and its name.
        shares: whether heights are shown in percent.
        width: in the drawing's own units.
        height: likewise.
    """
    x = Axis(0.0, x_high or 1.0, start=_LEFT, end=width - _RIGHT)
    y = Axis(0.0, y_high or 1.0, start=height - _BOTTOM, end=_TOP)
    parts = [_grid(x, y, x_label, y_label, width=width, height=height, shares=shares)]
    if level is not None:
        at = y.at(level[0])
        parts.append(draw_line(x.start, x.end, at, at, colour="var(--ink)", dash="6 5"))
        parts.append(draw_text(x.end, at - 5, level[1], colour="var(--ink)", anchor="end"))
    for one in curves:
        pixels = [(x.at(a), y.at(b)) for a, b in one.points]
        parts.append(draw_curve(pixels, colour=one.colour, dash=one.dash))
    parts += [_mark(x.at(one.x), y.at(one.y), one) for one in marks]
    return _svg(parts, title, width, height)


def draw_stacks(
    stacks: Sequence[Stack],
    colours: Sequence[str],
    *,
    form: str,
    title: str,
    width: int = 1000,
) -> Markup:
    """A column for each part of the time, its parts stacked in these colours.

    Times are in UTC; the page's script shows them in the reader's zone, as an `hour` or a `day`.
    """
    height = 230
    most = max((sum(one.parts) for one in stacks), default=0.0)
    x = Axis(0.0, max(1, len(stacks)), start=_LEFT, end=width - _RIGHT)
    y = Axis(0.0, max(1.0, most), start=height - _BOTTOM, end=_TOP)
    parts = []
    for tick in _whole_ticks(y):
        parts.append(draw_line(x.start, x.end, y.at(tick), y.at(tick), colour=_LINE))
        parts.append(
            draw_text(_LEFT - 8, y.at(tick) + 4, f"{tick:,.0f}", colour=_SOFT, anchor="end")
        )
    every = max(1, -(-len(stacks) // 8))
    gap = 0.12 if len(stacks) <= 60 else 0.0
    for number, one in enumerate(stacks):
        bottom = 0.0
        bars = []
        for size, colour in zip(one.parts, colours, strict=True):
            top = y.at(bottom + size)
            left, right = x.at(number + gap), x.at(number + 1 - gap)
            if size:
                bars.append(
                    f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
                    f'height="{y.at(bottom) - top:.1f}" fill="{escape(colour)}"/>'
                )
            bottom += size
        if bars:
            told = f"<title {_time(one.begins, form, one.title)}</title>"
            parts.append(f"<g>{told}{''.join(bars)}</g>")
        if number % every == 0:
            parts.append(
                f'<text x="{x.at(number + 0.5):.1f}" y="{height - 18}" text-anchor="middle" '
                f'fill="{_SOFT}" {_time(one.begins, form)}</text>'
            )
    parts.append(draw_line(x.start, x.end, y.start, y.start, colour=_SOFT))
    return _svg(parts, title, width, height)


def draw_times(rows: Sequence[tuple[str, float, str]], *, title: str, width: int = 560) -> Markup:
    """A bar for each row: its name, seconds and colour."""
    step = 14
    height = step * len(rows) + 34
    most = max((seconds for _, seconds, _ in rows), default=0.0) or 1.0
    x = Axis(0.0, most, start=_LEFT, end=width - _RIGHT - 60)
    parts = []
    for number, (name, seconds, colour) in enumerate(rows):
        top = 6 + step * number
        parts.append(draw_text(_LEFT - 8, top + 9, name, colour=_SOFT, anchor="end"))
        bar = max(1.0, x.at(seconds) - x.start)
        parts.append(
            f'<rect x="{x.start}" y="{top}" width="{bar:.1f}" height="{step - 4}" '
            f'fill="{escape(colour)}"/>'
        )
        label = f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
        parts.append(draw_text(x.start + bar + 6, top + 9, label, colour=_SOFT))
    return _svg(parts, title, width, height)


def _time(time: datetime, form: str, rest: str = "") -> str:
    """The end of an opening tag, and a time that the page's script shows in the reader's zone."""
    shown = f"{time:%H:%M}" if form == "hour" else f"{time:%m-%d}"
    more = f' data-rest="{escape(rest)}"' if rest else ""
    words = f"{shown}: {escape(rest)}" if rest else shown
    return f'data-time="{time.isoformat()}" data-form="{form}"{more}>{words}'


def _grid(
    x: Axis, y: Axis, x_label: str, y_label: str, *, width: int, height: int, shares: bool
) -> str:
    parts = []
    for tick in y.ticks():
        at = y.at(tick)
        shown = f"{100 * tick:.0f} %" if shares else f"{tick:g}"
        parts.append(draw_line(x.start, x.end, at, at, colour=_LINE))
        parts.append(draw_text(_LEFT - 7, at + 4, shown, colour=_SOFT, anchor="end"))
    for tick in x.ticks():
        at = x.at(tick)
        parts.append(draw_line(at, at, y.start, y.start + 4, colour=_SOFT))
        parts.append(draw_text(at, height - 22, f"{tick:.6g}", colour=_SOFT, anchor="middle"))
    parts.append(draw_line(x.start, x.end, y.start, y.start, colour=_SOFT))
    parts.append(draw_text(width / 2, height - 5, x_label, colour=_SOFT, anchor="middle"))
    parts.append(draw_text(x.start + 4, _TOP - 3, y_label, colour=_SOFT))
    return "".join(parts)


def _mark(x: float, y: float, mark: Mark) -> str:
    told = f"<title>{escape(mark.title)}</title>" if mark.title else ""
    colour = escape(mark.colour)
    if mark.shape == "circle":
        return f'<g>{told}<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/></g>'
    sign = 1 if mark.shape == "down" else -1
    points = (
        f"{x - 5:.1f},{y - 4 * sign:.1f} {x + 5:.1f},{y - 4 * sign:.1f} {x:.1f},{y + 5 * sign:.1f}"
    )
    return f'<g>{told}<polygon points="{points}" fill="{colour}"/></g>'


def _whole_ticks(axis: Axis) -> list[float]:
    """Round numbers that count things."""
    return [tick for tick in axis.ticks() if tick == round(tick)]


def _svg(parts: Iterable[str], title: str, width: int, height: int) -> Markup:
    return Markup(  # noqa: S704 (numbers, fixed words and escaped labels)
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
