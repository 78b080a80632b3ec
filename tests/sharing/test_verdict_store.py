"""What several processes remember together: for how long, how much, and unread by strangers."""

import asyncio
import signal

import pytest

from guardrail.images.keys import NoiseKey
from guardrail.memory.rules import MemoryRules
from guardrail.sharing.verdict_store import RedisVerdictStore


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_what_one_process_put_another_gets(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server, 2) as (one, other):
            first, second = (RedisVerdictStore(way, MemoryRules()) for way in (one, other))
            await first.put(b"a", b"one")
            await first.put(b"b", b"two")
            await second.put(b"a", b"three")
            elsewhere = RedisVerdictStore(one, MemoryRules(ttl_s=7.0))
            return [await first.get(key) for key in (b"a", b"b", b"c")], await elsewhere.get(b"a")

    assert kit.run(scene()) == ([b"three", b"two", None], None)


def test_a_value_ends_with_its_time(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as redis:
            store = RedisVerdictStore(redis, MemoryRules(ttl_s=1.0))
            await store.put(b"a", b"value")
            found = [await store.get(b"a")]
            await asyncio.sleep(1.1)
            found.append(await store.get(b"a"))
            await store.put(b"b", b"value")
            return found, await redis._client.hlen(store._names[0])

    assert kit.run(scene()) == ([b"value", None], 1)


@pytest.mark.parametrize("rules", [{"max_entries": 3}, {"max_bytes": 3 * (256 + 100 + 28) + 100}])
def test_its_bounds_hold_and_the_oldest_go_first(kit, redis_server, rules):
    async def scene():
        async with kit.shared(redis_server) as redis:
            store = RedisVerdictStore(redis, MemoryRules(**rules))
            for number in range(8):
                await store.put(bytes([number]), bytes(100))
                await store.put(bytes([number]), bytes(100))  # in its own place
                await asyncio.sleep(0.002)
            await store.put(b"large", bytes(1 << 21))
            names = store._names
            left = [number for number in range(8) if await store.get(bytes([number])) is not None]
            size = int(await redis._client.get(names[2]))
            return left, size, await redis._client.hlen(names[0]), await store.get(b"large")

    assert kit.run(scene()) == ([5, 6, 7], 3 * (256 + 100 + 28), 3, None)


def test_strangers_neither_read_nor_plant_nor_move_verdicts(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as redis:
            store = RedisVerdictStore(redis, MemoryRules())
            await store.put(b"question", b"a private answer")
            await store.put(b"another", b"another answer")
            values = store._names[0]
            kept = await redis._client.hgetall(values)
            assert not any(b"private" in one or b"question" in one for item in kept.items()
                           for one in item)  # fmt: skip
            first, second = kept
            await redis._client.hset(values, mapping={first: kept[second], second: kept[first]})
            assert [await store.get(key) for key in (b"question", b"another")] == [None, None]
            for planted in (b"", b"x" * 12, b"x" * 50):
                await redis._client.hset(values, first, planted)
                await redis._client.hset(values, second, planted)
                assert [await store.get(key) for key in (b"question", b"another")] == [None, None]

    kit.run(scene())


def test_another_key_reads_nothing(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as redis:
            await RedisVerdictStore(redis, MemoryRules()).put(b"a", b"value")
        async with kit.shared(redis_server, key=NoiseKey(bytes(32))) as redis:
            return await RedisVerdictStore(redis, MemoryRules()).get(b"a")

    assert kit.run(scene()) is None


def test_a_redis_that_is_down_is_no_fault(kit, redis_server):
    clock = Clock()

    async def scene():
        async with kit.shared(redis_server, timeout_s=1.0) as redis:
            store = RedisVerdictStore(redis, MemoryRules(), clock=clock)
            await store.put(b"a", b"value")
            redis_server.signal(signal.SIGSTOP)
            found = [await store.get(b"a")]
            redis_server.signal(signal.SIGCONT)
            found.append(await store.get(b"a"))  # not asked for a while
            clock.now += 5.0
            found.append(await store.get(b"a"))
            redis_server.kill()
            found.append(await store.get(b"a"))
            await store.put(b"a", b"value")
            return found

    assert kit.run(scene()) == [None, None, b"value", None]


def test_replies_of_another_kind_are_nothing(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as redis:
            store = RedisVerdictStore(redis, MemoryRules())
            found = []
            for reply in (None, 7, b"", "text", [b"x" * 50]):

                async def wrong(*_arguments, reply=reply):
                    return reply

                redis.run = wrong
                found.append(await store.get(b"a"))
            return found

    assert kit.run(scene()) == [None] * 5
