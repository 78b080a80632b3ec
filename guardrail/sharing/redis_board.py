"""The board of processes in Redis, for workers and replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.sharing.process_board import (
    LIVES_S,
    Order,
    ProcessState,
    read_order,
    read_state,
    write_json,
)
from guardrail.sharing.value_cipher import ValueCipher

if TYPE_CHECKING:
    from guardrail.sharing.connection import SharedRedis

__all__ = ["RedisBoard"]

_LABEL = b"guardrail/processes-in-redis/1"
_ORDER = b"order"
_LONGEST_S = 86_400
_MOST_PROCESSES = 1000

_PRELUDE = """
local order, states, until_ = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('HGET', order, 'number') or 0)
"""
_NUMBER = f"{_PRELUDE} return math.max(now, last + 1)"
_PUT = f"""{_PRELUDE}
if tonumber(ARGV[1]) <= last then return 0 end
redis.call('HSET', order, 'number', ARGV[1], 'value', ARGV[2])
return 1
"""
_EXCHANGE = f"""{_PRELUDE}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', until_, '-inf', now)) do
  redis.call('HDEL', states, name)
  redis.call('ZREM', until_, name)
end
local is_known = redis.call('HEXISTS', states, ARGV[1]) == 1
if is_known or redis.call('HLEN', states) < tonumber(ARGV[4]) then
  redis.call('HSET', states, ARGV[1], ARGV[2])
  redis.call('ZADD', until_, now + ARGV[3], ARGV[1])
end
redis.call('EXPIRE', states, {_LONGEST_S})
redis.call('EXPIRE', until_, {_LONGEST_S})
return {{redis.call('HGET', order, 'value'), redis.call('HGETALL', states)}}
"""
_LEAVE = f"""{_PRELUDE}
redis.call('HDEL', states, ARGV[1])
redis.call('ZREM', until_, ARGV[1])
return 1
"""


class RedisBoard:
    """See `Board`. What stands in Redis is sealed, so that nobody else can give orders."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis
        self._cipher = ValueCipher(redis.key, _LABEL)
        prefix = f"{redis.prefix}:processes"
        self._names = [f"{prefix}:{part}" for part in ("order", "states", "until")]
        self._is_checked = False

    async def put_order(self, digest: str | None, cause: str) -> Order:
        while True:  # until no other process took the number meanwhile
            order = Order(int(await self._run(_NUMBER, [])), digest, cause)
            sealed = self._cipher.seal(_ORDER, write_json(order))
            if await self._run(_PUT, [order.number, sealed]):
                return order

    async def exchange(self, state: ProcessState) -> tuple[Order | None, list[ProcessState]]:
        name = state.name.encode()
        sealed = self._cipher.seal(name, write_json(state))
        lives_ms = round(LIVES_S * 1000)
        reply = await self._run(_EXCHANGE, [name, sealed, lives_ms, _MOST_PROCESSES])
        match reply:
            case [bytes() | None as order, [*pairs]]:
                found = map(self._read_state, pairs[::2], pairs[1::2])
                states = sorted((one for one in found if one is not None), key=lambda s: s.name)
                return self._read_order(order), states
            case _:
                raise self._redis.unavailable_error("its reply is none that was asked for")

    async def leave(self, state: ProcessState) -> None:
        await self._run(_LEAVE, [state.name.encode()])

    def _read_order(self, sealed: bytes | None) -> Order | None:
        data = self._cipher.open(_ORDER, sealed)
        return None if data is None else read_order(data)

    def _read_state(self, name: bytes, sealed: bytes) -> ProcessState | None:
        data = self._cipher.open(name, sealed)
        return None if data is None else read_state(data)

    async def _run(self, script: str, arguments: list[Any]) -> Any:
        if not self._is_checked:
            await self._redis.marker()
            self._is_checked = True
        return await self._redis.run(script, self._names, arguments)
