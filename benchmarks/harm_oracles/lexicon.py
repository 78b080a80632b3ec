"""What a published word list model knows of coarse words, taught through made-up word rows.

The teacher is alt-profanity-check 1.9.1 (MIT; a linear model over words, itself trained on the
Jigsaw Wikipedia comments and on Davidson's tweets). It is needed for training only.
"""

from __future__ import annotations

import random


def word_rows(count: int, seed: int) -> list[tuple[str, bool]]:
    """Rows of one to four words, half of them with a coarse one, labelled by the teacher."""
    from profanity_check import predict_prob
    from profanity_check.profanity_check import vectorizer

    words = sorted(word for word in vectorizer.vocabulary_ if word.isascii() and word.isalpha())
    odds = dict(zip(words, predict_prob(words), strict=True))
    coarse = [word for word in words if odds[word] > 0.8]
    plain = [word for word in words if odds[word] < 0.2]
    rng = random.Random(seed)
    rows = []
    for place in range(count):
        word = rng.choice(coarse if place % 2 else plain)
        row = [*rng.choices(plain, k=rng.randint(0, 3)), word]
        rng.shuffle(row)
        rows.append(" ".join(row))
    return [
        (row, bool(probability > 0.5))
        for row, probability in zip(rows, predict_prob(rows), strict=True)
    ]
