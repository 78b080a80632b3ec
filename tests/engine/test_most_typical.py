"""The choice of the delivered answer."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.engine.most_typical import most_typical


def test_the_answer_in_the_middle_is_chosen():
    assert most_typical(["A red cat.", "no idea", "A red cat sits.", "A cat sits."]) == 2


def test_the_first_of_equals_is_chosen():
    assert most_typical(["dog", "a cat", "a cat", "A CAT!"]) == 1


def test_length_alone_does_not_win():
    """A text that holds every word of the others and much more is less like them."""
    long = " ".join(["a cat", *(f"word{i}" for i in range(50))])
    assert most_typical([long, "a cat", "a cat"]) == 1


def test_repetition_does_not_win():
    assert most_typical(["cat " * 40, "a cat", "a cat sits"]) != 0


@pytest.mark.parametrize("texts", [["", ""], ["", "..."], ["only one"]])
def test_texts_without_words(texts):
    assert most_typical(texts) == 0


def test_no_texts():
    with pytest.raises(ValueError, match="empty"):
        most_typical([])


@pytest.mark.no_cover
def test_hundreds_of_long_answers_take_no_quadratic_work():
    texts = [" ".join(f"w{(i * j) % 997}" for j in range(300)) for i in range(400)]
    assert 0 <= most_typical(texts) < 400


@given(st.lists(st.text("ab c", max_size=12), min_size=1, max_size=6), st.randoms())
def test_order_matters_only_between_equals(texts, random):
    shuffled = random.sample(texts, len(texts))
    one, other = texts[most_typical(texts)], shuffled[most_typical(shuffled)]
    assert _score(texts, one) == pytest.approx(_score(texts, other))
    assert _score(texts, one) == pytest.approx(max(_score(texts, text) for text in texts))


def _score(texts, chosen):
    """The definition, written out pair by pair."""

    def bag(text):
        words = "".join(c if c.isalnum() else " " for c in text).split()
        return {(word, words[:i].count(word)) for i, word in enumerate(words)}

    def cosine(one, other):
        return len(one & other) / math.sqrt(len(one) * len(other)) if one and other else 0.0

    return sum(cosine(bag(chosen), bag(text)) for text in texts)
