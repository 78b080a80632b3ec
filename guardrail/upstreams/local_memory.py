"""What a device's memory holds of a batch, and how a row goes on with the tokens that it has."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from transformers import LogitsProcessor

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ForcedTokens", "RowLimit", "is_out_of_memory"]

_logger = logging.getLogger(__name__)
_SIGNS = ("out of memory", "can't allocate memory")  # MPS and CPU raise a plain RuntimeError


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no room for what was asked."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS)


class RowLimit:
    """How many rows fit the device at once, as told by the batches that did not.

    Rows are weighed by their tokens (prompt, pictures, longest answer), in which memory grows
    about linearly: a long prompt that did not fit leaves short ones their places. The limit only
    narrows, and never below one row. Used by one thread.
    """

    def __init__(self) -> None:
        self._most_tokens: int | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether a batch ever failed to fit."""
        return self._most_tokens is not None

    def most_rows(self, tokens: int, rows: int) -> int:
        """How many of `rows` with so many tokens each to try at once, at least 1."""
        if self._most_tokens is None:
            return rows
        return max(1, min(rows, self._most_tokens // tokens))

    def narrow(self, rows: int, tokens: int) -> None:
        """Twice as many rows, of so many tokens each, did not fit."""
        if self._most_tokens is None or rows * tokens < self._most_tokens:
            self._most_tokens = rows * tokens
            _logger.warning(
                "the local model's memory does not hold %d prompts of %d tokens at once; from now "
                "on %d are computed at once: set max_batch in the upstreams file to begin with it",
                2 * rows, tokens, rows,
            )  # fmt: skip


class ForcedTokens(LogitsProcessor):  # type: ignore[misc]  # mypy skips transformers
    """Gives each row the tokens that it was given in an earlier run, and then leaves it alone.

    What drew them stands before it, so that generators of random numbers move on as they did: the
    next token is the one that would have come without the interruption.

    Args:
        tokens: a list for each row, all equally long.
        begin: where answers begin, behind the prompt.
    """

    def __init__(self, tokens: Sequence[Sequence[int]], begin: int) -> None:
        self._tokens = torch.tensor(tokens)
        self._begin = begin

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        step = input_ids.shape[1] - self._begin
        if step >= self._tokens.shape[1]:
            return scores
        forced = torch.full_like(scores, float("-inf"))
        return forced.scatter(1, self._tokens[:, step : step + 1].to(scores.device), 0.0)
