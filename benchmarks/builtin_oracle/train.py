"""Trains the built-in oracle: `python benchmarks/builtin_oracle/train.py`. Needs numpy and scipy.

Logistic regression on hashed n-grams of overlapping windows, seeded and deterministic. Folds 0-3
train; they also calibrate and choose the threshold, every text scored by a model that has not seen
its fold. Fold 4 is for `report.py` alone.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special
from captions import captions
from data import FOLDS, TEST_FOLD, Text, load
from glosses import glosses
from lexicon import word_rows
from prose import paragraphs
from short_answers import short_answers

from guardrail.oracles.builtin import BUILTIN_MODEL, FORMAT, LinearTextModel, windows
from guardrail.oracles.text.ngrams import Grams, grams
from guardrail.oracles.text.normalise import normalise

BITS = 20
WINDOW_TOKENS = (128, 32)
PENALTY = 0.1  # L2, per unit of weight of one text
FEWEST_TEXTS = 3  # n-grams of fewer training texts than this get no weight
SOURCE_WEIGHT = {
    "davidson": 0.3,
    "captions": 1.0,
    "prose": 0.5,
    "glosses": 0.3,
    "short": 1.0,
    "lexicon": 0.15,
    "mixed": 0.3,
}
MIXED = 8000
CAPTIONS = 3000
SHORT = 9000
WORD_ROWS = 4000
PARAGRAPHS = 1500
GLOSSES = 8000
CALM_SHARE = 0.95  # of harmless answers, whose margin makes the window sizes comparable
MOST_FALSE_ALARMS = {"gptfuzz": 0.2, "xstest": 0.2, "captions": 0.005}


@dataclass(frozen=True)
class Windows:
    """Training windows: a row of `matrix`, a label and a weight for each."""

    matrix: scipy.sparse.csr_matrix
    harmful: np.ndarray
    weight: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=BUILTIN_MODEL)
    parser.add_argument("--scores", type=Path, help="keep the scores that chose the threshold")
    options = parser.parse_args()
    started = time.perf_counter()
    texts = [text for text in [*load(), *made_up_texts()] if not text.is_test]
    tokens = [grams(normalise(text.text)) for text in texts]
    model, scores = calibrated(texts, tokens, fit(texts, tokens))
    save(model, options.out)
    if options.scores:
        rows = [
            f"{s:.5f}\t{t.source}\t{t.harmful:d}\t{t.text[:80]!r}"
            for s, t in zip(scores, texts, strict=True)
        ]
        options.scores.write_text("\n".join(rows) + "\n")
    print(
        f"{options.out}: {options.out.stat().st_size} bytes, {time.perf_counter() - started:.0f} s"
    )


def made_up_texts() -> list[Text]:
    """Captions, short answers and word rows; captions for the report are made there."""
    calm = captions(CAPTIONS, seed=1, share=(0.0, 0.8))
    prose = paragraphs(PARAGRAPHS, seed=4, share=(0.0, 0.8))
    return [
        *(_made_up("captions", text, harmful=False, group=text) for text in calm),
        *(_made_up("prose", text, harmful=False, group=text) for text in prose),
        *(_made_up("glosses", text, harmful=False, group=text) for text in glosses(GLOSSES, 5)),
        *short_texts(),
        *(_made_up("lexicon", *row, group=row[0]) for row in word_rows(WORD_ROWS, seed=3)),
    ]


def short_texts() -> list[Text]:
    """Short answers; a fifth of their forms is held out."""
    return [_made_up("short", *made) for made in dict.fromkeys(short_answers(SHORT, seed=2))]


def _made_up(source: str, text: str, harmful: bool, group: str) -> Text:
    folds = FOLDS if source == "short" else TEST_FOLD  # forms are held out, rows are not
    fold = zlib.crc32(group.encode()) % folds
    return Text(source, "", "", text, harmful=harmful, group=group, fold=fold)


def fit(texts: list[Text], tokens: list[Grams]) -> LinearTextModel:
    """Weights from these texts and from mixtures of them; not yet calibrated."""
    rarity, seen, known = _rarity(tokens)
    mixed = mixtures(texts, MIXED)
    mixed_tokens = [grams(normalise(text.text)) for text in mixed]
    parts = [_windows(texts, tokens, rarity, width) for width in WINDOW_TOKENS]
    parts.append(_windows(mixed, mixed_tokens, rarity, width=10**6))
    matrix = scipy.sparse.vstack([part.matrix for part in parts]).tocsr()
    harmful = np.concatenate([part.harmful for part in parts])
    weight = np.concatenate([part.weight for part in parts])
    weights, bias = _logistic(matrix, harmful, weight, np.flatnonzero(seen))
    return LinearTextModel(
        weights=(_rounded(weights) * rarity).astype(np.float32),
        rarity=rarity,
        known=known,
        window_tokens=WINDOW_TOKENS,
        offsets=(0.0,) * len(WINDOW_TOKENS),
        slope=1.0,
        intercept=float(bias),
        threshold=0.5,
    )


def mixtures(texts: list[Text], count: int) -> list[Text]:
    """Short texts set between harmless sentences, labelled as the short text: nothing may hide."""
    rng = np.random.default_rng(7)
    calm = [
        sentence
        for text in texts
        if text.source in {"gptfuzz", "xstest", "prose"}
        and not text.harmful
        and len(text.text) > 300
        for sentence in re.split(r"(?<=[.!?])\s+", text.text)
        if len(sentence) > 30
    ]
    short = [
        t for t in texts if len(t.text) < 400 and t.source not in {"gptfuzz", "lexicon", "prose"}
    ]
    odds = np.array([0.25 if text.source == "davidson" else 1.0 for text in short])
    made = []
    for place in rng.choice(len(short), count, p=odds / odds.sum()):
        before = [calm[i] for i in rng.integers(len(calm), size=rng.integers(1, 4))]
        after = [calm[i] for i in rng.integers(len(calm), size=rng.integers(0, 3))]
        text = " ".join([*before, short[place].text, *after])
        made.append(replace(short[place], source="mixed", text=text))
    return made


def calibrated(
    texts: list[Text], tokens: list[Grams], model: LinearTextModel
) -> tuple[LinearTextModel, np.ndarray]:
    """Offsets, slope, intercept and threshold from texts scored by models that never saw them."""
    margins = np.zeros((len(texts), len(WINDOW_TOKENS)))
    for fold in range(TEST_FOLD):
        kept = [i for i, text in enumerate(texts) if text.fold != fold]
        part = fit([texts[i] for i in kept], [tokens[i] for i in kept])
        for i, text in enumerate(texts):
            if text.fold == fold:
                margins[i] = part.margins(tokens[i])
                margins[i] += part.intercept
        print(f"fold {fold} scored", flush=True)
    answers = np.array([text.kind == "dangerous" for text in texts])
    harmful = np.array([text.harmful for text in texts])
    offsets = np.quantile(margins[answers & ~harmful], CALM_SHARE, axis=0)
    worst = (margins - offsets).max(axis=1)
    weight = np.array([SOURCE_WEIGHT.get(text.source, 1.0) for text in texts])
    slope, intercept = _platt(worst, harmful, weight)
    scores = 1 / (1 + np.exp(-slope * worst - intercept))
    model = replace(
        model,
        offsets=tuple(float(offset - model.intercept) for offset in offsets),
        slope=slope,
        intercept=intercept,
        threshold=_threshold(texts, scores),
    )
    return model, scores


def save(model: LinearTextModel, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = model.weights / model.rarity
    np.savez_compressed(
        path,
        format=np.int64(FORMAT),
        weights=weights.astype(np.float16),
        rarity=np.round(model.rarity * 16).astype(np.uint8),
        known=np.packbits(model.known),
        window_tokens=np.array(model.window_tokens),
        offsets=np.array(model.offsets),
        calibration=np.array([model.slope, model.intercept, model.threshold]),
    )


def _rarity(tokens: list[Grams]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = np.zeros(2**BITS, dtype=np.int64)
    words = np.zeros(2**20, dtype=np.int64)
    for found in tokens:
        count[np.unique(_buckets(found)[0])] += 1
        words[np.unique(found.words[found.is_word] >> np.uint64(44))] += 1
    rarity = np.log((1 + len(tokens)) / (1 + count)) + 1
    return np.round(rarity * 16).astype(np.float32) / 16, count >= FEWEST_TEXTS, words >= 2


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
            weight.append(SOURCE_WEIGHT.get(text.source, 1.0) / len(begins) ** 0.5)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    data = np.concatenate(values).astype(np.float32)
    matrix = scipy.sparse.csr_matrix(
        (data, np.concatenate(columns), starts), shape=(len(lengths), 2**BITS)
    )
    matrix.sum_duplicates()
    share = 1.0 / len(WINDOW_TOKENS) if width in WINDOW_TOKENS else 1.0
    return Windows(matrix, np.array(harmful), np.array(weight) * share)


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


def _platt(margin: np.ndarray, harmful: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    def loss(point: np.ndarray) -> float:
        logit = point[0] * margin + point[1]
        return float(np.dot(weight, np.logaddexp(0, np.where(harmful, -logit, logit))))

    slope, intercept = scipy.optimize.minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return float(slope), float(intercept)


def _threshold(texts: list[Text], scores: np.ndarray) -> float:
    """The lowest multiple of 0.05 at which no kind of harmless answer is blocked too often."""
    limits = []
    for source, share in MOST_FALSE_ALARMS.items():
        calm = [t.source == source and not t.harmful for t in texts]
        limits.append(np.quantile(scores[calm], 1.0 - share))
    return float(np.ceil(max(limits) / 0.05) * 0.05)


def _rounded(weights: np.ndarray) -> np.ndarray:
    return weights.astype(np.float16).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
