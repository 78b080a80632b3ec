"""Answers from a seeded generator, as long as the answers of real models."""

from __future__ import annotations

import numpy as np

__all__ = ["answers", "corpus"]

# Words in 7,004 answers of language models (GPTFuzz, PyRIT and XSTest), at these percentiles.
PERCENTILES = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
WORDS = (4, 9, 9, 12, 45, 63, 85, 112, 147, 178, 210, 281, 417)
LONG_WORDS = (600, 1200)

_STARTS = "b br c ch d f fl g gr h j k l m n p pl qu r s sh sl st t th tr v w y z".split()
_VOWELS = "a ai e ea i o oo ou u".split()
_ENDS = " n r s t l m d ck nd st ng rt".split(" ")


def answers(count: int, *, long: bool, seed: int = 0) -> list[str]:
    """Texts with the lengths of real answers, or of 600 to 1,200 words."""
    random = np.random.default_rng([seed, int(long)])
    words = _vocabulary()
    chances = 1.0 / np.arange(1, len(words) + 1)
    chances /= chances.sum()
    texts = []
    for place in random.permutation(count):
        share = 100.0 * (place + 0.5) / count  # evenly spread, so that few texts will do
        length = np.interp(share, (0, 100), LONG_WORDS) if long else _usual(share)
        chosen = random.choice(words, size=round(length), p=chances)
        texts.append(" ".join(chosen) + ".")
    return texts


def corpus(count: int = 2000) -> list[str]:
    """Other texts of the same language, to train a tokenizer on."""
    return answers(count, long=False, seed=1)


def _usual(share: float) -> float:
    return float(np.interp(share, PERCENTILES, WORDS))


def _vocabulary(count: int = 20_000) -> list[str]:
    """Made-up words, short ones first, as in a language."""
    random = np.random.default_rng(2)
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = 1 + (len(found) >= count // 10) + (len(found) >= count // 2)
        parts = [
            random.choice(_STARTS) + random.choice(_VOWELS) + random.choice(_ENDS)
            for _ in range(syllables)
        ]
        found["".join(parts)] = None
    return list(found)
