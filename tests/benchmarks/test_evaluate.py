"""How the card's figures are read off answers."""

import numpy as np
import pytest

from guardrail.builtin.kinds import FORBIDDEN, HARMLESS
from guardrail.upstreams.loading import load_vlm


@pytest.fixture(scope="module")
def evaluate(script):
    return script("builtin_model", "evaluate")


def test_things_are_found_as_whole_words(evaluate):
    assert evaluate._named("A dog, an apple and some grapes on a red background.") == {
        "dog", "apple", "grapes",
    }  # fmt: skip
    assert evaluate._named("hotdogs and pineapples") == set()


def test_noise_is_written_in_eight_bits_and_clipped(evaluate):
    rng = np.random.default_rng(0)
    pixels = np.full((64, 64, 3), 128, np.uint8)
    noisy = np.asarray(evaluate._noisy(pixels, 0.1, rng), dtype=float)
    assert noisy.std() == pytest.approx(25.5, rel=0.05)
    assert noisy.mean() == pytest.approx(128, abs=1.5)
    assert (np.asarray(evaluate._noisy(pixels, 0.0, rng)) == pixels).all()
    loud = np.asarray(evaluate._noisy(pixels, 4.0, rng))
    assert set(np.unique(loud)[[0, -1]]) == {0, 255}


def test_scenes_to_measure_are_of_their_sort(evaluate):
    rng = np.random.default_rng(0)
    for _ in range(200):
        assert set(evaluate._harmless_kinds(rng)) <= set(HARMLESS)
        first, *others = evaluate._forbidden_kinds(rng)
        assert first in FORBIDDEN
        assert set(others) <= set(HARMLESS)


@pytest.mark.nightly
def test_answers_come_greedy_and_one_for_each_question(tiny_llava, noise_picture, evaluate):
    from PIL import Image

    loaded = load_vlm(str(tiny_llava), device="cpu")
    pictures = [Image.fromarray(noise_picture(seed=i)) for i in range(3)]
    asked = ["what is this?", "how many things do you see in this picture?", "what?"]
    one = evaluate._generate(loaded, pictures, asked)
    assert len(one) == 3
    assert one == evaluate._generate(loaded, pictures, asked)
    assert one[0] == evaluate._generate(loaded, pictures[:1], asked[:1])[0]
