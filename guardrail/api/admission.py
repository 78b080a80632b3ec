"""How many requests are decided at a time, and how many may wait, of whom."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from guardrail.api.fair_places import FairPlaces
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.api.caller import Caller
    from guardrail.keys.limit_errors import RequestRate
    from guardrail.keys.limits import Limits

__all__ = ["Admission", "KeyPlace", "Ticket", "enter_by_key", "too_large"]


async def enter_by_key(limits: Limits, caller: Caller) -> KeyPlace:
    """Counts a request of a key, before its body is read; give the place back by `release`.

    Raises:
        RequestError: 429, the key may not ask more now.
    """
    if caller.key_id is None:
        return KeyPlace(None, lambda: None)
    rate = await limits.enter(caller.key_id, caller.limits)
    return KeyPlace(rate, functools.partial(limits.leave, caller.key_id))


class KeyPlace:
    """One of the requests that a key may make at a time; releasing it twice does no harm.

    Attributes:
        rate: where the key stands; None where its requests a minute are not limited.
    """

    def __init__(self, rate: RequestRate | None, leave: Callable[[], None]) -> None:
        self.rate = rate
        self._leave: Callable[[], None] | None = leave

    def release(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class Admission:
    """Lets `max_concurrent` requests in; up to `max_waiting` more wait, in turn between keys.

    Requests are admitted when their bodies are there, so that no client keeps others waiting by
    sending slowly; what those that wait hold is bounded by `Bodies`.
    """

    def __init__(self, max_concurrent: int, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._places = FairPlaces(
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

    async def enter(self, caller: Caller) -> Ticket:
        """Takes a place, after a wait in the queue; give it back by `release`.

        Raises:
            RequestError: 503, the queue is full.
        """
        name = caller.key_id or ""
        await self._places.acquire(name)
        return Ticket(self._places, name)


class Ticket:
    """A place among the requests being decided; releasing it twice does no harm."""

    def __init__(self, places: FairPlaces, name: str) -> None:
        self._places: FairPlaces | None = places
        self._name = name

    def release(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.release(self._name)


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
