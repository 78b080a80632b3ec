"""An answer's tokens in overlapping windows, each behind the prompt that drew it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guardrail.oracles.text.sentences import window_starts

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MOST_PROMPT", "WINDOW", "EncoderWindow", "cut_windows", "ends"]

WINDOW = 128
"""Tokens of a window, the three special ones included. Attention costs more in longer ones."""
MOST_PROMPT = 40
"""Tokens of a prompt that are shown: its beginning and its end."""
OVERLAP = 32
"""Tokens that neighbours share, so that a sentence at a border is seen whole in one of them."""

_CLS, _SEP = 101, 102


class EncoderWindow(NamedTuple):
    """What goes into the model at once.

    Attributes:
        ids: all tokens.
        answer_at: where among them the answer's begin.
        begin: which token of the whole answer is the first one here.
        end: the one after the last.
    """

    ids: list[int]
    answer_at: int
    begin: int
    end: int

    @property
    def has_answer(self) -> bool:
        """Whether anything of an answer is in it."""
        return self.end > self.begin


def cut_windows(answer: Sequence[int], prompt: Sequence[int] = ()) -> list[EncoderWindow]:
    """Windows that cover every token of the answer; at least one."""
    kept = ends(prompt, MOST_PROMPT)
    room = WINDOW - 3 - len(kept)
    before = [_CLS, *kept, _SEP]
    ranges = [
        (start, min(start + room, len(answer)))
        for start in window_starts(len(answer), room, OVERLAP)
    ]
    return [
        EncoderWindow([*before, *answer[begin:end], _SEP], len(before), begin, end)
        for begin, end in ranges
    ]


def ends(tokens: Sequence[int], most: int) -> list[int]:
    """The beginning and the end of a prompt that is too long, where its question mostly stands."""
    if len(tokens) <= most:
        return list(tokens)
    tail = most // 2
    return [*tokens[: most - tail], *tokens[len(tokens) - tail :]]
