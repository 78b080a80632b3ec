"""README.md and the figures, from the rows that were kept."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import words

from guardrail.html_page.figure import Curve, Panel, figure
from guardrail.stats import certified_radius, harmless_rate_lower

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Rows = list[dict[str, Any]]

_SHOWN_NS = (10, 25, 100, 500, 1000, 10_000)


def write_page(folder: Path) -> None:
    """The page, and beside it the figures that there are rows for."""
    law = json.loads((folder / "results" / "law.json").read_text())
    steps = [read_step(file) for file in sorted((folder / "results").glob("*.jsonl"))]
    parts = [words.INTRODUCTION, *_law_part(folder, law, steps)]
    for rows in steps:
        parts += _step_parts(folder, rows)
    (folder / "README.md").write_text("\n\n".join([*parts, words.NOT_HERE]) + "\n")


def read_step(file: Path) -> Rows:
    """Rows of scenes that were done whole; the first row describes the run."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    done = {(row["kind"], row["scene"]) for row in rows if row["type"] == "done"}
    return rows[:1] + [row for row in rows[1:] if (row["type"], row.get("scene")) in done]


# Radius and accuracy against n


def _law_part(folder: Path, law: dict[str, Any], steps: list[Rows]) -> list[str]:
    uniform = law["uniform"]
    ratios = [
        Curve("exact, uniform", _points(uniform, "ratio")),
        Curve("papers' law", _points(uniform, "ratio_paper"), dashed=True),
        *(Curve(f"table, sigma {s}", _points(t["rows"], "ratio"))
          for s, t in law["tables"].items() if s in ("0.25", "0.50", "1.00")),
    ]  # fmt: skip
    losses = [
        Curve("exact, uniform", _points(uniform, "loss")),
        Curve("papers' bound", _points(uniform, "loss_paper"), dashed=True),
        *(Curve(f"table, sigma {s}", _points(t["rows"], "loss"))
          for s, t in law["tables"].items() if s in ("0.25", "0.50", "1.00")),
    ]  # fmt: skip
    panels = (
        Panel("Mean radius, share of that at many samples", "n", "", tuple(ratios), log_x=True),
        Panel("Accuracy lost at radius sigma/2", "n", "", tuple(losses), log_x=True),
    )
    (folder / "law.svg").write_text(figure(panels))
    head = ["n", "exact", "papers' law", *(f"table {s}" for s in law["tables"])]
    parts = [
        "## Radius and accuracy against n",
        words.LAW,
        "![Mean radius and lost accuracy against n](law.svg)",
        "Mean radius, as a share of its limit (of the published 100,000 draws for tables):",
        _table(head, [_law_row(n, law, "ratio") for n in _SHOWN_NS]),
        "Accuracy lost at radius sigma/2:",
        _table(head, [_law_row(n, law, "loss") for n in _SHOWN_NS]),
        _law_words(law),
    ]  # fmt: skip
    for rows in steps:
        parts += _growth_part(folder, rows)
    return parts


def _points(rows: Rows, name: str) -> tuple[tuple[float, float], ...]:
    return tuple((row["n"], max(row[name], 0.0)) for row in rows)


def _law_row(n: int, law: dict[str, Any], name: str) -> list[str]:
    (uniform,) = (row for row in law["uniform"] if row["n"] == n)
    cells = [uniform[name], uniform[f"{name}_paper"]]
    for table in law["tables"].values():
        cells += [row[name] for row in table["rows"] if row["n"] == n]
    return [f"{n:,}", *(f"{cell:.3f}" for cell in cells)]


def _law_words(law: dict[str, Any]) -> str:
    tables = law["tables"].values()
    if not tables:
        return "The published tables were not at hand."
    shares = {}
    for n in (100, 1000):
        at = [row["ratio"] for table in tables for row in table["rows"] if row["n"] == n]
        shares |= {f"low_{n}": min(at), f"high_{n}": max(at)}
    return words.TABLES.format(**shares)


def _growth_part(folder: Path, rows: Rows) -> list[str]:
    some = [row for row in rows if row["type"] == "growth"]
    if not some:
        return []
    head = rows[0]
    name, sigma = head["step"], head["sigma"]
    curves, lines = [], []
    for kind in dict.fromkeys(row["class"] for row in some):
        of = [row["counts"] for row in some if row["class"] == kind]
        means = [
            (float(n), sum(_radius(counts[n], int(n), head) for counts in of) / len(of))
            for n in of[0]
        ]
        curves.append(Curve(kind, tuple(means)))
        lines.append([kind, *(f"{m:.3f}" for n, m in means if int(n) in _SHOWN_NS)])
    ns = [int(n) for n in some[0]["counts"] if int(n) in _SHOWN_NS]
    file = f"growth-{_slug(name)}.svg"
    panel = Panel("Mean radius on the canvas", "n", "", tuple(curves), log_x=True)
    (folder / file).write_text(figure((panel,)))
    scenes = len({row["scene"] for row in some})
    last = max(ns)
    rates = [
        f"scene {row['scene']}, {row['class']}: {row['counts'][str(last)]:,} of {last:,}"
        for row in some
    ]
    return [
        f"### {name}, n up to {last:,}",
        words.GROWTH.format(scenes=scenes, sigma=sigma),
        f"![Mean radius against n]({file})",
        _table(["class", *(f"n = {n:,}" for n in ns)], lines),
        "Counts: " + "; ".join(rates) + ".",
        words.CEILING,
    ]  # fmt: skip


def _radius(k: int, n: int, head: dict[str, Any]) -> float:
    lower = harmless_rate_lower(k, n, head["alpha"])
    return certified_radius(lower, sigma=head["sigma"]) or 0.0


# What one model was measured on


def _step_parts(folder: Path, rows: Rows) -> list[str]:
    head = rows[0]
    parts = [
        f"## Model: {head['step']}",
        words.STEP.format(**head),
    ]  # fmt: skip
    for make in (_classes, _jailbreak, _demo, _cost):
        parts += make(folder, rows)
    return parts


def _classes(folder: Path, rows: Rows) -> list[str]:
    some = [row for row in rows if row["type"] in ("classes", "colour")]
    if not some:
        return []
    curves, lines = [], []
    for name in dict.fromkeys(row["class"] for row in some):
        of = [row for row in some if row["class"] == name]
        radii = sorted(row["radius"] for row in of)
        curves.append(Curve(name, staircase(radii)))
        certified = sum(radius > 0 for radius in radii)
        rate = sum(row["harmless"] for row in of) / sum(row["n"] for row in of)
        lines.append([
            name, str(len(of)), f"{rate:.3f}", f"{certified} of {len(of)}",
            _down(sum(radii) / len(radii)), _down(radii[(len(radii) - 1) // 2]), _down(radii[-1]),
        ])  # fmt: skip
    file = f"classes-{_slug(rows[0]['step'])}.svg"
    panel = Panel("Share certified at a radius", "l2, client pixels", "", tuple(curves))
    (folder / file).write_text(figure((panel,)))
    return [
        "### Harm, action and meaning as the class",
        words.CLASSES,
        f"![Share of scenes certified against the radius]({file})",
        _table(
            ["class", "scenes", "share in the class", "certified", "mean radius", "median", "most"],
            lines,
        ),
    ]  # fmt: skip


def staircase(radii: list[float]) -> tuple[tuple[float, float], ...]:
    """The share of radii that reach each x; `radii` ascending."""
    n = len(radii)
    points = [(0.0, sum(radius > 0 for radius in radii) / n)]
    for place, radius in enumerate(radii):
        if radius > 0:
            points += [(radius, (n - place) / n), (radius, (n - place - 1) / n)]
    return tuple(points)


def _jailbreak(folder: Path, rows: Rows) -> list[str]:
    some = [row for row in rows if row["type"] == "jailbreak"]
    if not some:
        return []
    clean = [row for row in some if row["attack"] == "none"]
    lines, curves = [], []
    for name in ("none", "bare model", "through the noise"):
        of = [row for row in some if row["attack"] == name]
        lines += [
            [name, *_outcome([row for row in of if row["size"] == size])]
            for size in sorted({row["size"] for row in of})
        ]
    for name in ("bare model", "through the noise"):
        of = clean + [row for row in some if row["attack"] == name]
        sizes = sorted({row["size"] for row in of})
        groups = [(size, [row for row in of if row["size"] == size]) for size in sizes]
        if name == "bare model":
            curves.append(Curve("one answer, bare", tuple(
                (size, 1 - _mean(row["bare_harmful"] / row["bare"] for row in g))
                for size, g in groups)))  # fmt: skip
        smoothed = [(size, _mean(2 * r["harmless"] > r["n"] for r in g)) for size, g in groups]
        curves.append(Curve(f"smoothed, {name}", tuple(smoothed)))
    curves.append(Curve("certified", staircase(sorted(r["radius"] for r in clean)), dashed=True))
    file = f"jailbreak-{_slug(rows[0]['step'])}.svg"
    panel = Panel("Share still harmless", "l2 of the attack", "", tuple(curves))
    (folder / file).write_text(figure((panel,)))
    return [
        "### Pictures driven to harm",
        words.JAILBREAK.format(scenes=len(clean)),
        f"![Share still harmless against the size of the attack]({file})",
        _table(
            ["aimed at", "l2", "bare answers harmful", "harmless under noise", "smoothed accuracy",
             "mean radius left", "certified before"],
            [[*line, _format_certified(clean, float(line[1]))] for line in lines],
        ),
    ]  # fmt: skip


def _format_certified(clean: Rows, size: float) -> str:
    return f"{sum(row['radius'] >= max(size, 1e-9) for row in clean)} of {len(clean)}"


def _outcome(rows: Rows) -> list[str]:
    accurate = sum(2 * row["harmless"] > row["n"] for row in rows)
    return [
        f"{_mean(row['l2'] for row in rows):.2f}",
        f"{_mean(row['bare_harmful'] / row['bare'] for row in rows):.0%}",
        f"{_mean(row['harmless'] / row['n'] for row in rows):.0%}",
        f"{accurate} of {len(rows)}",
        _down(_mean(row["radius"] for row in rows)),
    ]


def _demo(_folder: Path, rows: Rows) -> list[str]:
    some = [row for row in rows if row["type"] == "demo"]
    if not some:
        return []
    kinds = dict.fromkeys(row["kind"] for row in some)
    groups = [(kind, [row for row in some if row["kind"] == kind]) for kind in kinds]
    return [
        "### The pictures of the demo",
        words.DEMO,
        _table(
            ["kind", "pictures", "mean l2", "bare answers harmful", "harmless under noise",
             "smoothed: harmless", "mean radius"],
            [[kind, str(len(group)), *_outcome(group)] for kind, group in groups],
        ),
    ]  # fmt: skip


# What a certificate costs


def _cost(_folder: Path, rows: Rows) -> list[str]:
    some = [row for row in rows if row["type"] == "cost"]
    if not some:
        return []
    head, lines = rows[0], []
    for kind in ("clean", "forbidden"):
        of = [row for row in some if row["kind"] == kind]
        passed = [row for row in of if row["passed"]]
        calls = sorted(row["calls"] for row in of)
        lines.append([
            kind, str(len(of)), f"{len(passed)} of {len(of)}", f"{_mean(calls):.1f}",
            str(calls[(len(calls) - 1) // 2]), str(calls[-1]),
        ])  # fmt: skip
    fixed = [
        [f"{n:,}", f"{_down(_ceiling(n, head))}", _down(_radius(math.floor(0.97 * n), n, head))]
        for n in (100, 1000, 10_000, 100_000)
    ]
    return [
        "### Calls of a certificate",
        words.COST,
        _table(["scene", "scenes", "pass", "mean calls", "median", "most"], lines),
        words.FIXED,
        _table(["n, calls", "every answer in the class", "97 of 100 in it"], fixed),
        words.ALL_TESTS,
    ]  # fmt: skip


def _ceiling(n: int, head: dict[str, Any]) -> float:
    return _radius(n, n, head)


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every)


def _down(radius: float) -> str:
    return f"{math.floor(1e3 * radius) / 1e3:.3f}"


def _slug(step: str) -> str:
    return step.replace(" ", "_")


def _table(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
