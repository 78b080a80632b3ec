"""Draws the panels of deploy/grafana/guardrail.json from a Prometheus, as a page of SVG.

It asks each panel's own queries, over the time of the run. It is no Grafana: units, legends and
colours are as near as some lines of code come.
"""

from __future__ import annotations

import json
import math
import time
from html import escape
from pathlib import Path
from typing import Any

import httpx

from guardrail.svg import Axis, draw_curve, draw_line, draw_text

DASHBOARD = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "guardrail.json"
COLUMN_PX, ROW_PX, GAP = 60, 27, 8
STEP_S = 5
COLOURS = ("#2f6fb5", "#d98200", "#1a8f4c", "#c8322f", "#7b52ab", "#0b8f9c", "#a0522d", "#5b6474")
MOST_SERIES = 8
STYLE = """body { margin:0; background:#f6f7f9; font:13px system-ui,sans-serif; color:#1c2330 }
.panel { position:absolute; background:#fff; border:1px solid #dfe3ea; border-radius:4px;
  padding:6px 8px; box-sizing:border-box; overflow:hidden }
.row { position:absolute; font-weight:600; font-size:15px; padding-top:4px }
.panel b { font-size:12px; display:block; margin-bottom:2px }
.big { font-size:26px; font-weight:600; margin-top:14px } .big span { font-size:12px;
  font-weight:400; color:#5b6474 } .empty { color:#c8322f; font-size:16px; margin-top:20px }
.legend { font-size:10.5px; line-height:1.25; color:#1c2330; white-space:nowrap }
.legend i { display:inline-block; width:9px; height:3px; margin:0 4px 3px 0 }
.legend span { margin-right:10px } .foot { position:absolute; color:#5b6474; font-size:12px }"""
Point = tuple[float, float]


class Prometheus:
    """Asks one server about the last `seconds`."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self.end = time.time()
        self.start = self.end - seconds

    def series(self, query: str) -> list[tuple[dict[str, str], list[Point]]]:
        """Labels and points of every series that has a number."""
        fields = {"query": query, "start": self.start, "end": self.end, "step": STEP_S}
        found = self._get("query_range", fields)
        rows = [
            (one["metric"], [(at, float(v)) for at, v in one["values"] if math.isfinite(float(v))])
            for one in found
        ]
        return [(labels, points) for labels, points in rows if points]

    def last(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The last number of every series, as Grafana's panels show it."""
        return [(labels, points[-1][1]) for labels, points in self.series(query)]

    def _get(self, route: str, fields: dict[str, Any]) -> list[Any]:
        reply = httpx.get(f"{self._url}/api/v1/{route}", params=fields, timeout=60, trust_env=False)
        reply.raise_for_status()
        return reply.json()["data"]["result"]


def draw_dashboard(url: str, page: Path, seconds: float) -> tuple[tuple[int, int], list[str]]:
    """Writes the page; its size in pixels, and the titles of panels without data."""
    asked = Prometheus(url, seconds)
    empty: list[str] = []
    panels = json.loads(DASHBOARD.read_text())["panels"]
    boxes = [_box(panel, asked, empty) for panel in panels]
    width = 24 * COLUMN_PX + GAP
    bottom = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels) * ROW_PX + GAP
    note = (
        f'<div class=foot style="left:{GAP}px;top:{bottom}px">Drawn from the queries of '
        "deploy/grafana/guardrail.json, not by Grafana.</div>"
    )
    page.write_text(
        f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{''.join(boxes)}{note}"
    )
    return (width, bottom + 28), empty


def _box(panel: dict[str, Any], asked: Prometheus, empty: list[str]) -> str:
    at = panel["gridPos"]
    left, top = at["x"] * COLUMN_PX + GAP, at["y"] * ROW_PX + GAP
    width, height = at["w"] * COLUMN_PX - GAP, at["h"] * ROW_PX - GAP
    place = f'style="left:{left}px;top:{top}px;width:{width}px;height:{height}px"'
    if panel["type"] == "row":
        return f"<div class=row {place}>{escape(panel['title'])}</div>"
    draw = _stat if panel["type"] == "stat" else _chart
    inside = draw(panel, asked, width - 18, height - 30)
    if not inside:
        empty.append(panel["title"])
        inside = "<div class=empty>No data</div>"
    return f"<div class=panel {place}><b>{escape(panel['title'])}</b>{inside}</div>"


def _queries(panel: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (target["expr"].replace("$instance", ".*"), target.get("legendFormat") or "")
        for target in panel["targets"]
    ]


def _name(legend: str, labels: dict[str, str]) -> str:
    for label, value in labels.items():
        legend = legend.replace("{{" + label + "}}", value)
    return legend


def _stat(panel: dict[str, Any], asked: Prometheus, _width: int, _height: int) -> str:
    rows = [
        (_name(legend, labels), value)
        for query, legend in _queries(panel)
        for labels, value in asked.last(query)
    ]
    if not rows:
        return ""
    unit = _unit(panel)
    if len(rows) == 1 and not rows[0][0]:
        return f"<div class=big>{escape(_format(rows[0][1], unit))}</div>"
    mapped = _mappings(panel)
    lines = "<br>".join(
        f"{escape(mapped.get(f'{value:g}', _format(value, unit)))} <span>{escape(name)}</span>"
        for name, value in rows[:4]
    )
    return f'<div class=big style="font-size:15px;margin-top:4px">{lines}</div>'


def _mappings(panel: dict[str, Any]) -> dict[str, str]:
    """Words for numbers, as the panel has them."""
    found = {}
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        for value, shown in (mapping.get("options") or {}).items():
            if isinstance(shown, dict) and "text" in shown:
                found[value] = shown["text"]
    return found


def _chart(panel: dict[str, Any], asked: Prometheus, width: int, height: int) -> str:
    series = [
        (_name(legend, labels), points)
        for query, legend in _queries(panel)
        for labels, points in asked.series(query)
    ]
    if not series:
        return ""
    series.sort(key=lambda one: -max(value for _, value in one[1]))
    shown, more = series[:MOST_SERIES], len(series) - MOST_SERIES
    lines = 1 + sum(len(name) + 4 for name, _ in shown) * 6 // width
    chart_px = max(60, height - 14 * lines - 4)
    highest = max(value for _, points in shown for _, value in points) or 1.0
    y = Axis(0.0, highest * 1.05, start=chart_px - 16, end=6)
    x = Axis(asked.start, asked.end, start=52, end=width - 18)
    unit, parts = _unit(panel), []
    for tick in y.ticks():
        parts.append(draw_line(52, width - 4, y.at(tick), y.at(tick), colour="#e6e9ef"))
        label = _format(tick, unit)
        parts.append(draw_text(48, y.at(tick) + 4, label, colour="#5b6474", anchor="end", size=10))
    minutes = (asked.end - asked.start) / 60.0
    for minute in range(int(minutes) + 1):
        place = x.at(asked.end - 60.0 * (int(minutes) - minute))
        label = time.strftime("%H:%M", time.gmtime(asked.end - 60.0 * (int(minutes) - minute)))
        parts.append(
            draw_text(place, chart_px - 2, label, colour="#5b6474", anchor="middle", size=10)
        )
    for number, (_, points) in enumerate(shown):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(draw_curve([(x.at(t), y.at(v)) for t, v in points], colour=colour))
    legend = "".join(
        f'<span><i style="background:{COLOURS[n % len(COLOURS)]}"></i>{escape(name)}</span> '
        for n, (name, _) in enumerate(shown)
    )
    legend += f"<span>and {more} more</span>" if more > 0 else ""
    svg = f'<svg width="{width}" height="{chart_px}" font-family="system-ui">{"".join(parts)}</svg>'
    return f'{svg}<div class=legend style="white-space:normal">{legend}</div>'


def _unit(panel: dict[str, Any]) -> str:
    return panel.get("fieldConfig", {}).get("defaults", {}).get("unit") or "short"


def _format(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if abs(value) < 1.0 and value else f"{value:.3g} s"
    if unit == "bytes":
        return _format_scaled(value, ("B", "kB", "MB", "GB"))
    if unit == "currencyUSD":
        return f"$ {value:.3g}"
    number = _format_scaled(value, ("", "k", "M", "G")).strip()
    return f"{number} /s" if unit == "reqps" else number


def _format_scaled(value: float, names: tuple[str, ...]) -> str:
    power = 0
    while abs(value) >= 1000.0 and power < len(names) - 1:
        value, power = value / 1000.0, power + 1
    return f"{value:.3g} {names[power]}"
