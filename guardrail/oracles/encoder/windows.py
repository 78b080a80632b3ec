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
    """What goes into the model at once; the answer begins at `answer_at`."""

    ids: list[int]
    answer_at: int

    @property
    def has_answer(self) -> bool:
        """Whether anything of an answer is in it."""
        return len(self.ids) > self.answer_at + 1


def cut_windows(answer: Sequence[int], prompt: Sequence[int] = ()) -> list[EncoderWindow]:
    """Windows that cover every token of the answer; at least one."""
    kept = ends(prompt, MOST_PROMPT)
    room = WINDOW - 3 - len(kept)
    before = [_CLS, *kept, _SEP]
    return [
        EncoderWindow([*before, *answer[start : start + room], _SEP], len(before))
        for start in window_starts(len(answer), room, OVERLAP)
    ]


def ends(tokens: Sequence[int], most: int) -> list[int]:
    """The beginning and the end of a prompt that is too long, where its question mostly stands."""
    if len(tokens) <= most:
        return list(tokens)
    tail = most // 2
    return [*tokens[: most - tail], *tokens[len(tokens) - tail :]]
