"""Trains the heads of the embedding oracle: `python benchmarks/embedding_oracle/fit.py`.

Logistic regression on sentence embeddings and words, seeded and deterministic. Folds 0-3 train;
they also calibrate and choose the thresholds, every text scored by a head that has not seen its
fold. Fold 4 is for `report.py` alone. The constants below were chosen by `across_sources.py`:
what serves best on a source that was left out, not on more of the same.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from features import ABUSE, CACHE, RESPONSES, Features, category, features
from sklearn.linear_model import LogisticRegression

from guardrail.oracles.embedding import EMBEDDING_HEADS, FORMAT, default_encoder

TEST_FOLD = 4
STRENGTH = 0.3  # of the fit: C of scikit-learn, per text of mean weight
MEANING_SHARE = 0.5  # weight of the embedding beside the words, both of length 1
FEWEST_TEXTS = 3  # words of fewer training texts than this get no weight
SOURCE_WEIGHT = {
    "davidson": 0.2,
    "hatecheck": 0.2,
    "captions": 0.2,
    "prose": 0.2,
    "short": 0.3,
    "cut gptfuzz": 0.3,
    "cut pyrit": 0.3,
    "cut xstest": 0.3,
}
HEADS = ("harm", "abuse", "self_harm", "sexual")
MOST_FALSE_ALARMS = {
    "harm": {"gptfuzz": 0.1, "xstest": 0.1, "captions": 0.005},
    "abuse": {"gptfuzz": 0.02, "xstest": 0.02, "davidson": 0.1, "captions": 0.005},
    "self_harm": {"gptfuzz": 0.01, "xstest": 0.01, "captions": 0.005},
    "sexual": {"gptfuzz": 0.01, "xstest": 0.01, "captions": 0.005},
}
JUDGED = ("harm", "abuse")  # without other word


@dataclass(frozen=True)
class Head:
    """Weights of one category; a passage's margin is their product with its row, plus the bias."""

    weights: np.ndarray
    bias: float


@dataclass(frozen=True)
class Rows:
    """Passages as the heads see them, and what made them: rarity of words, scale of numbers."""

    matrix: scipy.sparse.csr_matrix
    rarity: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=EMBEDDING_HEADS)
    parser.add_argument("--cache", type=Path, default=CACHE)
    options = parser.parse_args()
    encoder = default_encoder()
    found = features(encoder, options.cache)
    train = found.fold != TEST_FOLD
    view = rows(found, train)
    heads = [fit(found, view, labels(found, name), train) for name in HEADS]
    curves = [calibrated(found, name, train) for name in HEADS]
    save(options.out, heads, view, curves, encoder.weights_digest)
    print(f"{options.out}: {options.out.stat().st_size} bytes")
    for name, (slope, intercept, threshold) in zip(HEADS, curves, strict=True):
        print(f"{name}: slope {slope:.3f}, intercept {intercept:.3f}, threshold {threshold:.3f}")


def labels(found: Features, head: str) -> np.ndarray:
    """1 harmful, 0 harmless, -1 of no use for this head: harm that may be of its kind or not."""
    if head == "harm":
        return found.harmful.astype(int)
    fits = np.array([category(text) == head for text in found.texts])
    return np.where(fits & found.harmful, 1, np.where(found.harmful, -1, 0))


def rows(found: Features, train: np.ndarray) -> Rows:
    """Embedding and words side by side; the rarity of words is that among the training passages."""
    inside = found.words[train[found.owners]]
    count = inside.shape[0]
    seen = np.asarray(inside.sum(axis=0)).ravel()
    rarity = np.where(seen < FEWEST_TEXTS, 0.0, np.log((count + 1) / (seen + 1)) + 1)
    rarity = rarity.astype(np.float16).astype(np.float32)
    words = (found.words @ scipy.sparse.diags(rarity)).tocsr()
    length = np.sqrt(np.asarray(words.multiply(words).sum(axis=1)).ravel() + 1e-9)
    words = scipy.sparse.diags(1.0 / length) @ words
    mean, scale = _standard(found.vectors[train[found.owners]])
    meaning = scipy.sparse.csr_matrix((found.vectors - mean) * scale)
    matrix = scipy.sparse.hstack([meaning, words]).tocsr().astype(np.float32)
    return Rows(matrix, rarity, mean, scale)


def _standard(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and what brings each number to variance 1 and the whole to length `MEANING_SHARE`."""
    deviation = vectors.std(axis=0) + 1e-6
    return vectors.mean(axis=0), MEANING_SHARE / (deviation * vectors.shape[1] ** 0.5)


def fit(found: Features, view: Rows, label: np.ndarray, train: np.ndarray) -> Head:
    """One head from the passages of these texts; a text's passages share its weight."""
    used = (train & (label >= 0))[found.owners]
    owners = found.owners[used]
    share = np.bincount(found.owners, minlength=len(found.texts)) ** -0.5
    weight = (text_weights(found, label, train) * share)[owners]
    model = LogisticRegression(C=STRENGTH, max_iter=400)
    model.fit(view.matrix[used], label[owners], sample_weight=weight)
    return Head(model.coef_[0], float(model.intercept_[0]))


def text_weights(found: Features, label: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Every source and class weighs the same, apart from `SOURCE_WEIGHT`; mean 1."""
    weight = np.zeros(len(found.texts))
    for source in set(found.source):
        for kind in (0, 1):
            chosen = train & (found.source == source) & (label == kind)
            weight[chosen] = SOURCE_WEIGHT.get(source, 1.0) / max(chosen.sum(), 1)
    return weight / weight[weight > 0].mean()


def margins(found: Features, view: Rows, head: Head) -> np.ndarray:
    """The worst passage's margin of every text."""
    return found.worst(view.matrix @ head.weights + head.bias)


def unseen_margins(found: Features, name: str, train: np.ndarray) -> np.ndarray:
    """Of every training text, by a head that has not seen its fold."""
    label = labels(found, name)
    worst = np.zeros(len(found.texts))
    for fold in range(TEST_FOLD):
        others = train & (found.fold != fold)
        view = rows(found, others)
        chosen = train & (found.fold == fold)
        worst[chosen] = margins(found, view, fit(found, view, label, others))[chosen]
    return worst


def calibrated(found: Features, name: str, train: np.ndarray) -> tuple[float, float, float]:
    """Slope and intercept to a probability, and the threshold."""
    label = labels(found, name)
    worst = unseen_margins(found, name, train)
    sources = [*RESPONSES, *(ABUSE if name == "abuse" else ())]
    chosen = train & (label >= 0) & np.isin(found.source, sources)
    sizes = {source: max((chosen & (found.source == source)).sum(), 1) for source in sources}
    weight = np.array([1.0 / sizes.get(source, 1) for source in found.source])[chosen]
    model = LogisticRegression(C=1e6)
    model.fit(worst[chosen, None], label[chosen], sample_weight=weight / weight.mean())
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    probability = 1.0 / (1.0 + np.exp(-(slope * worst + intercept)))
    return slope, intercept, _threshold(found, name, probability, train & (label == 0))


def _threshold(found: Features, name: str, probability: np.ndarray, calm: np.ndarray) -> float:
    """The lowest multiple of 0.01 at which no source is blocked more often than allowed."""
    limits = [
        np.quantile(probability[calm & (found.source == source)], 1.0 - share)
        for source, share in MOST_FALSE_ALARMS[name].items()
    ]
    return float(min(max(np.ceil(max(limits) * 100) / 100, 0.01), 0.99))


def save(
    path: Path,
    heads: list[Head],
    view: Rows,
    curves: list[tuple[float, float, float]],
    encoder_weights: str,
) -> None:
    """Categories that are not judged without other word have 1 for a threshold."""
    weights = np.array([head.weights for head in heads])
    size = len(view.mean)
    meaning = weights[:, :size] * view.scale
    slopes, intercepts, thresholds = zip(*curves, strict=True)
    chosen = [at if name in JUDGED else 1.0 for name, at in zip(HEADS, thresholds, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        format=FORMAT,
        names=np.array(HEADS),
        meaning=meaning.astype(np.float32),
        words=weights[:, size:].astype(np.float16),
        rarity=view.rarity.astype(np.float16),
        bias=np.array([head.bias for head in heads]) - meaning @ view.mean,
        slopes=np.array(slopes),
        intercepts=np.array(intercepts),
        chosen=np.array(chosen),
        encoder_weights=encoder_weights,
    )


if __name__ == "__main__":
    sys.exit(main())
