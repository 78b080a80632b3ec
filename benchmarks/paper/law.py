"""Mean radius and certified accuracy against n without any model: the laws, and published tables.

The tables are per-image certificates of Cohen's test at n = 100,000. Their radius gives each
image's class probability; what n draws would have certified follows exactly, as an expectation over
all counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

from guardrail.stats.laws import scaling_law

NS = (10, 15, 25, 40, 60, 100, 160, 250, 500, 1000, 2500, 5000, 10_000)
ALPHA = 0.001
TABLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "certification"
SIGMAS = ("0.12", "0.25", "0.50", "1.00")


def measure() -> dict[str, Any]:
    """Every n of the laws, and of the tables where they are at hand."""
    found: dict[str, Any] = {"alpha": ALPHA, "uniform": [_law(n) for n in NS], "tables": {}}
    for sigma in SIGMAS:
        path = TABLES / f"cohen_cifar10_sigma_{sigma}.tsv"
        if path.exists():
            found["tables"][sigma] = table_rows(path, float(sigma))
    return found


def _law(n: int) -> dict[str, float]:
    """For harmless rates uniform on [½, 1], and a radius of half a sigma."""
    law = scaling_law(n, ALPHA, radius_in_sigmas=0.5)
    return {
        "n": n, "ratio": law.radius_ratio, "ratio_paper": law.radius_ratio_paper,
        "loss": law.accuracy_loss, "loss_paper": law.accuracy_loss_paper,
    }  # fmt: skip


def table_rows(path: Path, sigma: float) -> dict[str, Any]:
    """What n draws certify of a published table, on average over draws and images."""
    lines = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    radii = np.array([float(radius) * (correct == "1") for _, _, _, radius, correct in lines])
    rates = special.ndtr(radii[radii > 0] / sigma)
    limit, kept = radii.mean(), np.mean(radii >= sigma / 2)
    rows = []
    for n in NS:
        k = np.arange(n + 1)
        mass = stats.binom.pmf(k, n, rates[:, None])
        reach = sigma * radii_in_sigmas(k, n)
        mean = float((mass @ reach).sum() / len(radii))
        accuracy = float(mass[:, reach >= sigma / 2].sum() / len(radii))
        rows.append({"n": n, "mean": mean, "ratio": mean / limit, "accuracy": accuracy,
                     "loss": float(kept) - accuracy})  # fmt: skip
    return {"images": len(radii), "mean": float(limit), "accuracy": float(kept), "rows": rows}


def radii_in_sigmas(k: Any, n: int) -> np.ndarray:
    """Certified radius over sigma of k of n, 0 where it abstains (nearest values)."""
    k = np.asarray(k)
    lower = special.betaincinv(np.maximum(k, 1), n - np.maximum(k, 1) + 1, ALPHA)
    return np.where(k > 0, np.maximum(special.ndtri(lower), 0.0), 0.0)
