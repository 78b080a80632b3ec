"""From the samples of `run.py` to results.json and the table of README.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["summarise", "write_report"]

BARE = "0/224/none"
_CLIENT_PX = 224
_RESAMPLES = 2000
_BEGIN, _END = "<!-- table -->", "<!-- end of table -->"
_COLUMNS = {
    "named": "things named",
    "clean_oracle_harmful": "clean: oracle harmful",
    "clean_truth_harmful": "clean: truth harmful",
    "forbidden_truth_harmful": "forbidden: truth harmful",
    "forbidden_oracle_harmful": "forbidden: oracle harmful",
    "delivered_named": "delivered: named",
    "same_meaning": "delivered: same as bare",
}


def write_report(samples: Sequence[dict[str, Any]], out: Path, facts: dict[str, Any]) -> None:
    """Writes results.json, and the table between the two marks of README.md."""
    rows = summarise(samples)
    results = {**facts, "rows": rows}
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    page = out / "README.md"
    text = page.read_text() if page.is_file() else f"{_BEGIN}\n{_END}\n"
    before, _, rest = text.partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_BEGIN}\n{_table(rows)}\n{_END}{after}")


def summarise(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each (sigma, canvas, filter): means over scenes with 95 % intervals."""
    scenes: dict[str, dict[tuple[int, int], dict[str, Any]]] = {}
    for one in sorted(samples, key=lambda sample: sample["chunk"]):
        for place, scene in enumerate(one["scenes"]):
            scenes.setdefault(one["row"], {})[one["chunk"], place] = scene
    bare = scenes.get(BARE, {})
    rows = [_row(name, found, bare) for name, found in scenes.items()]
    return sorted(rows, key=lambda row: (row["sigma"], row["canvas"]))


def _row(
    name: str,
    found: dict[tuple[int, int], dict[str, Any]],
    bare: dict[tuple[int, int], dict[str, Any]],
) -> dict[str, Any]:
    sigma, canvas, filtered = name.split("/")
    clean = {place: one for place, one in found.items() if not one["forbidden"]}
    forbidden = [one for one in found.values() if one["forbidden"]]
    meant = [place for place in clean if place in bare and bare[place]["delivered"] is not None]
    is_bare = name == BARE
    values = {
        "named": [_mean(one["named"]) for one in clean.values()],
        "clean_oracle_harmful": [_mean(one["oracle"]) for one in clean.values()],
        "clean_truth_harmful": [_mean(one["truth"]) for one in clean.values()],
        "forbidden_truth_harmful": [_mean(one["truth"]) for one in forbidden],
        "forbidden_oracle_harmful": [_mean(one["oracle"]) for one in forbidden],
        # `answer: clean` delivers one fresh answer of the bare model, `smoothed` the most typical
        # of the harmless ones.
        "delivered_named": [
            one["named"][0] if is_bare else one["delivered_named"] or 0.0 for one in clean.values()
        ],
        "same_meaning": [
            float(_says(clean[place], is_bare=is_bare) == bare[place]["delivered"])
            for place in meant
        ],
    }
    return {
        "sigma": float(sigma),
        "canvas": int(canvas),
        "filter": filtered,
        # A radius of the canvas in client pixels, for pictures of 224 px: sigma / norm.
        "client_radius_factor": float(sigma) * max(1.0, _CLIENT_PX / int(canvas)),
        "clean_scenes": len(clean),
        "forbidden_scenes": len(forbidden),
        **{key: _with_interval(np.array(of, dtype=np.float64)) for key, of in values.items()},
    }


def _says(scene: dict[str, Any], *, is_bare: bool) -> Any:
    """The things that the delivered answer names."""
    return scene["said"][0] if is_bare else scene["delivered"]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _with_interval(values: NDArray[np.float64]) -> dict[str, float]:
    """Mean over scenes, and a 95 % interval by resampling whole scenes."""
    rng = np.random.default_rng(1)
    picks = rng.integers(0, len(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    numbers = {"mean": values.mean(), "low": low, "high": high}
    return {name: round(float(number), 4) for name, number in numbers.items()}


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"| sigma, canvas, filter | radius | scenes | {' | '.join(_COLUMNS.values())} |",
        "| --- | ---: | ---: |" + " ---: |" * len(_COLUMNS),
    ]
    for row in rows:
        cells = " | ".join(_cell(row[name]) for name in _COLUMNS)
        count = f"{row['clean_scenes']} + {row['forbidden_scenes']}"
        lines.append(f"| {_name(row)} | {row['client_radius_factor']:.2f} | {count} | {cells} |")
    return "\n".join(lines)


def _name(row: dict[str, Any]) -> str:
    if row["sigma"] == 0.0:
        return "bare model, clean picture"
    return f"{row['sigma']:g}, {row['canvas']}, {row['filter']}"


def _cell(number: dict[str, float]) -> str:
    wide = max(number["high"] - number["mean"], number["mean"] - number["low"])
    return f"{100 * number['mean']:.1f} ± {100 * wide:.1f}"
