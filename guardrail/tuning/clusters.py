"""Which texts or requests are near-copies of each other, so that a family counts once.

A statistical bound takes its units as drawn one by one; twenty copies of one request, each with a
word changed, are one unit. Two requests are linked if their texts *and* their pictures are
near-copies, or if they share a group id; a cluster is a connected part.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.images.perceptual import (
    HASH_BITS,
    NEAR_COPY_BITS,
    PictureMark,
    are_near_copies_of_picture,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["cluster_requests", "cluster_texts", "fold_text", "near_copies_of_text"]

GRAM_WORDS = 5
LEAST_WORDS = 9
"""Texts with fewer words are near-copies only where they are equal after folding."""

_NO_GRAMS = np.empty(0, dtype=np.int64)


def fold_text(text: str) -> str:
    """Case folded; white space at the ends dropped, and one space in place of any within."""
    return " ".join(text.casefold().split())


def near_copies_of_text(a: str, b: str) -> bool:
    """Whether two texts are near-copies.

    They are if they are equal after `fold_text`, or if both have at least nine words and the
    Jaccard similarity of their sets of five words in a row is at least 0.8. A word is what stands
    between white space.
    """
    first, second = fold_text(a), fold_text(b)
    if first == second:
        return True
    grams = (_gram_set(first), _gram_set(second))
    return all(grams) and _is_similar(len(grams[0] & grams[1]), len(grams[0]), len(grams[1]))


def cluster_texts(texts: Sequence[str], groups: Sequence[str | None] | None = None) -> list[int]:
    """The cluster of every text, see `cluster_requests`."""
    return cluster_requests(texts, [()] * len(texts), groups)


def cluster_requests(
    texts: Sequence[str],
    pictures: Sequence[Sequence[PictureMark]],
    groups: Sequence[str | None] | None = None,
    earlier: Sequence[Sequence[str]] | None = None,
) -> list[int]:
    """The cluster of every request, numbered from 0 in the order of their first members.

    Takes under a minute for 100,000 texts of 40 words.

    Args:
        texts: all that each request says in words.
        pictures: its pictures in their order; requests with another number of them are not copies.
        groups: ids that link requests whatever they hold; None where a request has none.
        earlier: what was said before each text, turn by turn: of near-copies each turn is one, and
            there are as many. So a long text that all conversations begin with does not make them
            alike.

    Raises:
        ValueError: the arguments are not of one length.
    """
    from scipy.cluster.hierarchy import DisjointSet

    count = len(texts)
    given = [one for one in (pictures, groups, earlier) if one is not None]
    if any(len(one) != count for one in given):
        raise ValueError("texts, pictures and groups must have one item for every request")
    turns = [tuple(map(fold_text, said)) for said in earlier or [()] * count]
    parts = DisjointSet(range(count))
    folded = [fold_text(text) for text in texts]
    _link_equal(parts, [group or None for group in groups or ()])
    equal = [
        (text, said, *(mark.digest for mark in marks))
        for text, said, marks in zip(folded, turns, pictures, strict=True)
    ]
    _link_equal(parts, equal)
    # Of equal requests one is looked at; near-copies of it are near-copies of all.
    distinct = list({key: i for i, key in reversed(list(enumerate(equal)))}.values())[::-1]
    _link_near(parts, _Requests(distinct, folded, pictures, turns))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(parts[i], len(numbers)) for i in range(count)]


def _gram_set(folded: str) -> frozenset[tuple[str, ...]]:
    """The runs of five words; none of a text too short to be compared so."""
    words = folded.split()
    if len(words) < LEAST_WORDS:
        return frozenset()
    return frozenset(zip(*(words[i:] for i in range(GRAM_WORDS)), strict=False))


def _is_similar(common: int, size_a: int, size_b: int) -> bool:
    """Whether |a ∩ b| / |a ∪ b| >= 4/5, in integers."""
    return 9 * common >= 4 * (size_a + size_b)


def _link_equal(parts: Any, keys: Sequence[Hashable]) -> None:
    """Joins the items whose keys are equal; None is not a key."""
    first: dict[Hashable, int] = {}
    for i, key in enumerate(keys):
        if key is not None:
            parts.merge(first.setdefault(key, i), i)


def _link_near(parts: Any, requests: _Requests) -> None:
    """Joins near-copies. Each request meets only those that share a key of words or pictures."""
    by_words, by_pictures = _Postings(parts), _Postings(parts)
    for item in requests.distinct:
        word_keys, picture_keys = requests.word_keys(item), requests.picture_keys(item)
        # Either index holds every near-copy; the emptier one is asked.
        index, keys = min(
            ((by_words, word_keys), (by_pictures, picture_keys)),
            key=lambda one: one[0].size(one[1]),
        )
        _join_near(parts, requests, item, index.parts(keys))
        by_words.add(item, word_keys)
        by_pictures.add(item, picture_keys)


def _join_near(
    parts: Any, requests: _Requests, item: int, found: Iterator[tuple[int, list[int]]]
) -> None:
    met: set[int] = set()
    for root, members in found:
        for other in members:
            if parts.connected(item, root):
                break  # one near-copy in it is enough
            if other not in met and requests.are_near_copies(item, other):
                parts.merge(item, other)
            met.add(other)


class _Postings:
    """Which items have a key, by their connected part, so that whole parts can be skipped."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts
        self._items: dict[Hashable, dict[int, list[int]]] = {}
        self._sizes: Counter[Hashable] = Counter()

    def size(self, keys: Sequence[Hashable]) -> int:
        return sum(self._sizes[key] for key in keys)

    def add(self, item: int, keys: Sequence[Hashable]) -> None:
        for key in keys:
            self._items.setdefault(key, {}).setdefault(self._parts[item], []).append(item)
            self._sizes[key] += 1

    def parts(self, keys: Sequence[Hashable]) -> Iterator[tuple[int, list[int]]]:
        """(root, its members) of every part that has an item with one of the keys."""
        for key in keys:
            current: dict[int, list[int]] = {}
            for root, members in self._items.get(key, {}).items():
                current.setdefault(self._parts[root], []).extend(members)
            if current:
                self._items[key] = current
            yield from current.items()


class _Requests:
    """Keys and comparison of requests, with all words numbered once."""

    def __init__(
        self,
        distinct: list[int],
        folded: list[str],
        pictures: Sequence[Sequence[PictureMark]],
        turns: Sequence[tuple[str, ...]],
    ) -> None:
        self.distinct = distinct
        self._folded = folded
        self._pictures = pictures
        self._turns = turns
        rows = _ranked_grams([folded[i] for i in distinct])
        self._grams = dict(zip(distinct, rows, strict=True))

    def word_keys(self, item: int) -> list[Hashable]:
        """A near-copy shares at least one: the text itself, or one of its rarest grams.

        Two sets of similarity t or more share an element among the first |a| - ⌈t|a|⌉ + 1 of
        each, in any order that is common to both; the rarest first leaves the fewest to compare.

        Source: Chaudhuri et al. (2006), A primitive operator for similarity joins.
        """
        grams = self._grams[item]
        if not grams.size:
            return [self._folded[item]]
        keys: list[Hashable] = grams[: grams.size + 1 - -(-4 * grams.size // 5)].tolist()
        return keys

    def picture_keys(self, item: int) -> list[Hashable]:
        """A near-copy shares at least one band of the first picture's hash.

        Hashes that differ in at most d bits agree on one of d + 1 bands.
        """
        marks = self._pictures[item]
        if not marks:
            return [0]
        bands = NEAR_COPY_BITS + 1
        edges = pairwise(HASH_BITS * i // bands for i in range(bands + 1))
        return [
            (len(marks), low, marks[0].hash >> low & ((1 << high - low) - 1)) for low, high in edges
        ]

    def are_near_copies(self, a: int, b: int) -> bool:
        first, second = self._pictures[a], self._pictures[b]
        return (
            len(first) == len(second)
            and all(map(are_near_copies_of_picture, first, second))
            and self._are_near_texts(a, b)
            and self._are_near_turns(self._turns[a], self._turns[b])
        )

    @staticmethod
    def _are_near_turns(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
        return first == second or (
            len(first) == len(second) and all(map(near_copies_of_text, first, second))
        )

    def _are_near_texts(self, a: int, b: int) -> bool:
        if self._folded[a] == self._folded[b]:
            return True
        first, second = self._grams[a], self._grams[b]
        smaller, larger = sorted((first.size, second.size))
        if not _is_similar(smaller, smaller, larger):
            return False
        common = np.intersect1d(first, second, assume_unique=True).size
        return bool(smaller) and _is_similar(common, smaller, larger)


def _ranked_grams(folded: Sequence[str]) -> list[NDArray[np.int64]]:
    """For every text its different grams, each as its rank by rarity, in ascending order.

    Empty where the text is too short. Equal grams have equal ranks, and no others.
    """
    numbers: dict[str, int] = {}
    words = [[numbers.setdefault(word, len(numbers)) for word in text.split()] for text in folded]
    long = [i for i, row in enumerate(words) if len(row) >= LEAST_WORDS]
    rows = [_NO_GRAMS] * len(folded)
    if not long:
        return rows
    counts = np.array([len(words[i]) for i in long])
    owner, grams = _numbered_grams(
        np.concatenate([np.array(words[i], dtype=np.int64) for i in long]), counts, len(numbers)
    )
    rank = np.empty(int(grams.max()) + 1, dtype=np.int64)
    rank[np.argsort(np.bincount(grams), kind="stable")] = np.arange(rank.size)
    ranks = rank[grams]
    order = np.lexsort((ranks, owner))
    starts = np.searchsorted(owner, np.arange(1, len(long)))
    for i, row in zip(long, np.split(ranks[order], starts), strict=True):
        rows[i] = row
    return rows


def _numbered_grams(
    words: NDArray[np.int64], counts: NDArray[np.int64], vocabulary: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(text, gram) of every different gram of every text, ordered by text.

    Args:
        words: the numbers of all words of all texts, one text after the other.
        counts: how many words each text has.
        vocabulary: how many different words there are.
    """
    grams = words
    for length in range(1, GRAM_WORDS):  # (number of a run, next word) -> number of the longer run
        pairs = grams[:-1] * vocabulary + words[length:]
        grams = np.unique(pairs, return_inverse=True)[1].ravel()
    owner = np.repeat(np.arange(counts.size), counts)[: grams.size]
    within = owner == np.repeat(np.arange(counts.size), counts)[GRAM_WORDS - 1 :]
    largest = int(grams.max()) + 1
    different = np.unique(owner[within] * largest + grams[within])
    return different // largest, different % largest
