"""The end of a server: what is under way gets some time, and what is left then is cut."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.errors import LimitError

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["SHUTTING_DOWN", "Drain", "shut_down_error"]

SHUTTING_DOWN = "shutting_down"
"""The code of an answer 503: the server ended before the request was decided."""


class Drain:
    """Whether the server is ending, and what it still decides. Used from one event loop.

    Attributes:
        has_begun: whether the server is ending, so that no new client should be sent to it.
        is_cut: whether what is under way was ended, and nothing more is decided.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.is_cut = False
        self._deciding: set[asyncio.Task[Any]] = set()

    def begin(self) -> None:
        self.has_begun = True

    def cut(self) -> None:
        """Ends every decision under way, each with a fault as its verdict."""
        self.has_begun = self.is_cut = True
        for task in tuple(self._deciding):
            task.cancel()

    async def decide(self, decision: Coroutine[Any, Any, Verdict]) -> Verdict:
        """What a decision finds, or a fault where it is cut. Raises what it raises."""
        if self.is_cut:
            decision.close()
            return _cut_verdict()
        task = asyncio.current_task()
        assert task is not None  # this is a coroutine of an event loop
        self._deciding.add(task)
        try:
            return await decision
        except asyncio.CancelledError:
            if self._was_cut():
                return _cut_verdict()
            raise
        finally:
            self._deciding.discard(task)

    def _was_cut(self) -> bool:
        """Asked anew after every wait."""
        return self.is_cut


def shut_down_error() -> LimitError:
    """The error of a request that the server's end cut short."""
    return LimitError(
        "the server ended before this request was decided; send it again, to another server "
        "or in some seconds",
        status=503,
        code=SHUTTING_DOWN,
        retry_after_s=1.0,
    )


def _cut_verdict() -> Verdict:
    return Verdict(action=Action.FAULT, reason=Reason.SHUT_DOWN, failure=shut_down_error())
