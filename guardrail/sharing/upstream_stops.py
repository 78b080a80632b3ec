"""Pauses and breakers of upstreams that one process has met and all heed.

What a process meets it writes to Redis at once, and every process reads twice a second what the
others have met. Each stop is heeded once: a model that answers again here before its time is not
stopped a second time, nor is one down here that has answered here between the stop and the news of
it. Where Redis is down each process goes by what it meets itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from guardrail.errors import GuardrailError
from guardrail.sharing.value_cipher import ValueCipher
from guardrail.upstreams.limits.stops import Stop, StopKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from guardrail.sharing.connection import SharedRedis
    from guardrail.upstreams.limits.limiter import Limiter

__all__ = ["SharedStops"]

_LABEL = b"guardrail/stops-in-redis/1"
_EVERY_S = 0.5
_PAUSE_S = 5.0
_MOST_STOPS = 1000
_MOST_CHARS = 1000
_KINDS = {kind.value: kind for kind in StopKind}

_log = logging.getLogger(__name__)

_EXCHANGE = """
local until_, values = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', until_, '-inf', now)) do
  redis.call('HDEL', values, name)
  redis.call('ZREM', until_, name)
end
for index = 2, #ARGV, 3 do
  local name, ends, value = ARGV[index], now + ARGV[index + 1], ARGV[index + 2]
  local known = redis.call('ZSCORE', until_, name)
  local has_room = redis.call('ZCARD', until_) < tonumber(ARGV[1])
  if (not known and has_room) or (known and tonumber(known) < ends) then
    redis.call('ZADD', until_, ends, name)
    redis.call('HSET', values, name, value)
  end
end
local found = {}
for _, name in ipairs(redis.call('ZRANGE', until_, 0, -1)) do
  local wait = tonumber(redis.call('ZSCORE', until_, name)) - now
  table.insert(found, {name, wait, redis.call('HGET', values, name)})
end
redis.call('EXPIRE', until_, 86400)
redis.call('EXPIRE', values, 86400)
return found
"""


class SharedStops:
    """The stops of all limiters of this process; for one event loop.

    Args:
        redis: the server.
        every_s: how often it is asked.
    """

    def __init__(self, redis: SharedRedis, *, every_s: float = _EVERY_S) -> None:
        self._redis = redis
        self._every_s = every_s
        self._cipher = ValueCipher(redis.key, _LABEL)
        self._names = [f"{redis.prefix}:stops:{part}" for part in ("until", "values")]
        self._limiters: WeakValueDictionary[str, Limiter] = WeakValueDictionary()
        self._met: dict[bytes, tuple[int, bytes]] = {}  # not written yet
        self._own = secrets.token_hex(8)
        self._seen: set[bytes] = set()  # values that were heeded, or are our own
        self._has_met = asyncio.Event()
        self._is_checked = False

    def join(self, who: str, limiter: Limiter) -> None:
        """Has a limiter tell and heed stops, for as long as it lives.

        Args:
            who: the same for the limiters of one upstream in all processes.
            limiter: of this process.
        """
        name = self._redis.digest("limiter", who.encode()).hex()
        self._limiters[name] = limiter
        limiter.on_stop = lambda stop: self._note(name, stop)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tells and heeds for as long as the context lasts."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _note(self, name: str, stop: Stop) -> None:
        wait_ms = round(stop.wait_s * 1000)
        if wait_ms <= 0 or len(stop.model) > _MOST_CHARS or len(self._met) >= _MOST_STOPS:
            return
        about = [name, stop.model, stop.kind.value, stop.caller]
        text = json.dumps([*about, self._own, wait_ms, secrets.token_hex(4)]).encode()
        key = self._redis.digest("stop", json.dumps(about).encode())
        self._met[key] = (wait_ms, self._cipher.seal(key, text))
        self._has_met.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._exchange()
            except GuardrailError:
                self._met.clear()  # by the time that Redis is back they are over
                await asyncio.sleep(_PAUSE_S)
            except Exception as error:  # noqa: BLE001 (a crash here must not end the exchange)
                _log.error("pauses of upstreams were not exchanged: %s", type(error).__name__)
                await asyncio.sleep(_PAUSE_S)
            try:
                async with asyncio.timeout(self._every_s):
                    await self._has_met.wait()
            except TimeoutError:
                pass
            self._has_met.clear()

    async def _exchange(self) -> None:
        if not self._is_checked:
            await self._redis.marker()
            self._is_checked = True
        met, self._met = self._met, {}
        written = [
            part for key, (wait_ms, sealed) in met.items() for part in (key, wait_ms, sealed)
        ]
        reply = await self._redis.run(_EXCHANGE, self._names, [_MOST_STOPS, *written])
        if not isinstance(reply, list):
            raise self._redis.unavailable_error("its reply is none that was asked for")
        self._seen &= {one[2] for one in reply}
        for key, wait_ms, sealed in reply:
            if sealed not in self._seen:
                self._seen.add(sealed)
                self._heed(self._cipher.open(key, sealed), wait_ms / 1000)

    def _heed(self, text: bytes | None, wait_s: float) -> None:
        """Heeds what another process has written; nothing else."""
        about: Any = None if text is None else json.loads(text)
        match about:
            case [str() as name, str() as model, str() as kind, str() as caller, str() as by,
                  int() as whole_ms, _]:  # fmt: skip
                limiter = self._limiters.get(name)
                if by != self._own and limiter is not None and kind in _KINDS:
                    age_s = max(0.0, whole_ms / 1000 - wait_s)
                    limiter.heed(Stop(model, _KINDS[kind], wait_s, caller, age_s))
            case _:
                pass  # damaged, or of another version of this program
