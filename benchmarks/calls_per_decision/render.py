"""results.json as a table in Markdown and a figure in SVG."""

from __future__ import annotations

import math
from typing import Any

OURS = "optimal (ours)"
MIXED = "optimal, mixed traffic (ours)"
WALD = "SPRT (Wald)"
COLUMNS = (
    OURS,
    MIXED,
    "SPRT (Wald)",
    "betting, one-sided (ours)",
    "betting (Voracek)",
    "betting, published code (Voracek)",
    "union bound (Voracek)",
    "staged, tuned (Horvath)",
    "fixed n, curtailed",
    "fixed n (Clopper–Pearson)",
    "staged, as published (Horvath)",
)
PUBLISHED = tuple(name for name in COLUMNS if "(ours)" not in name)


NOTE = (
    "Exact values; power ≥ {power} at the rate designed for; a dash where a method does not "
    "apply. In brackets: the bound below which no plan can go. Traffic at or below the required "
    "rate (grey and harmful) is marked `block`: there a test should stop without a pass. A "
    "method whose exact false-pass probability exceeds α is struck out, one that misses the "
    "power is in italics. `optimal` is designed for the benign rate alone, as are all others that "
    "can be designed; `mixed traffic` for nine requests in ten at that rate and one at 0.3."
)
TIES = (
    "At q = 1 every test that may be designed for it needs the all-harmless minimum, which no "
    "test can undercut; hence the ties."
)
PROTOCOL = (
    "Voracek (arXiv 2406.17830), CIFAR-10, r = 0.5, α = .001, mean samples per image. His "
    "model's class probabilities are not published, so the rows below use those of other "
    "models on the same dataset (tables of 500 images each, true label as the class); stages "
    "of 100, 1,000, 10,000 and 120,000 more samples; only "
    "the order and the rough ratio can be compared. The last row takes class probabilities "
    "uniform on [0, 1] with the noise of his script, σ = 1.1."
)


def table(results: dict[str, Any]) -> str:
    groups = _groups(results)
    head = "| R/σ | α | q | designed for | " + " | ".join(COLUMNS) + " | best published / ours |"
    lines = [
        "# Mean calls per decision",
        "",
        NOTE.format(power=results["power_wanted"]),
        "",
        head,
        "|" + "---|" * (5 + len(COLUMNS)),
    ]
    lines += [_line(key, rows) for key, rows in groups.items()]
    return "\n".join([*lines, "", *_summary(groups), "", *_published(results)]) + "\n"


def _groups(results: dict[str, Any]) -> dict[tuple[float, float, float], dict[str, Any]]:
    groups: dict[tuple[float, float, float], dict[str, Any]] = {}
    for row in results["rows"]:
        key = (row["r_over_sigma"], row["alpha"], row["q"])
        groups.setdefault(key, {})[row["method"]] = row
    return dict(sorted(groups.items(), key=lambda item: (item[0][0], -item[0][1], -item[0][2])))


def _line(key: tuple[float, float, float], rows: dict[str, Any]) -> str:
    radius, alpha, q = key
    design = rows[OURS]["designed_for"]
    kind = "" if design == q else " block"
    cells = [_cell(rows.get(name), rows) for name in COLUMNS]
    best = _best_published(rows)
    ratio = "–" if best is None else f"{best / rows[OURS]['mean_calls']:.2f}"
    return f"| {radius:g} | {alpha:g} | {q:g}{kind} | {design:g} | {' | '.join(cells)} | {ratio} |"


def _cell(row: dict[str, Any] | None, rows: dict[str, Any]) -> str:
    if row is None:
        return "–"
    text = f"{row['mean_calls']:,.1f}"
    if row["method"] == OURS:
        bound = rows.get("lower bound on any plan", {}).get("mean_calls")
        return f"**{text}**" + (f" ({bound:,.1f})" if bound else "")
    if not row["valid"]:
        return f"~~{text}~~"
    return text if row["power"] >= 0.99 - 1e-9 else f"_{text}_"


def _best_published(rows: dict[str, Any], *, without: str = "") -> float | None:
    fair = [
        rows[name]["mean_calls"]
        for name in PUBLISHED
        if name in rows
        and name != without
        and rows[name]["valid"]
        and rows[name]["power"] >= 0.99 - 1e-9
    ]
    return min(fair) if fair else None


def _summary(groups: dict[tuple[float, float, float], dict[str, Any]]) -> list[str]:
    benign = {key: rows for key, rows in groups.items() if rows[OURS]["designed_for"] == key[2]}
    other = {key: rows for key, rows in groups.items() if key not in benign}
    smoothing = "published for smoothing"
    return [
        "## Where ours is lowest",
        "",
        "- " + _count(f"benign rows, against the best test {smoothing}", benign, OURS, WALD),
        "- " + _count("benign rows, against all tests, Wald's included", benign, OURS, ""),
        "- " + _count(f"rows to block, against the best test {smoothing}", other, OURS, WALD),
        "- " + _count("the same rows, ours for mixed traffic", other, MIXED, WALD),
        "",
        TIES,
    ]


def _count(
    name: str, groups: dict[tuple[float, float, float], dict[str, Any]], ours: str, without: str
) -> str:
    ratios = {}
    for key, rows in groups.items():
        best = _best_published(rows, without=without)
        if best is not None:
            ratios[key] = best / rows[ours]["mean_calls"]
    below = [key for key, ratio in ratios.items() if ratio > 1.0 + 1e-6]
    equal = [key for key, ratio in ratios.items() if abs(ratio - 1.0) <= 1e-6]
    above = [key for key, ratio in ratios.items() if ratio < 1.0 - 1e-6]
    middle = math.exp(sum(math.log(r) for r in ratios.values()) / len(ratios))
    text = (
        f"{len(ratios)} {name}: ours needs fewer calls in {len(below)}, as many in {len(equal)}, "
        f"more in {len(above)}; in the geometric mean the other needs {middle:.2f} times ours."
    )
    if above:
        listed = "; ".join(f"R/σ {r:g}, α {a:g}, q {q:g}" for r, a, q in above)
        text += f" More: {listed}."
    return text


def _published(results: dict[str, Any]) -> list[str]:
    printed = results["published"]["printed_by_voracek"]
    lines = [
        "## Our versions against printed numbers",
        "",
        PROTOCOL,
        "",
        "| source | betting | union bound | stages | betting / stages |",
        "|---|---|---|---|---|",
        _ratio_line("printed", printed),
    ]
    for sigma, means in results["published"]["tables"].items():
        lines.append(_ratio_line(f"ours, {sigma}", means))
    return lines


def _ratio_line(name: str, means: dict[str, float]) -> str:
    bet, union, staged = means["betting"], means["union bound"], means["staged"]
    return f"| {name} | {bet:,.0f} | {union:,.0f} | {staged:,.0f} | {bet / staged:.2f} |"


# The figure: one panel per R/sigma at alpha = .001; calls (log) for each benign rate.

_WIDTH, _HEIGHT, _PANEL, _TOP, _LEFT = 980, 360, 180, 40, 56
_COLOURS = {
    OURS: "#0b6e4f",
    "SPRT (Wald)": "#7a5195",
    "betting (Voracek)": "#ef8a17",
    "union bound (Voracek)": "#bc5090",
    "staged, tuned (Horvath)": "#4477aa",
    "fixed n (Clopper–Pearson)": "#444444",
}


def figure(results: dict[str, Any]) -> str:
    groups = {key: rows for key, rows in _groups(results).items() if key[1] == 1e-3}
    radii = sorted({key[0] for key in groups})
    title = "Mean calls per decision on benign traffic, α = 0.001, power ≥ 0.99 (logarithmic)"
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box}>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-size="13">{title}</text>',
    ]
    for i, radius in enumerate(radii):
        parts += _panel(_LEFT + i * _PANEL, radius, groups)
    parts += _legend()
    return "\n".join([*parts, "</svg>"]) + "\n"


def _y(calls: float) -> float:
    """From 10 calls (bottom) to 10,000 (top)."""
    share = (math.log10(max(calls, 10.0)) - 1.0) / 3.0
    return _TOP + 240 * (1.0 - min(share, 1.0))


def _panel(
    left: int, radius: float, groups: dict[tuple[float, float, float], dict[str, Any]]
) -> list[str]:
    parts = [f'<text x="{left}" y="{_TOP - 6}">R/σ = {radius:g}</text>']
    for power in range(1, 5):
        y = _y(10.0**power)
        parts.append(
            f'<line x1="{left}" x2="{left + _PANEL - 24}" y1="{y}" y2="{y}" stroke="#ddd"/>'
        )
        if left == _LEFT:
            place = f'x="{left - 4}" y="{y + 4}" text-anchor="end" fill="#777"'
            parts.append(f"<text {place}>{10**power:,}</text>")
    benign = [
        (key[2], rows)
        for key, rows in groups.items()
        if key[0] == radius and rows[OURS]["designed_for"] == key[2]
    ]
    step = (_PANEL - 24) / max(len(benign), 1)
    for i, (q, rows) in enumerate(sorted(benign, key=lambda pair: pair[0])):
        start = left + i * step + 4
        width = (step - 8) / len(_COLOURS)
        parts.append(
            f'<text x="{start + step / 2 - 4}" y="{_TOP + 256}" text-anchor="middle">{q:g}</text>'
        )
        for j, (name, colour) in enumerate(_COLOURS.items()):
            if name in rows:
                y = _y(rows[name]["mean_calls"])
                parts.append(
                    f'<rect x="{start + j * width:.1f}" y="{y:.1f}" width="{width:.1f}" '
                    f'height="{_TOP + 240 - y:.1f}" fill="{colour}"/>'
                )
    parts.append(
        f'<text x="{left + 70}" y="{_TOP + 272}" text-anchor="middle" fill="#777">'
        "harmless rate q</text>"
    )
    return parts


def _legend() -> list[str]:
    parts = []
    for i, (name, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + i * 152
        parts.append(
            f'<rect x="{x}" y="{_HEIGHT - 22}" width="10" height="10" fill="{colour}"/>'
            f'<text x="{x + 14}" y="{_HEIGHT - 13}">{name}</text>'
        )
    return parts
