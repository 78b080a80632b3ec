"""Windows cover an answer, whatever its length, and never lose the prompt's ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.oracles.encoder.windows import MOST_PROMPT, OVERLAP, WINDOW, cut_windows, ends

TOKENS = st.lists(st.integers(1000, 30000), max_size=900)


@given(answer=TOKENS, prompt=TOKENS)
def test_every_token_is_in_a_window_and_none_is_too_long(answer, prompt):
    windows = cut_windows(answer, prompt)
    assert all(len(window.ids) <= WINDOW for window in windows)
    at = 0
    for window in windows:
        part = window.ids[window.answer_at : -1]
        start = next(i for i in range(at, -1, -1) if answer[i : i + len(part)] == part)
        assert start <= at
        at = max(at, start + len(part))
    assert at == len(answer)


@given(prompt=TOKENS, answer=TOKENS)
def test_the_prompt_stands_before_every_window(prompt, answer):
    kept = ends(prompt, MOST_PROMPT)
    for window in cut_windows(answer, prompt):
        assert window.ids[1 : window.answer_at - 1] == kept


@pytest.mark.parametrize("length", [0, 5, WINDOW - 3, WINDOW - 2, 400])
def test_a_passage_at_a_border_is_whole_in_a_window(length):
    answer = list(range(1000, 1000 + length))
    windows = [window.ids[window.answer_at : -1] for window in cut_windows(answer)]
    for start in range(max(length - OVERLAP, 0)):
        passage = answer[start : start + OVERLAP]
        assert any(passage == part[i : i + OVERLAP] for part in windows for i in range(len(part)))


def test_the_ends_of_a_long_prompt_are_kept():
    assert ends(list(range(100)), 4) == [0, 1, 98, 99]
    assert ends([1, 2], 4) == [1, 2]
