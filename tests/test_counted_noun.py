"""Counts and the forms that go with them."""

import pytest

from guardrail.counted_noun import agree, count_of
from tests.grammar import disagreements


@pytest.mark.parametrize(
    ("number", "forms", "text"),
    [
        (0, ("view",), "0 views"),
        (1, ("view",), "1 view"),
        (2, ("view",), "2 views"),
        (1, ("process", "processes"), "1 process"),
        (12_345, ("process", "processes"), "12,345 processes"),
        (1, ("answer was", "answers were"), "1 answer was"),
        (3, ("answer was", "answers were"), "3 answers were"),
    ],
)
def test_the_form_goes_with_the_number(number, forms, text):
    assert count_of(number, *forms) == text
    assert agree(number, *forms) == text.partition(" ")[2]


@pytest.mark.parametrize(
    "text",
    ["each of the 1 views", "1 clean requests, 1 passed", "the 1 that were measured", "1\nwords",
     "2 record", "2 that was", "cut at 1 tokens"],
)  # fmt: skip
def test_the_check_of_other_tests_finds_what_is_wrong(text):
    assert disagreements(text)


@pytest.mark.parametrize(
    "text",
    ["1 view, 2 views", "1 of 2 answers", "0.1 requests", "21 requests", "recall 1 is shown"],
)
def test_the_check_of_other_tests_lets_pass_what_is_right(text):
    assert not disagreements(text)
