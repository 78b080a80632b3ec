"""Windows: every token of an answer is in one, whole spans are, and prompts give way."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardrail.errors import ConfigError
from guardrail.oracles.classifier.harm_labels import HarmLabels
from guardrail.oracles.classifier.sequence_model import like_lengths
from guardrail.oracles.text.windows import Frame, frame_of, window_size, windows

SINGLE = Frame(((1001, 0),), (), ((1002, 0),), 0, 0, paired=False)
PAIR = Frame(((1001, 0),), ((1002, 0),), ((1002, 1),), 0, 1, paired=True)


@given(st.integers(0, 300), st.integers(4, 40))
def test_every_token_is_judged_and_so_is_every_short_span(length, size):
    answer = list(range(length))
    found = windows(SINGLE, size, answer)
    inner = [window.ids[1:-1] for window in found]
    assert all(window.ids[0] == 1001 and window.ids[-1] == 1002 for window in found)
    assert all(len(window.ids) == len(window.types) <= size for window in found)
    assert {token for tokens in inner for token in tokens} == set(answer)
    span = (size - 2) // 2
    for start in range(length - span + 1):
        wanted = answer[start : start + span]
        assert any(not span or _holds(tokens, wanted) for tokens in inner)


def _holds(tokens, wanted):
    return wanted[0] in tokens and wanted[-1] in tokens


@given(st.integers(0, 200), st.integers(1, 200), st.integers(7, 60))
def test_a_prompt_is_kept_in_every_window_and_cuts_nothing_off(asked, length, size):
    prompt, answer = list(range(5000, 5000 + asked)), list(range(length))
    found = windows(PAIR, size, answer, prompt)
    kept = {tuple(t for t in window.ids if t >= 5000) for window in found}
    judged = {t for window in found for t in window.ids if t < 1000}
    assert judged == set(answer)
    assert all(len(window.ids) <= size for window in found)
    (only,) = kept
    assert len(only) == min(asked, max((size - 3) // 3, size - 3 - length))
    if len(only) > 1 and asked > len(only):
        assert (only[0], only[-1]) == (prompt[0], prompt[-1])
    for window in found:
        assert [kind for t, kind in zip(*window, strict=True) if t < 1000] == [1] * sum(
            t < 1000 for t in window.ids
        )


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 20))
def test_batches_hold_every_window_once_and_hardly_any_padding(lengths, most):
    batches = list(like_lengths(lengths, most))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        sizes = [lengths[place] for place in batch]
        whole = max(sizes) * len(sizes)
        assert len(batch) <= most
        assert whole - sum(sizes) <= max(64, 0.05 * whole)


class Marked:
    """A tokenizer that says which tokens are special, and nothing else."""

    def __init__(self, mask):
        self.mask = mask

    def __call__(self, *_, **__):
        count = len(self.mask)
        return {
            "input_ids": list(range(count)),
            "token_type_ids": [0] * count,
            "special_tokens_mask": self.mask,
        }


@pytest.mark.parametrize(
    ("mask", "before", "after"),
    [([1, 0, 1], 1, 1), ([0, 0], 0, 0), ([0, 1, 1], 0, 2), ([1, 1, 0], 2, 0)],
)
def test_a_frame_may_lack_an_end(mask, before, after):
    frame = frame_of(Marked(mask), paired=False)
    assert (len(frame.before), len(frame.after), len(frame)) == (before, after, before + after)


@pytest.mark.parametrize("mask", [[], [1, 1], [1, 0, 1, 0, 1]])
def test_a_frame_that_is_not_understood_is_refused(mask):
    with pytest.raises(ConfigError, match="model"):
        frame_of(Marked(mask), paired=False)


@pytest.mark.parametrize("mask", [[1, 0, 1], [1, 0, 0, 1], [1, 1]])
def test_a_tokenizer_that_takes_no_pairs_is_refused(mask):
    with pytest.raises(ConfigError, match="pair 'none'"):
        frame_of(Marked(mask), paired=True)


@pytest.mark.parametrize(
    ("kind", "positions", "longest", "expected"),
    [
        ("bert", 512, 512, 512),
        ("bert", 512, 10**30, 512),
        ("bert", 256, 512, 256),
        ("roberta", 514, 10**30, 512),
        ("xlnet", None, 10**30, 512),
        ("modernbert", 8192, 8192, 512),
    ],
)
def test_the_usual_window_is_what_the_model_takes_up_to_512(kind, positions, longest, expected):
    config = SimpleNamespace(model_type=kind, max_position_embeddings=positions, pad_token_id=1)
    tokenizer = SimpleNamespace(model_max_length=longest)
    assert window_size(config, tokenizer, SINGLE, None) == expected


def test_a_long_window_is_there_for_the_asking():
    config = SimpleNamespace(model_type="modernbert", max_position_embeddings=8192)
    assert window_size(config, SimpleNamespace(model_max_length=8192), SINGLE, 8192) == 8192


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.99))
def test_more_harm_never_scores_less(first, second, threshold):
    labels = HarmLabels((0,), (threshold,))
    low, high = sorted((first, second))
    assert 0.0 <= labels.score([low]) <= labels.score([high]) <= 1.0


def test_not_a_number_is_never_lost():
    for row in ([float("nan"), 1.0], [1.0, float("nan")]):
        assert math.isnan(HarmLabels((0, 1), (0.5, 0.5)).score(row))
