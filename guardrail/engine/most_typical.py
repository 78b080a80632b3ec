"""Which of several answers is most like the others."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["most_typical"]


def most_typical(texts: Sequence[str]) -> int:
    """The index of the text most similar to all of them together, the first one on a tie.

    Similarity of two texts is the cosine between their sets of words, a word's second occurrence
    counting as another word (Ochiai's coefficient). Its sum over all texts needs only one vector
    for all of them, so the time is linear in their length. The choice depends on nothing but the
    texts and their order. Of "a cat", "a dog", "a cat here" the first one is chosen: its sums
    are 1 + 1/2 + 0.82, those of the others 1/2 + 1 + 0.41 and 0.82 + 0.41 + 1.

    Raises:
        ValueError: there are no texts.
    """
    bags = [_words(text) for text in texts]
    total: defaultdict[tuple[str, int], float] = defaultdict(float)
    for bag in bags:
        for word in bag:
            total[word] += 1.0 / math.sqrt(len(bag))
    # fsum does not depend on the order of a set, so equal sets have equal scores.
    scores = [math.fsum(total[w] for w in bag) / math.sqrt(len(bag) or 1) for bag in bags]
    return scores.index(max(scores))


def _words(text: str) -> set[tuple[str, int]]:
    """The words of a text, each with the number of its occurrence."""
    seen: Counter[str] = Counter()
    words = set()
    for word in re.findall(r"\w+", text.lower()):
        seen[word] += 1
        words.add((word, seen[word]))
    return words
