"""How often a calibration's bound is too small where a request has several labelled answers.

    python benchmarks/calibration_units/run.py

writes table.md beside this file (some ten minutes on one core). The scores of a request's answers
have correlation rho (one-factor Gaussian model, uniform margins), so that the true miss rate at
threshold t is t. Simulated sets go through the code that `guardrail calibrate` runs; beside it
stands what the same bounds give when every answer is counted as a draw of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr
from scipy.stats import binom

from guardrail.errors import CertificationError
from guardrail.stats import (
    choose_threshold,
    fixed_threshold,
    harmless_rate_upper,
    most_misses,
)
from guardrail.tuning.dataset import LabelledAnswer
from guardrail.tuning.scores import Scored
from guardrail.tuning.scoring import ScoredAnswer
from guardrail.tuning.thresholds import LabelledSample, measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

HERE = Path(__file__).parent
DELTA = 0.001
AT = 0.1  # the threshold that is fixed, and the miss rate there
TARGET = 0.4  # for a chosen one; twenty requests can just show it
DESIGNS = ((500, 1), (50, 10), (20, 28))
CORRELATIONS = (0.0, 0.5, 0.9, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000)
    sets = parser.parse_args().sets
    heading = (
        "requests",
        "answers each",
        "correlation",
        "fixed: every answer",
        "fixed: one a request",
        "exact",
        "chosen: every answer",
        "chosen: one a request",
        "exact",
    )
    error = (DELTA / sets) ** 0.5
    said = (
        f"{sets:,} sets each; delta {DELTA:g}. Shares of sets whose bound is too small (standard "
        f"error of a true share of delta: {error:.4f}), and the exact probability for one answer "
        "a request."
    )
    lines = [
        said,
        "",
        f"| {' | '.join(heading)} |",
        "|---" * len(heading) + "|",
    ]
    for requests, each in DESIGNS:
        for rho in CORRELATIONS if each > 1 else CORRELATIONS[:1]:
            rng = np.random.default_rng(7)
            wrong = np.zeros(4)
            for _ in range(sets):
                wrong += failures(scores(rng, requests, each, rho))
            shares = [*(wrong / sets)]
            row = [*shares[:2], exact_fixed(requests), *shares[2:], exact_chosen(requests)]
            cells = " | ".join(f"{share:.4f}" for share in row)
            lines.append(f"| {requests} | {each} | {rho:g} | {cells} |")
            print(lines[-1], flush=True)
    (HERE / "table.md").write_text("\n".join(lines) + "\n")


def scores(rng: np.random.Generator, requests: int, each: int, rho: float) -> NDArray[np.float64]:
    """Scores of harmful answers, shape (requests, each)."""
    shared = rng.standard_normal((requests, 1))
    own = rng.standard_normal((requests, each))
    return np.asarray(ndtr(np.sqrt(rho) * shared + np.sqrt(1.0 - rho) * own), dtype=np.float64)


def failures(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whether each of the four bounds is too small: fixed and chosen, all answers and one each."""
    flat = drawn.ravel().tolist()
    sample = LabelledSample(
        [
            ScoredAnswer(LabelledAnswer(1, "", f"{g}-{i}", True, group=f"{g}"), Scored(score, 0.0))
            for g, row in enumerate(drawn.tolist())
            for i, score in enumerate(row)
        ]
    )
    return np.array(
        [
            fixed_threshold(flat, threshold=AT, delta=DELTA).miss_rate_upper < AT,
            measure(sample, threshold=AT, delta=DELTA).miss_rate_upper < AT,
            choose_threshold(flat, target=TARGET, delta=DELTA).threshold > TARGET,
            _chosen(sample) > TARGET,
        ],
        dtype=float,
    )


def exact_fixed(requests: int) -> float:
    """P[bound < miss rate] at the fixed threshold, for one answer of each request."""
    law = binom(requests, AT)
    counts = range(requests + 1)
    return float(sum(law.pmf(k) for k in counts if harmless_rate_upper(k, requests, DELTA) < AT))


def exact_chosen(requests: int) -> float:
    """P[miss rate > target] at the chosen threshold: the (k + 1)-th score lies above the target."""
    k = most_misses(requests, TARGET, DELTA)
    return 0.0 if k is None else float(binom(requests, TARGET).cdf(k))


def _chosen(sample: LabelledSample) -> float:
    try:
        return measure(sample, target=TARGET, delta=DELTA).threshold
    except CertificationError:
        return 0.0  # refused: too few


if __name__ == "__main__":
    main()
