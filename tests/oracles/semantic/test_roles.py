"""Who does it to whom: a passive against an active, against another passive, and no passive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.oracles.semantic.details import same_details
from guardrail.oracles.semantic.roles import opposite_roles

OPPOSITE = [
    ("the dog bites the cat", "the dog is being bitten by the cat"),
    ("a dog who bites a cat is there", "there the dog was bitten by a large cat"),
    ("the man carries the boy", "the man is carried by the boy"),
    ("the man got pushed by a woman in red", "the woman gets pushed by a man in red"),
]
ALIKE = [
    ("the dog bites the cat", "the cat is being bitten by the dog"),
    ("the cat is bitten by the dog", "there is a cat that is being bitten by a dog"),
    ("the car is parked by the house", "the car stands next to the house"),
    ("the dog is standing by the tree", "the dog stands near the tree"),
    ("the dog is by the tree", "the dog is near the tree"),
    ("the dog bites the cat", "the dog bites a cat"),
    ("by", "is by"),
    ("", "is seen by"),
]


@pytest.mark.parametrize(("first", "second"), OPPOSITE)
def test_swapped_roles_are_seen(first, second):
    assert opposite_roles(first.split(), second.split())
    assert opposite_roles(second.split(), first.split())
    assert not same_details(first, second)


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_the_same_roles_are_not_told_apart(first, second):
    assert not opposite_roles(first.split(), second.split())
    assert not opposite_roles(second.split(), first.split())


def test_a_deed_that_changes_its_stem_is_not_seen():
    assert not opposite_roles(
        "the dog catches the cat".split(), "the dog is caught by the cat".split()
    )


WORDS = st.lists(st.sampled_from("dog cat bites bitten is by the being".split()), max_size=20)


@given(WORDS, WORDS)
def test_it_is_symmetric(first, second):
    assert opposite_roles(first, second) == opposite_roles(second, first)


@given(st.lists(st.sampled_from("dog cat sees the a".split()), max_size=20))
def test_without_a_passive_nothing_is_told_apart(words):
    assert not opposite_roles(words, list(reversed(words)))


def test_a_text_of_nothing_but_passives_takes_no_square_of_its_length():
    words = "cat is bitten by dog".split() * 20_000
    assert not opposite_roles(words, words)
    assert opposite_roles(words, "dog is bitten by cat".split() * 20_000)
