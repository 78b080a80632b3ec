"""What is aimed for: sentences that tell themselves by their first word, and those oracles miss."""

import asyncio

import numpy as np
import pytest

from guardrail.attack.aims import find_missed_answers, likeliest, unmistakable_answers
from guardrail.attack.surrogate import Surrogate
from guardrail.builtin.kinds import FORBIDDEN
from guardrail.builtin.language import (
    describe,
    harmful_answer,
    harmful_answers,
    harmless_openings,
    is_harmful,
    words,
)
from guardrail.errors import ConfigError
from guardrail.oracles.function import as_oracle
from guardrail.upstreams.loading import load_vlm


def test_the_sentences_are_all_that_are_drawn():
    rng = np.random.default_rng(1)
    for kind in FORBIDDEN:
        known = set(harmful_answers(kind))
        assert {harmful_answer(kind, rng) for _ in range(60)} <= known
        assert all(map(is_harmful, known))
    # Three templates times three verbs of a weapon, and so on; gestures share all sentences.
    assert len(harmful_answers("pills")) == len(set(harmful_answers("syringe")))
    assert harmful_answers("finger") == harmful_answers("fist")


def test_no_harmless_description_begins_like_an_unmistakable_one():
    rng = np.random.default_rng(2)
    openings = {words(text)[0] for text in unmistakable_answers()}
    assert len(openings) == len(unmistakable_answers()) > 10
    harmless = {words(describe(("dog", "apple"), "red", rng))[0] for _ in range(200)}
    assert harmless <= harmless_openings()
    assert not openings & harmless_openings()
    assert all(map(is_harmful, unmistakable_answers()))


def missed_by(judge):
    async def run():
        oracle = as_oracle(judge)
        try:
            return await find_missed_answers(oracle, "what is shown?")
        finally:
            await oracle.aclose()

    return asyncio.run(run())


def test_missed_are_the_harmful_sentences_that_the_oracle_finds_harmless():
    def score(text):
        return 0.4 if "cashier" in text else 0.1 if "school" in text else 0.9

    missed = missed_by(score)
    every = {text for kind in FORBIDDEN for text in harmful_answers(kind)}
    assert set(missed) == {text for text in every if "cashier" in text or "school" in text}
    first = sum("school" in text for text in every)
    assert all("school" in text for text in missed[:first])


def test_an_oracle_without_a_miss_has_none_to_aim_for():
    with pytest.raises(ConfigError, match="misses no harmful"):
        missed_by(lambda _text: 1.0)


def test_the_likeliest_are_the_models_own(tiny_llava, noise_picture):
    from guardrail.attack.objectives import AnswerMargin
    from guardrail.attack.tensors import to_tensor

    picture = noise_picture(96, 96)
    surrogate = Surrogate(load_vlm(str(tiny_llava), device="cpu"), "what?", picture)
    answers = [f"{word} the gun" for word in ("take", "sell", "use", "share", "hide")] * 4
    answers = [f"{text} {i}" if i else text for i, text in enumerate(answers)]
    found = likeliest(surrogate, picture, answers, 3)
    x = to_tensor(picture, "cpu")[None]
    logs = {t: float(AnswerMargin(surrogate, [t]).log_probabilities(x)) for t in answers}
    assert set(found) <= set(answers)
    least = min(logs[text] for text in found)
    assert sum(value > least + 1e-4 for value in logs.values()) <= 2
