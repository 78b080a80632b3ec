"""How many requests are decided at a time, and how many may wait."""

from __future__ import annotations

from guardrail.errors import RequestError
from guardrail.semaphore import FifoSemaphore

__all__ = ["Admission", "Ticket", "too_large"]


class Admission:
    """Lets `max_concurrent` requests in; up to `max_waiting` more wait, first come first served.

    Requests are admitted when their bodies are there, so that no client keeps others waiting by
    sending slowly; what those that wait hold is bounded by `Bodies`.
    """

    def __init__(self, max_concurrent: int, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._places = FifoSemaphore(
            max_concurrent, max_waiting=max_waiting, full=_make_overloaded_error
        )

    @property
    def waiting(self) -> int:
        return self._places.waiting

    @property
    def free(self) -> int:
        return self._places.free

    @property
    def waits(self) -> bool:
        """Whether the next one would have to wait."""
        return self._places.waiting > 0 or self._places.free < 1

    @property
    def full(self) -> bool:
        """Whether the next one would be refused."""
        return self.waits and self._places.waiting >= self._max_waiting

    async def enter(self) -> Ticket:
        """Takes a place, after a wait in the queue; give it back by `release`.

        Raises:
            RequestError: 503, the queue is full.
        """
        await self._places.acquire()
        return Ticket(self._places)


class Ticket:
    """A place among the requests being decided; releasing it twice does no harm."""

    def __init__(self, places: FifoSemaphore) -> None:
        self._places: FifoSemaphore | None = places

    def release(self) -> None:
        if self._places is not None:
            self._places.release()
            self._places = None


def _make_overloaded_error() -> RequestError:
    return RequestError(
        "too many requests are being decided or waiting; retry later, or raise "
        "advanced.limits.max_concurrent_requests",
        status=503,
        code="overloaded",
    )


def too_large(max_bytes: int) -> RequestError:
    return RequestError(
        f"the request body has more than {max_bytes} bytes; send fewer or smaller pictures",
        status=413,
        code="request_too_large",
    )
