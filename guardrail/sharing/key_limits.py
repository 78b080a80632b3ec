"""Limits of API keys that several processes count together in Redis.

Of each key Redis holds six values, under a keyed digest of its id:

- `requests`, `calls`: amounts by the second, as in `MinuteWindow`.
- `places`: the requests under way, each with the time at which its lease ends.
- `open`: the decisions under way, `token:calls:usd`, likewise.
- `ended`: decisions whose lease ended, so that one that lives is counted rightly.
- `used`: the day (UTC), and the US dollars of the day.

A process renews its leases, so that one that crashes holds its places for seconds only. What a
decision had set aside counts as used when its lease ends, as nobody can say what it took.

Every step is one script (`key_limit_scripts.py`), which Redis runs without any other in between;
times are those of Redis. Amounts of dollars are the same doubles as in `LocalLimits`, written out
in full.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from guardrail.errors import RequestError
from guardrail.keys.limit_errors import (
    RequestRate,
    calls_error,
    check_most_calls,
    places_error,
    requests_error,
    usd_error,
)
from guardrail.memory.allowance import Reservation
from guardrail.memory.ledger import principal_bytes
from guardrail.sharing.key_limit_scripts import ENTER, LEAVE, RENEW, RESERVE, SETTLE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from guardrail.keys.api_key import KeyLimits
    from guardrail.sharing.connection import SharedRedis

__all__ = ["LIMITS_UNAVAILABLE", "RedisLimits"]

LIMITS_UNAVAILABLE = "limits_unavailable"
"""The code of an answer 503: what a key with limits has used is not known now."""

_PARTS = ("requests", "calls", "places", "open", "ended", "used")
_CLOSING_S = 2.0
_RETRY_S = 5.0

_log = logging.getLogger(__name__)


class RedisLimits:
    """Limits for all processes that share a Redis server; see `Limits`. For one event loop.

    Where Redis cannot be relied on, requests of keys with limits are refused; a key without limits
    asks nobody. Where it comes back empty, minutes and days begin anew.

    Args:
        redis: the server.
        lease_s: how long what a process holds stays held when nothing is heard of it any more.
        clock: seconds in place of Redis's own; for tests.
    """

    def __init__(
        self,
        redis: SharedRedis,
        *,
        lease_s: float = 15.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._redis = redis
        self._lease_s = lease_s
        self._clock = clock
        self._is_checked = False
        # By key: the tokens of places; None for a request that holds none.
        self._places: dict[str, list[str | None]] = {}
        self._open: dict[str, set[str]] = {}
        self._leaving: dict[str, set[asyncio.Task[None]]] = {}
        self._renewing = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    async def enter(self, key_id: str, limits: KeyLimits) -> RequestRate | None:
        most, most_places = limits.requests_per_minute, limits.max_concurrency
        if most is None and most_places is None:
            self._note_place(key_id, None)
            return None
        token = secrets.token_hex(8)
        arguments = [_word(most_places), _word(most), token, self._lease_s]
        try:
            reply = await self._run(ENTER, key_id, arguments)
            if reply[0] == b"places" and (leaving := self._leaving.get(key_id)):
                await asyncio.wait(leaving)  # places that are given back already
                reply = await self._run(ENTER, key_id, arguments)
        except asyncio.CancelledError:
            self._spawn(key_id, self._leave(key_id, token))  # it may have been taken
            raise
        rate = self._read_entry(reply, limits)
        self._note_place(key_id, None if most_places is None else token)
        return rate

    def leave(self, key_id: str) -> None:
        held = self._places[key_id]
        # Of a key whose limit was set meanwhile; which of its requests left makes no difference.
        token = held.pop(held.index(None) if None in held else -1)
        if not held:
            del self._places[key_id]
        if token is not None:
            self._spawn(key_id, self._leave(key_id, token))

    async def reserve(
        self, key_id: str, limits: KeyLimits, calls: int | None, usd: float | None
    ) -> Reservation:
        most_calls, most_usd = limits.calls_per_minute, limits.usd_per_day
        if calls is not None and most_calls is not None:
            check_most_calls(most_calls, calls)
        token = f"{secrets.token_hex(8)}:{_word(calls)}:{_word(usd)}"
        arguments = [token, self._lease_s, _word(most_calls), _word(most_usd)]
        reply = await self._run(RESERVE, key_id, arguments)
        match reply:
            case [b"ok"]:
                self._open.setdefault(key_id, set()).add(token)
                self._keep_renewing()
                return Reservation(key_id, calls, usd, token)
            case [b"calls", bytes() as wait_s] if calls is not None and most_calls is not None:
                raise calls_error(most_calls, calls, self._number(wait_s))
            case [b"usd", bytes() as wait_s] if usd is not None and most_usd is not None:
                raise usd_error(most_usd, usd, self._number(wait_s) if wait_s else None)
            case _:
                raise self._reply_error()

    async def settle(self, reservation: Reservation, calls: int, usd: float | None) -> None:
        """As in `Limits`; where Redis is down all that was set aside counts when its lease ends."""
        key_id, token = reservation.owner, reservation.token
        open_tokens = self._open.get(key_id, set())
        open_tokens.discard(token)
        if not open_tokens:
            self._open.pop(key_id, None)
        try:
            await self._run(SETTLE, key_id, [token, calls, _word(usd)])
        except RequestError:
            _log.warning("what a decision used was not counted; it counts as all it might have")

    async def aclose(self) -> None:
        """Gives back what is on its way, for as long as that takes no time."""
        if self._renewal is not None:
            self._renewal.cancel()
        leaving = [task for tasks in self._leaving.values() for task in tasks]
        if leaving:
            await asyncio.wait(leaving, timeout=_CLOSING_S)

    def _note_place(self, key_id: str, token: str | None) -> None:
        self._places.setdefault(key_id, []).append(token)
        if token is not None:
            self._keep_renewing()

    async def _leave(self, key_id: str, token: str) -> None:
        async with self._renewing:
            pass  # one that began before would take the place again
        with suppress(RequestError):  # its lease ends
            await self._run(LEAVE, key_id, [token])

    def _spawn(self, key_id: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._leaving.setdefault(key_id, set()).add(task)
        task.add_done_callback(lambda done: self._forget(key_id, done))

    def _forget(self, key_id: str, task: asyncio.Task[None]) -> None:
        self._leaving[key_id].discard(task)
        if not self._leaving[key_id]:
            del self._leaving[key_id]

    def _keep_renewing(self) -> None:
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.get_running_loop().create_task(self._renew_leases())

    async def _renew_leases(self) -> None:
        """Until nothing is held any more."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            places = {
                key_id: [token for token in tokens if token is not None]
                for key_id, tokens in self._places.items()
            }
            held = {key_id for key_id, tokens in places.items() if tokens} | self._open.keys()
            if not held:
                return
            for key_id in held:
                if not await self._renew(key_id):
                    break  # the next ones would wait as long for nothing

    async def _renew(self, key_id: str) -> bool:
        async with self._renewing:
            places = [token for token in self._places.get(key_id, ()) if token is not None]
            opened = self._open.get(key_id, ())
            try:
                arguments = [self._lease_s, len(places), *places, *opened]
                await self._run(RENEW, key_id, arguments)
            except RequestError:
                return False
            return True

    async def _run(self, script: str, key_id: str, arguments: Sequence[Any]) -> list[Any]:
        now = "" if self._clock is None else _word(self._clock())
        digest = self._redis.digest("limits", principal_bytes(key_id)).hex()
        names = [f"{self._redis.prefix}:limits:{digest}:{part}" for part in _PARTS]
        try:
            if not self._is_checked:
                await self._redis.marker()
                self._is_checked = True
            reply = await self._redis.run(script, names, [now, *arguments])
        except RequestError:
            raise self._unavailable_error() from None
        if not isinstance(reply, list) or not reply:
            raise self._reply_error()
        return reply

    def _read_entry(self, reply: list[Any], limits: KeyLimits) -> RequestRate | None:
        most, most_places = limits.requests_per_minute, limits.max_concurrency
        match reply:
            case [b"places"] if most_places is not None:
                raise places_error(most_places)
            case [b"requests", int() as made, bytes() as reset_s, bytes() as wait_s] if most:
                rate = RequestRate(most, max(0, most - made), self._number(reset_s))
                raise requests_error(rate, self._number(wait_s))
            case [b"ok", int() as made, bytes() as reset_s]:
                if most is None:
                    return None
                return RequestRate(most, max(0, most - made), self._number(reset_s))
            case _:
                raise self._reply_error()

    def _number(self, text: bytes) -> float:
        try:
            return float(text)
        except ValueError:
            raise self._reply_error() from None

    def _reply_error(self) -> RequestError:
        self._redis.unavailable_error("its reply is none that was asked for")
        return self._unavailable_error()

    @staticmethod
    def _unavailable_error() -> RequestError:
        return RequestError(
            "the limits of this API key cannot be counted for now, as the guard cannot rely on "
            "its Redis server, so the request was not taken; retry later",
            status=503,
            code=LIMITS_UNAVAILABLE,
            retry_after_s=_RETRY_S,
        )


def _word(number: float | None) -> str:
    """For a script: in full, and empty for None."""
    return "" if number is None else repr(number)
