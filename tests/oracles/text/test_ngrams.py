"""Vectorised n-gram hashes against a plain account of what they must be."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.oracles.text.ngrams import grams, mix_bits

TEXTS = st.text(alphabet="abcz' .,!?7\n", max_size=80)


def tokens_of(text: str) -> list[str]:
    """Words, numbers and signs, as the module's docstring tells it."""
    return re.findall(r"[a-z']+|[0-9]+|[^a-z0-9' \t\r]", text)


def same_partition(labels: list[object], hashes: np.ndarray) -> bool:
    """Equal labels have equal hashes and different ones different hashes."""
    pairs = set(zip(labels, hashes.tolist(), strict=True))
    return len(pairs) == len(set(labels)) == len(set(hashes.tolist()))


@given(TEXTS)
def test_words_are_hashed_one_for_one(text):
    words = ["7" if token.isdigit() else token for token in tokens_of(text)]
    found = grams(text)
    assert len(found.words) == len(words)
    assert same_partition(words, found.words)
    assert found.is_word.tolist() == [bool(re.match(r"[a-z']", word)) for word in words]


@given(TEXTS)
def test_pairs_and_triples_are_neighbours(text):
    words = ["7" if token.isdigit() else token for token in tokens_of(text)]
    found = grams(text)
    assert same_partition(list(itertools.pairwise(words)), found.pairs)
    triples = list(zip(words, words[1:], words[2:], strict=False))
    assert same_partition(triples, found.triples)


@given(TEXTS)
def test_characters_stay_within_a_word_and_its_borders(text):
    shown = re.sub(r"[^a-z']", " ", f" {text} ")
    expected: Counter[str] = Counter()
    for size in (3, 4, 5):
        for place in range(len(shown) - size + 1):
            piece = shown[place : place + size]
            if " " not in piece[1:-1]:
                expected[piece] += 1
    found = Counter(grams(text).chars.tolist())
    assert sorted(found.values()) == sorted(expected.values())


@given(TEXTS)
def test_character_grams_belong_to_their_token(text):
    found = grams(text)
    for token, word in enumerate(tokens_of(text)):
        own = found.chars[found.char_token == token]
        if word.isdigit() or not re.match(r"[a-z']", word):
            assert own.size == 0
        else:
            alone = grams(word).chars
            assert sorted(own.tolist()) == sorted(alone.tolist())


@given(TEXTS, TEXTS)
def test_hashes_depend_on_the_span_and_not_on_its_place(before, text):
    whole, alone = grams(f"{before} {text}"), grams(text)
    size = len(alone.words)
    assert whole.words[len(whole.words) - size :].tolist() == alone.words.tolist()


def test_every_number_is_the_same_token():
    found = grams("7 10 123456 x")
    assert len(set(found.words[:3].tolist())) == 1
    assert found.words[3] != found.words[0]


@pytest.mark.parametrize("text", ["", " ", "\ud800", "é", "日本", "a" * 100_000, "! " * 5000])
def test_edges(text):
    found = grams(text)
    hashes, tokens = found.features()
    assert len(hashes) == len(tokens)
    assert hashes.dtype == np.uint64
    assert tokens.size == 0 or 0 <= tokens.min() <= tokens.max() < len(found.words)


@given(TEXTS)
def test_features_hold_every_gram_once_for_each_occurrence(text):
    found = grams(text)
    hashes, _ = found.features()
    parts = (found.words, found.pairs, found.triples, found.chars)
    assert len(hashes) == sum(map(len, parts))


def test_mixing_loses_nothing_and_fills_the_high_bits():
    numbers = np.arange(200_000, dtype=np.uint64)
    spread = mix_bits(numbers)
    assert len(np.unique(spread)) == len(numbers)
    counts = np.bincount((spread >> np.uint64(60)).astype(np.int64), minlength=16)
    assert counts.min() > 0.9 * len(numbers) / 16
