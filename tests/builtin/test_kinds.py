"""The kinds of things: enough of them, named in one word each, each another emoji."""

import pytest

from guardrail.builtin.kinds import BACKGROUNDS, FORBIDDEN, HARMLESS, KINDS, Topic


def test_there_are_enough_kinds_and_each_is_one():
    assert len(KINDS) >= 200
    assert len(set(KINDS)) == len(KINDS)
    assert set(HARMLESS).isdisjoint(FORBIDDEN)
    emoji = [*HARMLESS.values(), *(picture for picture, _ in FORBIDDEN.values())]
    assert len(set(emoji)) == len(emoji) == len(KINDS)


@pytest.mark.parametrize("names", [KINDS, tuple(BACKGROUNDS)])
def test_names_are_single_lower_case_words(names):
    assert all(name.isalpha() and name.islower() and name.isascii() for name in names)


def test_no_colour_is_a_thing():
    assert set(BACKGROUNDS).isdisjoint(KINDS)


def test_every_topic_has_several_kinds():
    topics = [topic for _, topic in FORBIDDEN.values()]
    assert all(topics.count(topic) >= 3 for topic in Topic)


def test_colours_are_apart():
    values = list(BACKGROUNDS.values())
    gaps = [
        sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
        for i, one in enumerate(values)
        for other in values[:i]
    ]
    assert min(gaps) > 40
