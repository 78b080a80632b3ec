"""The ledger that several processes keep together in Redis.

Of each principal Redis holds three values, under a keyed digest of its name:

- `bits`: bit k - 1 is set while the number k is held, so that the smallest free number is the first
  zero. With {1, 2, 4} held it is 1101…, and the first zero stands for 3.
- `open`: the tries under way, `k:token`, each with the time at which its number is free if its
  process is never heard of again: a whole window after the longest that a try may last.
- `kept`: the tries that ended without a pass, each with the time at which its number is free.

Every step is one script, which Redis runs without any other in between; times are those of Redis.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError, ConfigError
from guardrail.memory.ledger import Hold, attempts_spent_error, principal_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from guardrail.sharing.connection import SharedRedis

__all__ = ["RedisLedger"]

_LONGEST_TRY_S = 10_800.0
"""Longer than a policy's longest deadline, 7200 s, by as much as reading and ending may take."""

_PRELUDE = """
local bits, open, kept, marker = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('GET', marker) ~= ARGV[1] then return {'lost'} end
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
for _, held in ipairs({open, kept}) do
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', now)) do
    redis.call('SETBIT', bits, tonumber(string.match(member, '^%d+')) - 1, 0)
  end
  redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
end
local function wait()
  local oldest = redis.call('ZRANGE', kept, 0, 0, 'WITHSCORES')[2]
  return oldest and math.ceil(oldest - now) or -1
end
"""
_NEXT = f"""{_PRELUDE}
local number = redis.call('BITPOS', bits, 0) + 1
if number > tonumber(ARGV[3]) then return {{'spent', wait()}} end
"""
_LOOK = f"{_NEXT} return {{'ok', number}}"
_TAKE = f"""{_NEXT}
redis.call('SETBIT', bits, number - 1, 1)
redis.call('ZADD', open, now + ARGV[5], string.format('%d:%s', number, ARGV[4]))
for index = 1, 3 do redis.call('PEXPIRE', KEYS[index], ARGV[5] + 60000) end
return {{'ok', number}}
"""
_END = f"""{_PRELUDE}
local number = tonumber(ARGV[3])
local try = string.format('%d:%s', number, ARGV[4])
if redis.call('ZREM', open, try) == 0 then return {{'ended'}} end
if tonumber(ARGV[5]) > 0 then
  redis.call('ZADD', kept, now + ARGV[5], string.format('%d', number))
  for index = 1, 3 do redis.call('PEXPIRE', KEYS[index], ARGV[6] + 60000) end
else
  redis.call('SETBIT', bits, number - 1, 0)
end
return {{'ok', number}}
"""
_WAIT = f"{_PRELUDE} return {{'ok', wait()}}"


class RedisLedger:
    """A ledger for all processes that share a Redis server; see `Ledger`.

    Where Redis has lost what it held, nobody knows which numbers are held: every process that has
    seen it takes no try for a whole window. A process that starts later cannot know of it.

    Args:
        redis: the server.
        window_s: how long a number stays held after a try that did not pass has ended.
        max_number: the largest number of a principal.
        clock: seconds in place of Redis's own; for tests.
        monotonic: seconds of this process that never run backwards; for tests.

    Raises:
        ConfigError: a bound is not positive.
    """

    def __init__(
        self,
        redis: SharedRedis,
        window_s: float = 86_400.0,
        *,
        max_number: int = 10_000,
        clock: Callable[[], float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        for name, bound in {"window_s": window_s, "max_number": max_number}.items():
            if not bound > 0:
                raise ConfigError(f"must be above 0, not {bound!r}", field=name)
        self.window_s = window_s
        self._redis = redis
        self._max_number = max_number
        self._clock = clock
        self._monotonic = monotonic
        self._seen: bytes | None = None
        self._lost_until = float("-inf")

    async def next_number(self, principal: str) -> int:
        reply = await self._run(_LOOK, self._digest(principal), [self._max_number])
        return self._read_number(reply)

    async def take(self, principal: str) -> Hold:
        digest, token = self._digest(principal), secrets.token_hex(8)
        arguments = [self._max_number, token, self._longest_hold_ms]
        number = self._read_number(await self._run(_TAKE, digest, arguments))
        return Hold(digest, number, token)

    async def give_back(self, hold: Hold) -> None:
        await self._end(hold, 0)

    async def keep(self, hold: Hold) -> None:
        await self._end(hold, max(1, round(self.window_s * 1000)))

    async def wait_s(self, principal: str) -> float | None:
        reply = await self._run(_WAIT, self._digest(principal), [])
        return _seconds(self._read(reply, "ok", least=-1))

    @property
    def _longest_hold_ms(self) -> int:
        return round((_LONGEST_TRY_S + self.window_s) * 1000)

    async def _end(self, hold: Hold, keep_ms: int) -> None:
        arguments = [hold.number, hold.token, keep_ms, self._longest_hold_ms]
        reply = await self._run(_END, hold.principal, arguments)
        if reply == [b"ended"]:
            raise CertificationError(
                "a hold ended twice, or lasted longer than any decision may; report this"
            )
        self._read(reply, "ok", least=1)

    def _digest(self, principal: str) -> bytes:
        return self._redis.digest("principal", principal_bytes(principal))

    async def _run(self, script: str, digest: bytes, arguments: list[Any]) -> Any:
        if self._seen is None:
            self._seen = await self._redis.marker()
        self._check_lost()
        name = f"{self._redis.prefix}:ledger:{digest.hex()}"
        now = "" if self._clock is None else round(self._clock() * 1000)
        reply = await self._redis.run(
            script,
            [f"{name}:{part}" for part in ("bits", "open", "kept")],
            [self._seen, now, *arguments],
        )
        if reply == [b"lost"]:
            self._note_loss()
            self._check_lost()
        return reply

    def _note_loss(self) -> None:
        """Redis has another marker, or none: it was emptied, or began again without its data."""
        # By then all that was held has left: tries under way as well, whose processes may live.
        self._lost_until = self._monotonic() + self.window_s + _LONGEST_TRY_S
        self._seen = None
        self._redis.distrust()

    def _check_lost(self) -> None:
        if self._monotonic() < self._lost_until:
            raise self._redis.unavailable_error(
                "it has lost the tries that were counted; none is taken for a whole window, or "
                "until every process of the guard is started again"
            )

    def _read_number(self, reply: Any) -> int:
        if isinstance(reply, list) and len(reply) == 2 and reply[0] == b"spent":
            raise attempts_spent_error(_seconds(self._read(reply, "spent", least=-1)))
        number = self._read(reply, "ok", least=1)
        if number > self._max_number:
            raise self._redis.unavailable_error("its reply is none that was asked for")
        return number

    def _read(self, reply: Any, word: str, *, least: int) -> int:
        """The number in a reply. Raises RequestError where it is no reply of these scripts."""
        match reply:
            case [bytes() as said, int() as number] if said == word.encode() and number >= least:
                return number
        raise self._redis.unavailable_error("its reply is none that was asked for")


def _seconds(wait_ms: int) -> float | None:
    return None if wait_ms < 0 else wait_ms / 1000
