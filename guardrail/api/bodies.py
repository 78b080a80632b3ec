"""What the bodies of all requests may hold together, and how fast each must arrive.

    body = bodies.open()                     # a place among the bodies that arrive
    try:
        async with body.arriving():          # RequestError where it is too slow
            while piece := await next_piece():
                await body.take(len(piece))  # waits while all bodies together hold too much
        ...                                  # it is there: its place is free, its bytes are held
        body.give_back(picture_bytes)        # those are decoded, and bounded as pixels
    finally:
        body.close()

Whoever comes while all places are taken is let in; the body that brought the least of late is
refused instead. Where it is room that lacks, it is one of the address whose bodies hold the most.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from guardrail.errors import RequestError
from guardrail.semaphore import FifoSemaphore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from guardrail.api.refusals import Refusals, RefusedBound
    from guardrail.api.wire_limits import WireLimits

__all__ = ["Bodies", "Body"]

_FREE_BYTES = 1 << 16
"""So much of each body is not counted, so that small requests never wait for large ones."""
_PARSED_BYTES = 8 << 20
"""Bodies parsed at a time, in bytes, or one larger one: parsing takes a multiple of the body."""
_PATIENCE_S = 1.0
"""How long a body waits for room before the slowest that arrives is refused, again and again."""
_MOST_WAITS = 10
"""After so many times of `_PATIENCE_S` without room it is refused itself."""
_FADE_S = 1.0
"""How fast bytes are forgotten where the slowest body is looked for."""
_FASTEST_BYTES = 1 << 20
"""More is not remembered, so that one burst counts for a few seconds only."""


class Bodies:
    """The bodies of all requests of one server; used on its event loop only."""

    def __init__(self, limits: WireLimits, refusals: Refusals) -> None:
        self.limits = limits
        self.refusals = refusals
        self._arriving: set[Body] = set()
        self._made_room = -math.inf
        self._room = FifoSemaphore(limits.max_bodies_bytes)
        self._parsing = FifoSemaphore(_PARSED_BYTES)

    @property
    def arriving(self) -> int:
        """How many bodies arrive at the moment."""
        return len(self._arriving)

    @property
    def held_bytes(self) -> int:
        """Of all bodies together, without the first 64 KiB of each."""
        return self.limits.max_bodies_bytes - self._room.free

    def open(self, peer: str | None = None) -> Body:
        """A place for one more body of an address; the slowest loses its own if there is none."""
        if len(self._arriving) >= self.limits.max_bodies:
            self._refuse_slowest("bodies", self._arriving)
        body = Body(self, peer)
        self._arriving.add(body)
        return body

    def parsing(self, size: int) -> AbstractAsyncContextManager[None]:
        """Held while a body of so many bytes is parsed."""
        return self._parsing.hold(size)

    def refusal(self, bound: RefusedBound) -> RequestError:
        """The error of a body that met this bound, which is counted."""
        self.refusals.count(bound)
        return _refusal(bound, self.limits)

    def leave(self, body: Body) -> None:
        """The body does not arrive any more."""
        self._arriving.discard(body)

    def has_room(self, size: int) -> bool:
        """Whether `take_room` would not wait."""
        return not self._room.waiting and size <= self._room.free

    async def take_room(self, size: int) -> None:
        """Takes so many bytes, after a wait where there is no room. Raises RequestError: 503."""
        if self.has_room(size):
            await self._room.acquire(size)
            return
        granted = asyncio.create_task(self._room.acquire(size))
        try:
            for _ in range(_MOST_WAITS):
                await asyncio.wait({granted}, timeout=_PATIENCE_S)
                if granted.done():
                    return
                self._make_room()
        except BaseException:
            if not granted.cancel():
                self._room.release(size)
            raise
        granted.cancel()
        raise self.refusal("bodies_bytes")

    def give_room(self, size: int) -> None:
        self._room.release(size)

    def _make_room(self) -> None:
        """Refuses one body of the address whose bodies hold the most; once in `_PATIENCE_S`."""
        now = asyncio.get_running_loop().time()
        if now - self._made_room < _PATIENCE_S / 2:
            return
        self._made_room = now
        held: Counter[str | None] = Counter()
        for body in self._arriving:
            held[body.peer] += body.held_bytes
        candidates = {
            b for b in self._arriving if b.held_bytes and held[b.peer] == max(held.values())
        }
        stalled = {body for body in candidates if not body.waits}
        self._refuse_slowest("bodies_bytes", stalled or candidates)

    def _refuse_slowest(self, bound: RefusedBound, candidates: set[Body]) -> None:
        if candidates:
            now = asyncio.get_running_loop().time()
            min(candidates, key=lambda body: body.recent_bytes(now)).refuse(bound)


class Body:
    """One of them; made by `Bodies.open`."""

    def __init__(self, bodies: Bodies, peer: str | None) -> None:
        now = asyncio.get_running_loop().time()
        self.size = 0
        self.held_bytes = 0
        self.peer = peer
        self.waits = False  # for room, so that what it sends is not read
        self._bodies = bodies
        self._due = 0.0  # bytes that must be there when the time runs out
        self._end = now + bodies.limits.body_timeout_s
        self._recent, self._seen = float(_FREE_BYTES), now  # a body that has just begun is not slow
        self._timeout: asyncio.Timeout | None = None
        self._met: RefusedBound | None = None

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[None]:
        """The time in which it arrives.

        Raises:
            RequestError: 408, it is too slow; 503, there is no room for it.
        """
        try:
            async with asyncio.timeout(None) as self._timeout:
                self._start_measuring()
                yield
        except TimeoutError:
            late = asyncio.get_running_loop().time() >= self._end
            met = self._met or ("body_time" if late else "body_rate")
            raise self._bodies.refusal(met) from None
        finally:
            self._timeout = None
            self._bodies.leave(self)

    async def take(self, size: int) -> None:
        """So many bytes have come. Raises RequestError: 503, there is no room for them."""
        now = asyncio.get_running_loop().time()
        self._recent, self._seen = min(self.recent_bytes(now) + size, _FASTEST_BYTES), now
        self.size += size
        more = max(0, self.size - _FREE_BYTES) - self.held_bytes
        if more > 0:
            await self._take_room(more)
        if self.size >= self._due:
            self._start_measuring()

    def recent_bytes(self, now: float) -> float:
        """What it brought of late; older bytes count less."""
        return self._recent * math.exp((self._seen - now) / _FADE_S)

    def refuse(self, bound: RefusedBound) -> None:
        """Ends its arrival, and frees its place at once."""
        self._bodies.leave(self)
        if self._end_at(asyncio.get_running_loop().time()):
            self._met = bound

    def give_back(self, size: int) -> None:
        """So many of its bytes are not held any more; never more than are."""
        size = min(size, self.held_bytes)
        if size:  # of a small body nothing is counted
            self.held_bytes -= size
            self._bodies.give_room(size)

    def close(self) -> None:
        """Nothing of it is held any more; doing it twice does no harm."""
        self._bodies.leave(self)
        self.give_back(self.held_bytes)

    async def _take_room(self, size: int) -> None:
        self.waits = not self._bodies.has_room(size)
        if self.waits:  # which is not the client's fault
            self._end_at(self._end)
        await self._bodies.take_room(size)
        self.held_bytes += size
        if self.waits:
            self.waits = False
            self._start_measuring()

    def _start_measuring(self) -> None:
        limits = self._bodies.limits
        self._due = self.size + limits.min_body_rate_bps * limits.body_grace_s
        self._end_at(min(asyncio.get_running_loop().time() + limits.body_grace_s, self._end))

    def _end_at(self, when: float) -> bool:
        """Moves the end of its arrival. False where it has been refused, or its time is over.

        Time may run out in this turn of the event loop and its task learn of it in the next one.
        """
        if self._met is not None or self._timeout is None or self._timeout.expired():
            return False
        self._timeout.reschedule(when)
        return True


def _refusal(bound: RefusedBound, limits: WireLimits) -> RequestError:
    match bound:
        case "body_rate":
            return RequestError(
                f"the request body came slower than {limits.min_body_rate_bps} bytes per second "
                f"for {limits.body_grace_s:g} s; send it faster",
                status=408,
                code="request_timeout",
            )
        case "body_time":
            return RequestError(
                f"the request body did not arrive within {limits.body_timeout_s:g} s; send it "
                "faster, or send smaller pictures",
                status=408,
                code="request_timeout",
            )
        case _:
            return RequestError(
                "too many or too large request bodies arrive at the same time; retry later",
                status=503,
                code="overloaded",
            )
