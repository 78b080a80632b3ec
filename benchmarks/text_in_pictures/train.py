"""Trains the head for requests: `python benchmarks/text_in_pictures/train.py`. NumPy and SciPy.

Logistic regression on hashed words and word pairs, seeded. Harmful: generated goals in frames,
GPTFuzz's questions, JailbreakBench's goals. Harmless: generated goals, AlpacaEval's instructions,
questions about pictures, and windows of the answers to both. FigStep's pictures are not in it.

Every number of the report comes from models that saw neither the goal nor the source's fold: five
folds by goal or prompt, and each public source of harmful requests left out as a whole. The
threshold is the margin that one in 200 harmless texts exceeds, out of fold.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.sparse

sys.path.insert(0, str(Path(__file__).parent))
from goals import make_requests

from guardrail.picture_text.request_head import (
    BITS,
    FORMAT,
    REQUEST_MODEL,
    RequestModel,
    asking_windows,
    features,
)
from guardrail.picture_text.request_rules import asked_harm

HERE = Path(__file__).parent
SHARED = HERE.parents[2] / "shared" / "data" / "oracle"
FOLDS = 5
SEED = 7
PER_GOAL = 8
PENALTY = 0.2  # L2, per unit of weight of one text
MOST_FALSE_ALARMS = 0.005
MOST_WINDOWS = 6  # of one harmless text
SLOPE = 2.0
WEIGHTS = {"generated": 1.0, "gptfuzz": 1.0, "jbb": 1.0, "instructions": 2.0, "answers": 0.5}


@dataclass(frozen=True)
class Row:
    text: str
    harmful: bool
    source: str
    group: str

    @property
    def fold(self) -> int:
        return zlib.crc32(self.group.encode()) % FOLDS


def load() -> list[Row]:
    rows = [Row(t, h, "generated", goal) for t, h, goal in make_requests(SEED, PER_GOAL)]
    gptfuzz, jbb = _read("responses_gptfuzz"), _read("responses_jbb_artifacts")
    rows += [Row(p, True, "gptfuzz", p) for p in sorted({r["prompt"] for r in gptfuzz})]
    rows += [Row(g, True, "jbb", g) for g in sorted({r["goal"] for r in jbb})]
    for name in ("benign_answers_alpacaeval", "benign_answers_vlm"):
        found = _read(name)
        prompts = sorted({r["prompt"] for r in found if r["prompt"].strip()})
        rows += [Row(p, False, "instructions", p) for p in prompts]
        rows += [
            Row(r["response"], False, "answers", r["prompt"])
            for r in found
            if zlib.crc32(r["id"].encode()) % 4 == 0
        ]
    return rows


def fit(rows: list[Row]) -> RequestModel:
    data, labels, weights = [], [], []
    for row in rows:
        parts = _parts(row)
        data += parts
        labels += [row.harmful] * len(parts)
        weights += [WEIGHTS[row.source] / max(len(parts), 1)] * len(parts)
    matrix = scipy.sparse.vstack(data).tocsr()
    sign = np.where(labels, 1.0, -1.0)
    weight = np.array(weights)
    weight[sign > 0] *= weight[sign < 0].sum() / weight[sign > 0].sum()

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (matrix @ theta[:-1] + theta[-1])
        value = (weight * np.logaddexp(0.0, -margin)).sum() + 0.5 * PENALTY * theta[:-1] @ theta[
            :-1
        ]
        pull = -weight * sign / (1.0 + np.exp(np.clip(margin, -500, 500)))
        return value, np.append(matrix.T @ pull + PENALTY * theta[:-1], pull.sum())

    start = np.zeros(matrix.shape[1] + 1)
    theta = scipy.optimize.minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 150}
    ).x
    return RequestModel(
        theta[:-1].astype(np.float16).astype(np.float32), float(theta[-1]), 1.0, 0.0
    )


@cache
def _parts(row: Row) -> tuple[scipy.sparse.csr_matrix, ...]:
    """A row of features for each window that trains."""
    tokens = features(row.text)
    if not tokens:
        return ()
    rng = np.random.default_rng(zlib.crc32(row.text.encode()))
    spans = [(0, len(tokens))] if row.harmful else list(asking_windows(tokens))
    if len(spans) > MOST_WINDOWS:
        spans = [spans[i] for i in sorted(rng.choice(len(spans), MOST_WINDOWS, replace=False))]
    parts = []
    for begin, end in spans:
        buckets = np.concatenate(tokens[begin:end])
        values = np.full(len(buckets), 1.0 / np.sqrt(len(buckets)))
        place = (np.zeros(len(buckets), dtype=int), buckets)
        parts.append(scipy.sparse.csr_matrix((values, place), shape=(1, 1 << BITS)))
    return tuple(parts)


@cache
def _spans(row: Row) -> scipy.sparse.csr_matrix:
    """A row of features for each window that is scored; none for a text without words."""
    tokens = features(row.text)
    rows, columns, values = [], [], []
    for place, (begin, end) in enumerate(asking_windows(tokens)):
        buckets = np.concatenate(tokens[begin:end])
        rows += [place] * len(buckets)
        columns += list(buckets)
        values += [1.0 / np.sqrt(len(buckets))] * len(buckets)
    return scipy.sparse.csr_matrix(
        (values, (rows, columns)), shape=(max(rows, default=-1) + 1, 1 << BITS)
    )


def margin(model: RequestModel, row: Row) -> float:
    """What `model.margin` gives, from cached features."""
    found = _spans(row) @ model.weights
    return float(found.max(initial=-np.inf)) + model.bias


def out_of_fold(rows: list[Row]) -> np.ndarray:
    margins = np.zeros(len(rows))
    for fold in range(FOLDS):
        model = fit([row for row in rows if row.fold != fold])
        for i, row in enumerate(rows):
            if row.fold == fold:
                margins[i] = margin(model, row)
    return margins


def report(rows: list[Row], margins: np.ndarray) -> tuple[float, dict[str, object]]:
    harmful = np.array([row.harmful for row in rows])
    source = np.array([row.source for row in rows])
    calm = margins[~harmful & (source != "generated")]
    threshold = float(np.quantile(calm, 1.0 - MOST_FALSE_ALARMS))
    ruled = np.array([asked_harm(row.text) is not None for row in rows])
    flagged = margins >= threshold
    rates: dict[str, object] = {
        f"{name}, {'harmful' if bad else 'harmless'}": _rate(
            flagged, ruled, (source == name) & (harmful == bad)
        )
        for name in WEIGHTS
        for bad in (True, False)
        if ((source == name) & (harmful == bad)).any()
    }
    for name in ("gptfuzz", "jbb"):
        model = fit([row for row in rows if row.source != name])
        found = np.array([margin(model, row) for row in rows]) >= threshold
        rates[f"{name}, harmful, whole source left out"] = _rate(found, ruled, source == name)
    return threshold, rates


def _rate(model: np.ndarray, rules: np.ndarray, chosen: np.ndarray) -> dict[str, int]:
    """How many of the chosen rows are flagged: by the rules, the model, either."""
    return {
        "rules": int(rules[chosen].sum()),
        "model": int(model[chosen].sum()),
        "either": int((rules | model)[chosen].sum()),
        "of": int(chosen.sum()),
    }


def _read(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (SHARED / f"{name}.jsonl").read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=REQUEST_MODEL)
    out = parser.parse_args().out
    rows = load()
    threshold, rates = report(rows, out_of_fold(rows))
    model = fit(rows)
    np.savez_compressed(
        out,
        format=FORMAT,
        weights=model.weights.astype(np.float16),
        calibration=np.array([model.bias, SLOPE, -SLOPE * threshold]),
    )
    text = json.dumps(
        {"threshold": threshold, "bytes": out.stat().st_size, "rates": rates}, indent=1
    )
    out.with_name("report.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
