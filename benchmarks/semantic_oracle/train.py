"""Trains the small model of the method `pair` on generated pairs.

    python benchmarks/semantic_oracle/train.py        a minute of one core

Writes guardrail/oracles/semantic/pair_model/head.npz. Seeded: the same pairs, the same weights up
to the last bits of the sentence model. The threshold is chosen on a tenth of the training questions
that the weights have not seen: the lowest at which at most 1 % of other answers are called the
same.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from fit import fit  # noqa: E402 (found beside this file)
from generate import generate  # noqa: E402

from guardrail.oracles.semantic.features import FEATURES, excludes, pair_features, words_to_encode  # noqa: E402
from guardrail.oracles.semantic.pair_head import PAIR_HEAD, PairHead  # noqa: E402
from guardrail.oracles.semantic.reading import read_answer, read_question  # noqa: E402
from guardrail.oracles.text.sentences import SentenceEncoder  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generate import AskedPair
    from numpy.typing import NDArray

PAIRS = 6_000
MOST_CALLED_SAME = 0.01
LEAST, MOST = 0.5, 0.9  # of the threshold; below a half, another meaning is the likelier one


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--out", type=Path, default=PAIR_HEAD)
    given = parser.parse_args()
    pairs = generate("train", given.pairs)
    encoder = SentenceEncoder()
    features = features_of(pairs, encoder)
    same = np.array([pair.same for pair in pairs])
    kept = np.array([zlib.crc32(pair.question.lower().encode()) % 10 == 0 for pair in pairs])
    arrays = fit(features[~kept], same[~kept])
    write(given.out, arrays, 0.5, encoder.weights_digest)
    head = PairHead.load(given.out)
    scores = np.where([excludes(row) for row in features], 0.0, head.probabilities(features))
    threshold = choose(scores[kept], same[kept])
    write(given.out, arrays, threshold, encoder.weights_digest)
    print(f"{len(pairs)} pairs, threshold {threshold:.3f}")
    return 0


def features_of(pairs: Sequence[AskedPair], encoder: SentenceEncoder) -> NDArray[np.float32]:
    """Shape (len(pairs), len(FEATURES))."""
    read = [
        (read_question(pair.question), read_answer(pair.first), read_answer(pair.second))
        for pair in pairs
    ]
    words = sorted({w for question, *answers in read for w in words_to_encode(question, answers)})
    vectors = dict(zip(words, encoder.encode(words), strict=True))

    @cache
    def similarity(one: str, other: str) -> float:
        return float(vectors[one] @ vectors[other])

    return np.stack([pair_features(*one, similarity) for one in read])


def choose(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """The lowest threshold at which few enough other answers are called the same."""
    for threshold in np.arange(LEAST, MOST, 0.01):
        if (scores[~same] >= threshold).mean() <= MOST_CALLED_SAME:
            return round(float(threshold), 3)
    return MOST


def write(
    path: Path, arrays: dict[str, NDArray[np.float32]], threshold: float, encoder: str
) -> None:
    about = {"features": list(FEATURES), "threshold": threshold, "encoder": encoder}
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


if __name__ == "__main__":
    sys.exit(main())
