"""The compiled margins are numpy's, bit for bit; without a compiler nothing is lost."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.oracles.builtin import BuiltinScorer
from guardrail.oracles.text import compiled
from guardrail.oracles.text.ngrams import CLASSES, encode, grams

numba = pytest.importorskip("numba")

MODEL = BuiltinScorer().model
TEXTS = st.one_of(
    st.text(alphabet="abcdehz' .,!?07\n\t\rßé日", max_size=300),
    st.lists(st.sampled_from(["kill", "the", "cat's", "42", "!", "\n", "über"]), max_size=300).map(
        " ".join
    ),
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing is compiled before a test, nor kept after it."""
    monkeypatch.setattr(compiled._Compiled, "margins", None)
    monkeypatch.setattr(compiled._Compiled, "was_tried", False)


@pytest.fixture(scope="module")
def margin_pass():
    return numba.njit(cache=True)(compiled.window_margins)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_margins_are_those_of_numpy(margin_pass, text):
    ours = MODEL._compiled_margins(margin_pass, text)
    found = grams(text)
    assert ours == (MODEL.margins(found) if found.words.size else [])


@settings(max_examples=20, deadline=None)
@given(text=st.text(alphabet="ab' .7!", max_size=20))
def test_what_is_compiled_is_the_function_that_can_be_read(margin_pass, text):
    def run(function):
        margins = np.full(2, np.nan)
        shift, widths = np.uint64(64 - 20), np.array([2, 128])
        arguments = (encode(text), CLASSES, MODEL.weights, MODEL.rarity, shift, widths, margins)
        with np.errstate(over="ignore"):  # what is not compiled warns where words wrap around
            return function(*arguments), margins.tolist()

    np.testing.assert_equal(run(margin_pass), run(compiled.window_margins))


def test_scores_are_the_same_once_it_is_compiled():
    texts = ["A cat sleeps.", "I will kill you and your family tonight.", "", "...", "7 8"]
    texts.append("A cat sleeps. " * 1000)  # longer than what is compiled
    before = [MODEL.score(text) for text in texts]
    compiled.compile_margins()
    assert compiled.compiled_margins() is not None
    assert [MODEL.score(text) for text in texts] == before


def test_nothing_is_compiled_without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    compiled.compile_margins()
    assert compiled.compiled_margins() is None


def test_a_compiler_that_is_wrong_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(numba, "njit", lambda **_: lambda _: lambda *_: 0)
    with caplog.at_level(logging.WARNING):
        compiled.compile_margins()
    assert compiled.compiled_margins() is None
    assert "ArithmeticError" in caplog.text
