"""Remembered verdicts that several processes keep together in Redis.

Values are encrypted and tied to their names by a key derived from the noise key: whoever reads
Redis learns nothing of them, and whoever writes there cannot plant a verdict. Names are keyed
digests. What cannot be read, or not in time, is decided anew.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from guardrail.errors import GuardrailError
from guardrail.sharing.value_cipher import ValueCipher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.memory.rules import MemoryRules
    from guardrail.sharing.connection import SharedRedis

__all__ = ["RedisVerdictStore"]

_LABEL = b"guardrail/remembered-in-redis/1"
_ENTRY_BYTES = 256
_LARGEST_VALUE_BYTES = 1 << 20
_PAUSE_S = 5.0
_MOST_FORGOTTEN = 1000

_PRELUDE = """
local values, until_, size = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_GET = f"""{_PRELUDE}
local ends = redis.call('ZSCORE', until_, ARGV[1])
if not ends or tonumber(ends) <= now then return false end
return redis.call('HGET', values, ARGV[1])
"""
_PUT = f"""{_PRELUDE}
local name, value, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3])
local most_entries, most_bytes, entry = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local function forget(one)
  local length = redis.call('HSTRLEN', values, one)
  if redis.call('HDEL', values, one) == 1 then redis.call('DECRBY', size, length + entry) end
  redis.call('ZREM', until_, one)
end
forget(name)
for _, one in ipairs(redis.call('ZRANGEBYSCORE', until_, '-inf', now, 'LIMIT', 0, ARGV[7])) do
  forget(one)
end
redis.call('HSET', values, name, value)
redis.call('ZADD', until_, now + ttl, name)
redis.call('INCRBY', size, #value + entry)
while redis.call('ZCARD', until_) > most_entries
    or tonumber(redis.call('GET', size)) > most_bytes do
  forget(redis.call('ZRANGE', until_, 0, 0)[1])
end
for index = 1, 3 do redis.call('PEXPIRE', KEYS[index], ttl + 60000) end
return 1
"""


class RedisVerdictStore:
    """Verdicts for all processes that share a Redis server and these rules; see `VerdictStore`.

    After a failure it asks nothing for five seconds, so that a server that hangs does not delay
    every request.

    Args:
        redis: the server.
        rules: for how long, how many and how much, over all processes; the oldest go first.
        clock: seconds that never run backwards; for tests.

    Raises:
        ConfigError: the package `cryptography` is missing.
    """

    def __init__(
        self,
        redis: SharedRedis,
        rules: MemoryRules,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis
        self._rules = rules
        self._clock = clock
        self._cipher = ValueCipher(redis.key, _LABEL)
        kind = hashlib.sha256(repr(rules).encode()).hexdigest()[:16]
        prefix = f"{redis.prefix}:verdicts:{kind}"
        self._names = [f"{prefix}:{part}" for part in ("values", "until", "size")]
        self._down_until = float("-inf")

    async def get(self, key: bytes) -> bytes | None:
        name = self._redis.digest("verdict", key)
        return self._cipher.open(name, await self._run(_GET, [name]))

    async def put(self, key: bytes, value: bytes) -> None:
        rules = self._rules
        if len(value) + 2 * _ENTRY_BYTES > min(rules.max_bytes, _LARGEST_VALUE_BYTES):
            return
        name = self._redis.digest("verdict", key)
        sealed = self._cipher.seal(name, value)
        bounds = [rules.max_entries, rules.max_bytes, _ENTRY_BYTES, _MOST_FORGOTTEN]
        await self._run(_PUT, [name, sealed, max(1, round(rules.ttl_s * 1000)), *bounds])

    async def _run(self, script: str, arguments: Sequence[Any]) -> Any:
        """What a script replies; None where Redis cannot be relied on."""
        if self._clock() < self._down_until:
            return None
        try:
            return await self._redis.run(script, self._names, arguments)
        except GuardrailError:
            self._down_until = self._clock() + _PAUSE_S
            return None
