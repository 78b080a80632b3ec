"""The suffix: the question as it was, and then at most so many words of the vocabulary."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.attack.suffix import PromptMargin, SuffixSettings, find_suffix
from guardrail.errors import ConfigError

WORDS = ("dog", "gun", "?", "colour", "the", "burn")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2), st.integers(1, 6), st.integers(0, 99), st.randoms())
def test_what_is_found_is_the_question_and_at_most_so_many_words(
    most, rounds, candidates, seed, random
):
    known = {}

    def loss(prompts):
        return [known.setdefault(prompt, random.random()) for prompt in prompts]

    effort = SuffixSettings(most, rounds, candidates, seed)
    found = find_suffix(loss, "what is this?", WORDS, effort)
    assert len(found.words) <= most
    assert set(found.words) <= set(WORDS)
    assert found.prompt == " ".join(("what is this?", *found.words))
    assert found.loss == known[found.prompt]
    assert found.loss <= known["what is this?"]


def test_the_best_word_is_found_at_each_place():
    def loss(prompts):
        """0 for `gun burn`, one more for each place that is another."""
        wanted = ("gun", "burn")
        words = [prompt.split()[1:] for prompt in prompts]
        return [
            abs(len(some) - 2) + sum(a != b for a, b in zip(some, wanted, strict=False))
            for some in words
        ]

    found = find_suffix(loss, "what", WORDS, SuffixSettings(5, candidates=6))
    assert (found.words, found.loss) == (("gun", "burn"), 0)


def test_a_question_that_no_word_makes_worse_stays_as_it_is():
    found = find_suffix(lambda prompts: [1.0] * len(prompts), "what?", WORDS, SuffixSettings())
    assert (found.prompt, found.words) == ("what?", ())


@pytest.mark.parametrize("vocabulary", [(), ("a b",), ("",), ("a\u2003b",)])
def test_words_have_no_white_space(vocabulary):
    with pytest.raises(ConfigError, match="white space"):
        find_suffix(lambda prompts: [0.0] * len(prompts), "what?", vocabulary, SuffixSettings())


@pytest.mark.parametrize(
    ("name", "value"), [("words", 0), ("words", 101), ("rounds", -1), ("candidates", 0)]
)
def test_senseless_efforts_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        SuffixSettings(**{name: value})


def test_the_margin_is_that_of_the_question_with_the_words(tiny_llava, noise_picture):
    from guardrail.attack.objectives import FirstTokenMargin
    from guardrail.attack.surrogate import Surrogate
    from guardrail.attack.tensors import to_tensor
    from guardrail.upstreams.loading import load_vlm

    loaded, picture = load_vlm(str(tiny_llava), device="cpu"), noise_picture(96, 96)
    answers = ("go to hell.", "you are a dog.")
    prompts = ("what is shown?", "what is shown? gun burn the", "what is shown? dog")
    surrogate = Surrogate(loaded, prompts[0], picture)
    found = PromptMargin(loaded, surrogate, picture, answers)(prompts)
    x = to_tensor(picture, "cpu")[None]
    alone = [
        float(FirstTokenMargin(Surrogate(loaded, prompt, picture), answers)(x)[0])
        for prompt in prompts
    ]
    assert found == pytest.approx(alone, abs=1e-3)
    assert len({round(value, 4) for value in found}) == 3
