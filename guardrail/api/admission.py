"""How many requests are decided at a time, and how many may wait."""

from __future__ import annotations

import asyncio
from collections import deque

from guardrail.errors import RequestError

__all__ = ["Admission", "Ticket", "too_large"]


class Admission:
    """Lets `max_concurrent` requests in; up to `max_waiting` more wait, first come first served.

    Requests are admitted before their bodies are read, so that those that wait hold no memory.
    """

    def __init__(self, max_concurrent: int, max_waiting: int) -> None:
        self._free = max_concurrent
        self._max_waiting = max_waiting
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def free(self) -> int:
        return self._free

    async def enter(self) -> Ticket:
        """A place, after a wait in line; give it back by `release`.

        Raises:
            RequestError: 503, the line is full.
        """
        if self._free > 0:
            self._free -= 1
            return Ticket(self)
        if len(self._queue) >= self._max_waiting:
            raise RequestError(
                "too many requests are being decided or waiting; retry later, or raise "
                "advanced.limits.max_concurrent_requests",
                status=503,
                code="overloaded",
            )
        await self._turn()
        return Ticket(self)

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._queue.remove(turn)
            else:  # the place was handed over in the same moment: it goes to the next one
                self._leave()
            raise

    def _leave(self) -> None:
        waiting = next((turn for turn in self._queue if not turn.done()), None)
        if waiting is None:
            self._free += 1
        else:
            self._queue.remove(waiting)
            waiting.set_result(None)


class Ticket:
    """A place among the requests being decided; releasing it twice does no harm."""

    def __init__(self, admission: Admission) -> None:
        self._admission: Admission | None = admission

    def release(self) -> None:
        if self._admission is not None:
            self._admission._leave()  # noqa: SLF001 (one class in two halves)
            self._admission = None


def too_large(max_bytes: int) -> RequestError:
    return RequestError(
        f"the request body has more than {max_bytes} bytes; send fewer or smaller pictures",
        status=413,
        code="request_too_large",
    )
