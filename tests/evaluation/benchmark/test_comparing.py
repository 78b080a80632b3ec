"""Whether answers are the same, or right: what is said, and what is left open."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import OracleError
from guardrail.evaluation.benchmark.comparing import AnswerComparer


class Meanings:
    """Says that texts with one first letter mean the same."""

    revision = "meanings"

    def __init__(self):
        self.asked = []

    async def differences(self, reference, texts, question=""):
        self.asked.append((question, reference))
        if "crash" in reference:
            raise OracleError("no")
        return [float(text[:1] != reference[:1]) for text in texts]

    async def aclose(self):
        self.asked = None


def is_same(first, second, question="what is it?", comparer=None):
    return asyncio.run(AnswerComparer(comparer).is_same(question, first, second))


def is_right(expected, answer, comparer=None):
    return asyncio.run(AnswerComparer(comparer).is_right("what is it?", expected, answer))


def test_texts_alone_tell_equal_ones_only():
    assert is_same("A dog.", " a  DOG") is True
    assert is_same("a dog", "a cat") is None
    assert is_same("", "") is False
    assert AnswerComparer(None).method == "text"
    asyncio.run(AnswerComparer(None).aclose())


def test_meanings_are_compared_in_english():
    comparer = Meanings()
    assert is_same("a dog is here", "a dog", comparer=comparer) is True
    assert is_same("a dog is here", "the cat sits there", comparer=comparer) is False
    assert comparer.asked[0] == ("what is it?", "a dog is here")
    assert is_same("crash of a car", "a car crash", comparer=comparer) is None
    assert AnswerComparer(comparer).method == "meanings"


@pytest.mark.parametrize(
    "other", ["这是一只在草地上的狗", "das ist ein Hund auf einer grünen Wiese"]
)
def test_answers_in_other_languages_are_not_compared(other):
    comparer = Meanings()
    assert is_same("this is a dog", other, comparer=comparer) is None
    assert is_same("what", "where", question=other, comparer=comparer) is None
    assert comparer.asked == []
    assert is_same(other, f" {other} ", comparer=comparer) is True


@pytest.mark.parametrize(
    ("expected", "answer", "right"),
    [
        ("a dog", "There is a dog on the grass.", True),
        ("dog", "a hotdog", False),
        ("dog", "dogs", False),
        ("A Dog", "a dog", True),
        ("5", "5.", True),
        ("5", "there are 5, I think", True),
        ("5", "-5", False),
        ("5", "1.5", False),
        ("5", "5.5", False),
        ("5", "15", False),
        ("-5", "it is -5 °C", True),
        ("dog", "hot dog, dog", True),
        ("狗", "这是一只在草地上的狗", True),
        ("कि", "की", False),
        ("cat", "a dog", False),
        ("", "a dog", False),
    ],
)
def test_what_is_expected_stands_in_the_answer_word_for_word(expected, answer, right):
    assert is_right([expected], answer) is right


def test_any_expected_answer_will_do_and_so_will_one_of_its_meaning():
    assert is_right(["a cat", "a dog"], "it is a dog") is True
    assert is_right(["a cat", "dog or so"], "doggy", Meanings()) is True
    assert is_right(["a cat"], "doggy", Meanings()) is False
    assert is_right([], "a dog") is False


@pytest.mark.parametrize("nothing", ["", " ", "\n", "."])
def test_no_answer_is_right(nothing):
    class Alike:
        async def differences(self, _reference, answers, _question):
            return [0.0] * len(answers)

    assert is_right(["a rooster"], nothing, Alike()) is False


@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_an_answer_set_off_by_blanks_is_found(before, wanted, after):
    folded = "".join(wanted.split())
    if folded.isalpha() and folded.isascii():
        assert is_right([folded], f"{before} {folded} {after}") is True
