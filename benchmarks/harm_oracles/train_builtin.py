"""Trains the built-in oracle: `python benchmarks/harm_oracles/train_builtin.py`.

Logistic regression on hashed n-grams of overlapping windows, seeded and deterministic; needs numpy
and scipy. The training part trains, the validation part chooses the operating point, and the test
part is for `report.py` alone.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special
from categories import CATEGORIES, category_of
from examples import MADE_DOMAINS, ORDINARY, training_texts, validation_texts
from operating_point import operating_point, slope_of
from sklearn.linear_model import LogisticRegression

from guardrail.oracles.builtin import (
    BUILTIN_MODEL,
    CATEGORY_BITS,
    FORMAT,
    LinearTextModel,
    category_buckets,
    windows,
)
from guardrail.oracles.text.ngrams import Grams, grams
from guardrail.oracles.text.plain import plain_text

if TYPE_CHECKING:
    from data import Text

BITS = 20
WINDOW_TOKENS = (128, 32)
PENALTY = 0.1  # L2, per unit of weight of one text
FEWEST_TEXTS = 3  # n-grams of fewer training texts than this get no weight
SOURCE_WEIGHT = {
    "davidson": 0.3,
    "captions": 1.0,
    "prose": 0.5,
    "functions": 0.5,
    "manuals": 0.6,
    "glosses": 0.3,
    "short": 1.0,
    "word rows": 0.15,
    "mixed": 0.3,
    "jbb": 0.7,
}
MIXED = 12000
CALM_SHARE = 0.99  # of ordinary answers, whose margin makes the window sizes comparable


@dataclass(frozen=True)
class Windows:
    """Training windows: a row of `matrix`, a label and a weight for each."""

    matrix: scipy.sparse.csr_matrix
    harmful: np.ndarray
    weight: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=BUILTIN_MODEL)
    parser.add_argument(
        "--shuffle-labels", action="store_true", help="a check: AUC must fall to .5"
    )
    options = parser.parse_args()
    started = time.perf_counter()
    texts = training_texts(shuffle_labels=options.shuffle_labels)
    tokens = [grams(plain_text(text.text)) for text in texts]
    model = calibrate(validation_texts(), fit(texts, tokens))
    save(model, options.out)
    print(
        f"{options.out}: {options.out.stat().st_size} bytes, {time.perf_counter() - started:.0f} s"
    )


def fit(texts: list[Text], tokens: list[Grams]) -> LinearTextModel:
    """Weights from these texts and from mixtures of them; not yet calibrated."""
    rarity, seen = _rarity(tokens)
    mixed = mixtures(texts, MIXED)
    mixed_tokens = [grams(plain_text(text.text)) for text in mixed]
    parts = [_windows(texts, tokens, rarity, width) for width in WINDOW_TOKENS]
    parts.append(_windows(mixed, mixed_tokens, rarity, width=10**6))
    matrix = scipy.sparse.vstack([part.matrix for part in parts]).tocsr()
    harmful = np.concatenate([part.harmful for part in parts])
    weight = np.concatenate([part.weight for part in parts])
    weights, bias = _logistic(matrix, harmful, weight, np.flatnonzero(seen))
    return LinearTextModel(
        weights=(_rounded(weights) * rarity).astype(np.float32),
        rarity=rarity,
        window_tokens=WINDOW_TOKENS,
        offsets=(0.0,) * len(WINDOW_TOKENS),
        slope=1.0,
        intercept=float(bias),
        categories=CATEGORIES,
        category_weights=category_weights(texts, tokens),
    )


def category_weights(texts: list[Text], tokens: list[Grams]) -> np.ndarray:
    """Of a multinomial logistic regression on the words of harmful texts, each kind as heavy."""
    named = [(f, category_of(t)) for t, f in zip(texts, tokens, strict=True) if category_of(t)]
    columns = [category_buckets(found) for found, _ in named]
    starts = np.concatenate(([0], np.cumsum([len(column) for column in columns])))
    shape = (len(named), 1 << CATEGORY_BITS)
    ones = np.ones(starts[-1], dtype=np.float32)
    matrix = scipy.sparse.csr_matrix((ones, np.concatenate(columns), starts), shape=shape)
    labels = np.array([CATEGORIES.index(name) for _, name in named])
    fit = LogisticRegression(C=0.05, class_weight="balanced", max_iter=200)
    fit.fit(matrix, labels)
    return np.hstack([fit.coef_, fit.intercept_[:, None]]).astype(np.float32)


def mixtures(texts: list[Text], count: int) -> list[Text]:
    """Short texts set between harmless sentences, labelled as the short text: nothing may hide."""
    rng = np.random.default_rng(7)
    calm = [
        sentence
        for text in texts
        if text.source in {"gptfuzz", "xstest", "prose", "assistant", "vlm", "manuals"}
        and not text.harmful
        and len(text.text) > 300
        for sentence in re.split(r"(?<=[.!?])\s+", text.text)
        if len(sentence) > 30
    ]
    short = [
        t
        for t in texts
        if len(t.text) < 400
        and t.source not in {"gptfuzz", "word rows", "prose", "assistant", "glosses", "manuals"}
    ]
    odds = np.array([0.25 if text.source == "davidson" else 1.0 for text in short])
    made = []
    for place in rng.choice(len(short), count, p=odds / odds.sum()):
        before = [calm[i] for i in rng.integers(len(calm), size=rng.integers(1, 4))]
        after = [calm[i] for i in rng.integers(len(calm), size=rng.integers(0, 3))]
        text = " ".join([*before, short[place].text, *after])
        made.append(replace(short[place], source="mixed", text=text))
    return made


def calibrate(texts: list[Text], model: LinearTextModel) -> LinearTextModel:
    """Offsets, slope and intercept from the validation part: score 0.5 is the operating point."""
    margins = np.array([model.margins(grams(plain_text(text.text))) for text in texts])
    harmful = np.array([text.harmful for text in texts])
    ordinary = np.isin([text.source for text in texts], sum(ORDINARY.values(), ())) & ~harmful
    offsets = np.quantile(margins[ordinary], CALM_SHARE, axis=0)
    worst = (margins - offsets).max(axis=1)
    slope = slope_of(texts, worst)
    at = operating_point(texts, worst)
    return replace(model, offsets=tuple(map(float, offsets)), slope=slope, intercept=-slope * at)


def save(model: LinearTextModel, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = model.weights / model.rarity
    scale = np.abs(model.category_weights).max(axis=1) / 127.0
    np.savez_compressed(
        path,
        format=np.int64(FORMAT),
        weights=weights.astype(np.float16),
        rarity=np.round(model.rarity * 16).astype(np.uint8),
        window_tokens=np.array(model.window_tokens),
        offsets=np.array(model.offsets),
        calibration=np.array([model.slope, model.intercept]),
        categories=np.array(model.categories),
        category_weights=np.round(model.category_weights / scale[:, None]).astype(np.int8),
        category_scale=scale.astype(np.float32),
    )


def _rarity(tokens: list[Grams]) -> tuple[np.ndarray, np.ndarray]:
    """Of every bucket, and in which of them enough texts are."""
    count = np.zeros(2**BITS, dtype=np.int64)
    for found in tokens:
        count[np.unique(_buckets(found)[0])] += 1
    rarity = np.log((1 + len(tokens)) / (1 + count)) + 1
    return np.round(rarity * 16).astype(np.float32) / 16, count >= FEWEST_TEXTS


def _buckets(found: Grams) -> tuple[np.ndarray, np.ndarray]:
    hashes, tokens = found.features()
    return (hashes >> np.uint64(64 - BITS)).astype(np.int64), tokens


def _windows(texts: list[Text], tokens: list[Grams], rarity: np.ndarray, width: int) -> Windows:
    columns, values, lengths, harmful, weight = [], [], [], [], []
    for text, found in zip(texts, tokens, strict=True):
        buckets, token = _buckets(found)
        begins, ends = windows(len(found.words), width)
        for begin, end in zip(begins, ends, strict=True):
            inside = buckets[(token >= begin) & (token < end)]
            value = rarity[inside]
            columns.append(inside)
            values.append(value / np.sqrt(np.square(value).sum() + 1e-9))
            lengths.append(len(inside))
            harmful.append(text.harmful)
            weight.append(_weight(text) / len(begins) ** 0.5)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    data = np.concatenate(values).astype(np.float32)
    matrix = scipy.sparse.csr_matrix(
        (data, np.concatenate(columns), starts), shape=(len(lengths), 2**BITS)
    )
    matrix.sum_duplicates()
    share = 1.0 / len(WINDOW_TOKENS) if width in WINDOW_TOKENS else 1.0
    return Windows(matrix, np.array(harmful), np.array(weight) * share)


def _weight(text: Text) -> float:
    return 0.5 if text.source in MADE_DOMAINS else SOURCE_WEIGHT.get(text.source, 1.0)


def _logistic(
    matrix: scipy.sparse.csr_matrix, harmful: np.ndarray, weight: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, float]:
    """Minimises sum(weight · log-loss) + PENALTY/2 · |w|² over the given columns and a bias."""
    matrix = matrix[:, columns]
    transposed = matrix.T.tocsr()
    sign = np.where(harmful, 1.0, -1.0).astype(np.float32)

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (matrix @ point[:-1].astype(np.float32) + np.float32(point[-1]))
        pull = -sign * weight * scipy.special.expit(-margin)
        value = np.dot(weight, np.logaddexp(0, -margin)) + PENALTY / 2 * np.dot(
            point[:-1], point[:-1]
        )
        slope = transposed @ pull.astype(np.float32) + PENALTY * point[:-1]
        return float(value), np.append(slope, pull.sum())

    found = scipy.optimize.minimize(
        loss, np.zeros(len(columns) + 1), jac=True, method="L-BFGS-B",
        options={"maxiter": 100, "maxfun": 120, "ftol": 1e-7},
    )  # fmt: skip
    weights = np.zeros(2**BITS)
    weights[columns] = found.x[:-1]
    return weights, found.x[-1]


def _rounded(weights: np.ndarray) -> np.ndarray:
    return weights.astype(np.float16).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
