"""Answers read against their question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.oracles.semantic.answering_sentence import answer_choice, answer_polarity
from guardrail.oracles.semantic.reading import QuestionKind, read_answer, read_question
from guardrail.oracles.semantic.stems import stem
from guardrail.oracles.semantic.terms import TermKind

KINDS = [
    ("", QuestionKind.OPEN),
    ("what do you see?", QuestionKind.OPEN),
    ("Please describe the photo.", QuestionKind.OPEN),
    ("what is going on in this picture?", QuestionKind.OPEN),
    ("which things are there?", QuestionKind.OPEN),
    ("how many objects are in the picture?", QuestionKind.COUNT),
    ("Count the dogs.", QuestionKind.COUNT),
    ("what is the background color?", QuestionKind.COLOUR),
    ("Is the man wearing a hat?", QuestionKind.YES_NO),
    ("Can you tell me whether the door is open?", QuestionKind.YES_NO),
    ("does the roof have a red colour?", QuestionKind.YES_NO),
    ("Is the car red or blue?", QuestionKind.CHOICE),
    ("Which is bigger, the dog or the cat?", QuestionKind.CHOICE),
    ("What is the man holding?", QuestionKind.SLOT),
    ("Hello. I have a picture here. What is the man holding?", QuestionKind.SLOT),
]


@pytest.mark.parametrize(("text", "kind"), KINDS)
def test_the_kind_of_a_question(text, kind):
    assert read_question(text).kind is kind


POLARITIES = [
    ("is the door open?", "Yes.", 1),
    ("is the door open?", "It is.", 1),
    ("is the door open?", "It isn't.", -1),
    ("is the door open?", "The door is shut.", -1),
    ("is the door open?", "It is not closed.", 1),
    ("is there a dog?", "no, only a cat.", -1),
    ("is there a dog?", "there is no dog.", -1),
    ("is there a dog?", "i see a dog.", 1),
    ("are there two cups?", "There are three.", -1),
    ("are there more cats than dogs?", "There are fewer dogs than cats.", 1),
    ("are there more cats than dogs?", "There are more dogs than cats.", -1),
    ("does the roof have a red colour?", "The roof is blue.", -1),
    ("what is it?", "Yes.", 0),
]


@pytest.mark.parametrize(("question", "answer", "polarity"), POLARITIES)
def test_an_answer_says_yes_or_no_to_its_question(question, answer, polarity):
    assert answer_polarity(read_question(question), read_answer(answer)) == polarity


CHOICES = [
    ("It is the coffee.", "coffee"),
    ("The tea is cheaper than the coffee.", "coffee"),
    ("The coffee costs more than the tea.", "coffee"),
    ("Not the coffee.", "tea"),
    ("The tea costs more.", "tea"),
    ("Neither is there.", ""),
]


@pytest.mark.parametrize(("answer", "option"), CHOICES)
def test_the_option_that_an_answer_takes(answer, option):
    question = read_question("Which costs more, the tea or the coffee?")
    assert answer_choice(question, read_answer(answer)) == (stem(option) if option else "")


def values(text, kind):
    return [term.value for sentence in read_answer(text) for term in sentence.terms
            if term.kind is kind]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("twenty-one people", ["21"]),
        ("half past two", ["2:30"]),
        ("quarter to three", ["2:45"]),
        ("1,200 boxes", ["1200"]),
        ("2 to 1", ["2-1"]),
        ("13-3", ["13-3"]),
        ("the red one", []),
        ("one can see it", []),
        ("one dog", ["1"]),
    ],
)
def test_numbers_in_words_and_digits(text, numbers):
    assert values(text, TermKind.NUMBER) == numbers


def test_a_detail_belongs_to_its_word():
    (sentence,) = read_answer("A red car stands in front of the house that is white.")
    bound = {term.value: term.bound for term in sentence.terms}
    assert (bound["red"], bound["white"]) == (stem("car"), stem("house"))


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("a wolf, two cats and a red kite", ["wolf", "cat", "kite"]),
        ("I see a wolf and a kite.", ["wolf", "kite"]),
        ("a wolf", []),
        ("a man chases a wolf and a kite", ["wolf", "kite"]),
    ],
)
def test_every_thing_of_a_list_is_listed_the_first_one_too(text, things):
    (sentence,) = read_answer(text)
    assert [term.value for term in sentence.words if term.listed] == list(map(stem, things))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("No, I do not see a hat.", ["hat"]),
        ("I am sure", []),
        ("it is product I", ["product", "i"]),
        ("product I has wheels", ["product", "i", "wheels"]),
    ],
)
def test_a_pronoun_is_no_name_of_one_letter(text, words):
    assert values(text, TermKind.WORD) == list(map(stem, words))


def test_a_relation_is_read_in_one_direction():
    (one,), (other,) = map(
        read_answer, ("The cup is left of the plate.", "The plate is to the right of the cup.")
    )
    assert one.relations == other.relations != frozenset()


@pytest.mark.parametrize(
    ("first", "second"), [("holding", "holds"), ("cities", "city"), ("sofa", "couches")]
)
def test_endings_and_synonyms_are_brought_together(first, second):
    assert stem(first) == stem(second)


@given(st.text())
def test_any_text_can_be_read(text):
    assert len(read_answer(text)) >= 1
    assert read_question(text).kind in QuestionKind
