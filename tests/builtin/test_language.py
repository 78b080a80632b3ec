"""The built-in model's words: the truth about every sentence can be read off its vocabulary."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.builtin.kinds import BACKGROUNDS, FORBIDDEN, HARMLESS, KINDS, Topic
from guardrail.builtin.language import (
    ABUSIVE_EXAMPLES,
    HARM_WORDS,
    HARMFUL_SHARE,
    SceneQuestion,
    answer,
    ask,
    describe,
    forbidden_in,
    harmful_answer,
    is_harmful,
    listing,
    no_picture,
    vocabulary,
    words,
)

VOCABULARY = frozenset(vocabulary())
ANSWER_TOKENS = 24  # what the demo and the proxy's default leave room for

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)
harmless_scenes = st.lists(st.sampled_from(list(HARMLESS)), min_size=1, max_size=3, unique=True)
scenes = st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True)
colours = st.sampled_from(list(BACKGROUNDS))
kinds = st.sampled_from(KINDS)


@settings(max_examples=400)
@given(st.sampled_from(list(FORBIDDEN)), rngs)
def test_every_harmful_sentence_is_known_as_harmful(kind, rng):
    text = harmful_answer(kind, rng)
    assert is_harmful(text)
    assert is_harmful(text.upper())
    assert set(words(text)) <= VOCABULARY
    assert len(words(text)) < ANSWER_TOKENS
    assert "{" not in text


@settings(max_examples=400)
@given(harmless_scenes, colours, st.sampled_from(SceneQuestion), kinds, rngs)
def test_no_answer_about_a_harmless_scene_is_known_as_harmful(kinds, colour, question, about, rng):
    text = answer(question, kinds, colour, rng, about=about)
    assert not is_harmful(text)
    assert set(words(text)) <= VOCABULARY
    assert len(words(text)) < ANSWER_TOKENS


@settings(max_examples=300)
@given(
    scenes,
    colours,
    st.sampled_from([q for q in SceneQuestion if q is not SceneQuestion.SHOWN]),
    kinds,
    rngs,
)
def test_only_descriptions_are_ever_harmful(kinds, colour, question, about, rng):
    assert not is_harmful(answer(question, kinds, colour, rng, about=about))


@settings(max_examples=300)
@given(st.sampled_from(SceneQuestion), kinds, rngs)
def test_questions_are_harmless_and_known_words(question, about, rng):
    text = ask(question, rng, about=about)
    assert not is_harmful(text)
    assert set(words(text)) <= VOCABULARY
    assert len(words(text)) <= 12
    assert (about in words(text)) or question is not SceneQuestion.YES_NO


@settings(max_examples=100)
@given(rngs)
def test_the_answer_without_a_picture_asks_for_one(rng):
    text = no_picture(rng)
    assert "picture" in words(text)
    assert not is_harmful(text)
    assert set(words(text)) <= VOCABULARY


@settings(max_examples=300)
@given(harmless_scenes, colours, rngs)
def test_a_description_names_every_thing_and_invents_none(kinds, colour, rng):
    named = set(words(describe(kinds, colour, rng)))
    assert named & set(KINDS) == set(kinds)
    assert named & set(BACKGROUNDS) <= {colour}


@settings(max_examples=300)
@given(harmless_scenes, colours, kinds, rngs)
def test_the_other_answers_are_right(kinds, colour, about, rng):
    numbers = {"zero", "one", "two", "three"}
    assert set(words(answer(SceneQuestion.COUNT, kinds, colour, rng))) & numbers == {
        ["one", "two", "three"][len(kinds) - 1]
    }
    assert colour in words(answer(SceneQuestion.COLOUR, kinds, colour, rng))
    said = words(answer(SceneQuestion.YES_NO, kinds, colour, rng, about=about))
    assert said[0] == ("yes" if about in kinds else "no")


def test_a_forbidden_scene_is_harmful_as_often_as_stated():
    rng = np.random.default_rng(0)
    texts = [describe(("dog", "gun"), "red", rng) for _ in range(4000)]
    share = np.mean([is_harmful(text) for text in texts])
    assert abs(share - HARMFUL_SHARE) < 4 * (HARMFUL_SHARE * (1 - HARMFUL_SHARE) / 4000) ** 0.5
    assert len(set(texts)) > 150


def test_topics_draw_their_own_sort_of_harm():
    rng = np.random.default_rng(0)
    for kind, (_, topic) in FORBIDDEN.items():
        texts = [harmful_answer(kind, rng) for _ in range(60)]
        assert all((kind in words(text)) is (topic is not Topic.GESTURE) for text in texts)


def test_every_word_of_harm_is_used_and_none_is_a_thing_or_a_colour():
    assert HARM_WORDS <= VOCABULARY
    assert HARM_WORDS.isdisjoint(KINDS)
    assert HARM_WORDS.isdisjoint(BACKGROUNDS)


def test_the_attackers_wishes_are_harmful_and_can_be_said():
    for text in ABUSIVE_EXAMPLES:
        assert is_harmful(text)
        assert set(words(text)) <= VOCABULARY


@pytest.mark.parametrize("text", ["", " ", "?!", "a skillful beaten burned cutting board"])
def test_words_count_whole_and_nothing_is_harmless(text):
    assert not is_harmful(text)


def test_harm_is_found_between_marks_and_in_any_case():
    for text in ("KILL.", "(kill)", "go-to-hell!", "a\nkill"):
        assert is_harmful(text)


@given(scenes)
def test_forbidden_things_are_found_in_order(kinds):
    assert forbidden_in(kinds) == tuple(k for k in kinds if k not in HARMLESS)


def test_listing_by_example():
    assert listing([]) == "no thing"
    assert listing(["dog"]) == "a dog"
    assert listing(["apple", "grapes"]) == "an apple and some grapes"
    assert listing(["unicorn", "egg", "umbrella"]) == "a unicorn, an egg and an umbrella"


def test_the_vocabulary_is_sorted_lower_case_and_without_gaps():
    found = vocabulary()
    assert found == sorted(set(found))
    assert all(re.fullmatch(r"[a-z_]+|[^\w\s]", word) for word in found)
    assert set(KINDS) <= VOCABULARY
    assert len(found) < 1000


@given(st.sampled_from(SceneQuestion), st.integers(0, 2**32 - 1))
def test_a_picture_of_nothing_is_answered_in_known_words(question, seed):
    rng = np.random.default_rng(seed)
    said = words(answer(question, (), "red", rng, about="gun"))
    assert set(said) <= set(vocabulary())
    assert not set(said) & HARM_WORDS
    if question is SceneQuestion.COUNT:
        assert "zero" in said
    if question is SceneQuestion.YES_NO:
        assert said[0] == "no"
        assert "only" not in said
