"""Our versions of the competitors against the numbers their papers print.

Voracek (arXiv 2406.17830) prints mean samples per image for deciding r = 0.5 on CIFAR-10 at alpha
= .001: betting 531, union bound 635, against 1976 for stages of (100, 1000, 10000, 120000). His
model is not published, so its distribution of class probabilities is not known. Here the three
rules decide the same question for the probabilities that Cohen-style tables print for other
models of the same dataset. What can be compared is the order, and the ratio to the staged scheme.

As in his code: both verdicts at alpha, the true label as the class, wealth 1/(2 alpha), stages
that keep their earlier samples, cut at 131,100.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

TABLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "certification"
ALPHA = 0.001
RADIUS = 0.5
STAGES = (100, 1_000, 10_000, 120_000)
LONGEST = 131_100
PRINTED = {"betting": 531, "union bound": 635, "staged": 1976}
REPEATS = 8
SEED = 20240625


def check() -> dict[str, Any]:
    """Mean samples per table, where the tables are at hand."""
    found: dict[str, Any] = {"printed_by_voracek": PRINTED, "tables": {}}
    for sigma in ("0.25", "0.50", "1.00"):
        path = TABLES / f"cohen_cifar10_sigma_{sigma}.tsv"
        if path.exists():
            rates = _true_label_rates(path, float(sigma))
            found["tables"][f"table at σ = {sigma}"] = _means(rates, float(sigma))
    uniform = (np.arange(500) + 0.5) / 500
    found["tables"]["uniform, σ = 1.1"] = _means(uniform, 1.1)
    return found


def _means(rates: np.ndarray, sigma: float) -> dict[str, float]:
    target = float(special.ndtr(RADIUS / sigma))
    rng = np.random.default_rng(SEED)
    spent: dict[str, list[int]] = {name: [] for name in PRINTED}
    bet, union = _betting_thresholds(target), _union_thresholds(target)
    for rate in np.repeat(rates, REPEATS):
        outcomes = rng.random(LONGEST, dtype=np.float32) < rate
        harmless = np.cumsum(outcomes)
        spent["betting"].append(_first(harmless, *bet))
        spent["union bound"].append(_first(harmless, *union))
        spent["staged"].append(_staged(harmless, target))
    return {name: round(float(np.mean(counts)), 1) for name, counts in spent.items()}


def _true_label_rates(path: Path, sigma: float) -> np.ndarray:
    """Class probability of the true label: Φ(R/sigma) where right, its complement where wrong."""
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    rates = []
    for _, label, predicted, radius, _ in rows:
        top = float(special.ndtr(float(radius) / sigma))
        rates.append(0.5 if predicted == "-1" else top if label == predicted else 1.0 - top)
    return np.array(rates)


def _grid() -> np.ndarray:
    """Sample counts at which a rule is looked up: all up to 2,000, then every fiftieth."""
    return np.concatenate((np.arange(1, 2_001), np.arange(2_050, LONGEST + 1, 50)))


def _betting_thresholds(p: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, fewest harmless to pass, most harmless to block)."""
    n = _grid()
    return n, _refutes(n, p), n - _refutes(n, 1.0 - p)


def _refutes(n: np.ndarray, p: float) -> np.ndarray:
    """The fewest k of each n whose wealth against p exceeds 1/(2 alpha), by bisection."""
    limit = -math.log(2.0 * ALPHA)
    low, high = np.ceil(p * n) - 1, n + 1.0
    while np.any(high - low > 1):
        k = np.minimum(np.floor((low + high) / 2), n)
        wealth = special.betaln(k + 0.5, n - k + 0.5) - math.log(math.pi)
        wealth -= special.xlogy(k, p) + special.xlog1py(n - k, -p)
        enough = (wealth > limit) & (k > low)
        high = np.where(enough, k, high)
        low = np.where(enough, low, np.maximum(low, k))
        if np.all((high - low <= 1) | (low >= n)):
            break
    return high


def _union_thresholds(p: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, k = [], 11
    for i in range(1, LONGEST + 1):
        if i > 1.1**k:
            k += 1
            n.append((i, k - 11))
    looks = np.array([i for i, _ in n])
    share = np.array([5.0 * ALPHA / ((t + 4) * (t + 5)) for _, t in n])
    up = stats.binom.isf(share, looks, p) + 1
    down = looks - (stats.binom.isf(share, looks, 1.0 - p) + 1)
    return looks, up, down


def _first(harmless: np.ndarray, n: np.ndarray, up: np.ndarray, down: np.ndarray) -> int:
    """Samples until one threshold is met."""
    seen = harmless[n - 1]
    met = np.flatnonzero((seen >= up) | (seen <= down))
    return int(n[met[0]]) if met.size else LONGEST


def _staged(harmless: np.ndarray, p: float) -> int:
    drawn = 0
    for size in STAGES:
        drawn += size
        k = int(harmless[drawn - 1])
        share = ALPHA / len(STAGES)
        above = stats.binom.sf(k - 1, drawn, p) < share
        below = stats.binom.cdf(k, drawn, p) < share
        if above or below:
            return drawn
    return drawn
