"""Made answers: seeded, distinct, complete and without mixed labels."""

import importlib.util
import json
import random
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from guardrail.engine.visible_text import extract_text
from guardrail.types import Answer

FOLDER = Path(__file__).parents[2] / "benchmarks" / "made_answers"
_spec = importlib.util.spec_from_file_location(
    "made_answers", FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
)
made = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = made  # where its own imports look for it
_spec.loader.exec_module(made)
make = importlib.import_module("made_answers.make")

DOMAINS = {
    "tools",
    "code",
    "records",
    "steps",
    "refusals",
    "reports",
    "pictures",
    "chat",
    "identity",
    "service",
}


@pytest.fixture(scope="module")
def answers():
    return made.make_answers(2000, seed=7)


def test_equal_seeds_give_equal_answers():
    assert made.make_answers(200, seed=3) == made.make_answers(200, seed=3)


def test_other_seeds_give_other_answers():
    first, second = ({a.answer for a in made.make_answers(300, seed)} for seed in (3, 4))
    assert len(first & second) < 30  # short answers such as "Yes." recur


def test_every_answer_says_something_and_is_distinct(answers):
    texts = [answer.answer for answer in answers]
    assert all(any(letter.isalnum() for letter in text) for text in texts)
    assert len({text.casefold() for text in texts}) == len(texts)


def test_no_slot_or_mark_of_the_grammar_is_left(answers):
    tables = importlib.import_module("made_answers.words").TABLES
    left = ("«", "»", "\x01", "\x02", "\x03", *(f"{{{name}}}" for name in tables if name != "name"))
    assert [a.form for a in answers if any(mark in a.answer for mark in left)] == []


def test_every_domain_has_both_labels_and_eight_families_of_each(answers):
    assert {answer.domain for answer in answers} == DOMAINS
    families = Counter((form.domain, form.harmful) for form in made.FORMS)
    assert min(families[domain, label] for domain in DOMAINS for label in (True, False)) >= 8


def test_every_category_is_there_and_only_where_it_belongs(answers):
    assert {a.category for a in answers if a.harmful} == set(made.CATEGORIES)
    assert {a.category for a in answers if not a.harmful} == {""}


def test_a_form_has_one_label(answers):
    labels = {(answer.form, answer.harmful) for answer in answers}
    assert len(labels) == len({form for form, _ in labels})
    assert all(form.endswith("harmful" if label else "harmless") for form, label in labels)
    assert len({form.name for form in made.FORMS}) == len(made.FORMS)


def test_about_two_thirds_are_harmless(answers):
    assert 0.6 < sum(not answer.harmful for answer in answers) / len(answers) < 0.7


def test_lengths_go_from_few_words_to_hundreds(answers):
    for label in (True, False):
        words = sorted(len(a.answer.split()) for a in answers if a.harmful == label)
        assert words[0] <= 3
        assert words[-1] >= 200


def test_no_two_answers_are_nearly_equal(answers):
    chosen = random.Random(0).sample(answers, 500)
    runs = [make.runs_of_words(answer.answer) for answer in chosen]
    runs = [found for found in runs if len(found) >= make.SHORTEST_RUNS]
    near = sum(make.jaccard(*pair) >= make.NEAR_COPY for pair in combinations(runs, 2))
    assert near == 0


def test_too_many_answers_are_refused(monkeypatch):
    monkeypatch.setattr(make, "FORMS", made.FORMS[:1])
    with pytest.raises(ValueError, match="ask for fewer"):
        made.make_answers(100_000, seed=0)


def test_parts_share_no_subject_and_no_sentence():
    crimes = importlib.import_module("made_answers.crimes")
    train, test = (
        {
            crime.base
            for answer in made.make_answers(400, 5, part)
            for crime in crimes.CRIMES
            if crime.base in answer.answer or crime.base in answer.prompt
        }
        for part in ("train", "test")
    )
    assert len(train) > 30
    assert len(test) > 12
    assert not train & test


def test_families_that_join_others_exist():
    assert {made.form_family(form.name) for form in made.FORMS} >= made.COMPOSED


def test_harmful_sentences_are_distinct_and_of_all_categories():
    sentences = made.harmful_sentences(seed=1)
    assert len({sentence.text for sentence in sentences}) == len(sentences) == 200
    assert {sentence.category for sentence in sentences} == set(made.CATEGORIES)
    assert sentences == made.harmful_sentences(seed=1)


def test_calm_texts_have_the_length_that_was_asked_for():
    texts = made.calm_texts(seed=2, count=5, words=500)
    assert len(set(texts)) == 5
    assert all(500 <= len(text.split()) <= 540 for text in texts)


@pytest.mark.parametrize("position", made.POSITIONS)
def test_harm_stands_where_it_was_asked_to(position):
    diluted = made.insert_harm(11, position)
    before, _, after = diluted.answer.partition(diluted.sentence.text)
    assert f"{before}{after}".split() == diluted.calm.split()
    share = len(before.split()) / len(diluted.calm.split())
    low, high = {"begin": (0, 0), "middle": (0.4, 0.6), "end": (1, 1), "random": (0, 1)}[position]
    assert low <= share <= high


def test_given_texts_are_used():
    sentence = made.HarmfulSentence("This one.", "hate")
    diluted = made.insert_harm(0, "middle", sentence=sentence, calm="One here. Two here.")
    assert diluted.answer == "One here. This one. Two here."


@pytest.mark.parametrize("field", made.FIELDS)
def test_harm_in_a_field_is_what_the_engine_shows(field):
    made_message = made.insert_in_field(5, field)
    words = made_message.sentence.text
    if field in ("tool_name", "tool_key"):
        words = "_".join(words.lower().split()[:3])
    json.dumps(made_message.message)
    shown = extract_text(Answer(message=made_message.message)).text
    assert shown.count(words) >= 1
    assert made_message == made.insert_in_field(5, field)


def test_only_the_chosen_field_differs():
    content, value = (made.insert_in_field(5, field).message for field in ("content", "tool_value"))
    assert content["content"] != value["content"]
    assert content["reasoning_content"] == value["reasoning_content"]
