"""The ledger of several processes: real Redis, real races, and Redis that fails."""

import asyncio
import socket
import subprocess
import sys
import textwrap

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from guardrail.errors import CertificationError, ConfigError, RequestError
from guardrail.images.keys import NoiseKey
from guardrail.memory.ledger import ATTEMPTS_SPENT, Hold, Ledger, LocalLedger
from guardrail.sharing.connection import SharedRedis
from guardrail.sharing.ledger import RedisLedger
from tests.redis_server import MISSING, find_redis, running_redis

WINDOW_S = 100.0


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


def test_it_is_a_ledger(kit):
    assert isinstance(RedisLedger(SharedRedis("redis://127.0.0.1:1/0", kit.KEY)), Ledger)


@pytest.mark.skipif(find_redis() is None, reason=MISSING)
class AgainstTheLocalOne(RuleBasedStateMachine):
    """Two processes' ledgers behave as the one ledger of a single process."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.running = running_redis()
        server = self.running.__enter__()
        key = NoiseKey(bytes(range(32)))
        self.ways = [SharedRedis(server.url, key) for _ in range(2)]
        self.ledgers = [
            RedisLedger(way, WINDOW_S, max_number=5, clock=self.clock) for way in self.ways
        ]
        self.local = LocalLedger(WINDOW_S, max_number=5, clock=self.clock)
        self.under_way = []

    def teardown(self):
        for way in self.ways:
            self.loop.run_until_complete(way.aclose())
        self.loop.close()
        self.running.__exit__(None, None, None)

    def both(self, which, act):
        found = []
        for ledger in (self.ledgers[which], self.local):
            try:
                found.append(self.loop.run_until_complete(act(ledger)))
            except RequestError as error:
                found.append((error.status, error.code, error.retry_after_s))
        return found

    @rule(which=st.integers(0, 1))
    def take(self, which):
        shared, local = self.both(which, lambda ledger: ledger.take("mallory"))
        if isinstance(shared, Hold):
            assert shared.number == local.number
            self.under_way.append((shared, local))
        else:
            assert shared == local

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), which=st.integers(0, 1), passed=st.booleans())
    def end(self, data, which, passed):
        at = data.draw(st.integers(0, len(self.under_way) - 1))
        for ledger, hold in zip((self.ledgers[which], self.local), self.under_way.pop(at),
                                strict=True):  # fmt: skip
            ending = ledger.give_back if passed else ledger.keep
            self.loop.run_until_complete(ending(hold))

    @rule(seconds=st.sampled_from([1.0, 49.0, 100.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @invariant()
    def agree(self):
        shared, local = self.both(0, lambda ledger: ledger.next_number("mallory"))
        assert shared == local
        shared, local = self.both(1, lambda ledger: ledger.wait_s("mallory"))
        assert shared == local


AgainstTheLocalOne.TestCase.settings = settings(max_examples=12, stateful_step_count=20,
                                                deadline=None)  # fmt: skip
TestAgainstTheLocalOne = AgainstTheLocalOne.TestCase


def test_a_hold_ends_once_and_only_by_its_own_try(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as redis:
            ledger = RedisLedger(redis, WINDOW_S)
            given, kept, open_ = [await ledger.take("mallory") for _ in range(3)]
            await ledger.give_back(given)
            await ledger.keep(kept)
            stranger = Hold(open_.principal, open_.number, "another try")
            for ending in (ledger.give_back, ledger.keep):
                for hold in (given, kept, stranger):
                    with pytest.raises(CertificationError, match="ended twice"):
                        await ending(hold)
            return await ledger.next_number("mallory"), await ledger.next_number("alice")

    assert kit.run(scene()) == (1, 1)


def test_the_hold_of_a_crashed_process_leaves_a_whole_window_after(kit, redis_server):
    clock = Clock()

    async def scene():
        async with kit.shared(redis_server, 2) as (crashed, other):
            await RedisLedger(crashed, WINDOW_S, clock=clock).take("mallory")
            ledger = RedisLedger(other, WINDOW_S, clock=clock)
            found = []
            for later_s in (0.0, 7200.0 + WINDOW_S, 10_800.0 + WINDOW_S):
                clock.now = Clock.now + later_s
                found.append(await ledger.next_number("mallory"))
            return found

    assert kit.run(scene()) == [2, 2, 1]


def test_by_the_clock_of_redis(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as redis:
            ledger = RedisLedger(redis, 1.0)
            await ledger.keep(await ledger.take("mallory"))
            first = await ledger.next_number("mallory"), await ledger.wait_s("mallory")
            await asyncio.sleep(1.1)
            return first, await ledger.next_number("mallory"), await ledger.wait_s("mallory")

    (number, wait_s), later, last = kit.run(scene())
    assert (number, later, last) == (2, 1, None)
    assert 0.0 < wait_s <= 1.0


def test_as_many_numbers_as_a_principal_may_hold(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as redis:
            ledger = RedisLedger(redis, WINDOW_S, max_number=2)
            await ledger.take("mallory")
            with_none_kept = await ledger.take("mallory")
            for kept in (False, True):
                if kept:
                    await ledger.keep(with_none_kept)
                with pytest.raises(RequestError) as raised:
                    await ledger.take("mallory")
                assert (raised.value.status, raised.value.code) == (429, ATTEMPTS_SPENT)
                assert (raised.value.retry_after_s is not None) == kept

    kit.run(scene())


RACER = """
    import asyncio, sys
    from guardrail.images.keys import NoiseKey
    from guardrail.sharing.connection import SharedRedis
    from guardrail.sharing.ledger import RedisLedger

    async def main():
        redis = SharedRedis(sys.argv[1], NoiseKey(bytes(range(32))))
        ledger = RedisLedger(redis, 100.0)
        await ledger.next_number("mallory")
        print("ready", flush=True)
        sys.stdin.readline()
        async def one():
            hold = await ledger.take("mallory")
            await ledger.keep(hold)
            return hold.number
        print(*await asyncio.gather(*(one() for _ in range(100))), flush=True)
        await redis.aclose()

    asyncio.run(main())
"""


def test_racing_processes_never_hold_the_same_number(redis_server, repository):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RACER), redis_server.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=repository,
        )
        for _ in range(3)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    found = [int(word) for racer in racers for word in racer.communicate(timeout=60)[0].split()]
    assert sorted(found) == list(range(1, 301))


async def refusal(work):
    with pytest.raises(RequestError) as raised:
        await work
    return raised.value.status, raised.value.code


UNAVAILABLE = (503, "ledger_unavailable")


def test_killed_in_mid_try(kit, redis_server):
    """The try's end fails, no further one is taken, and the return of an empty Redis is told."""
    clock = Clock()

    async def scene():
        async with kit.shared(redis_server) as redis:
            ledger = RedisLedger(redis, WINDOW_S, monotonic=clock)
            hold = await ledger.take("mallory")
            redis_server.kill()
            assert await refusal(ledger.give_back(hold)) == UNAVAILABLE
            assert await refusal(ledger.take("mallory")) == UNAVAILABLE
            assert await refusal(ledger.wait_s("mallory")) == UNAVAILABLE
            redis_server.start()
            for _ in range(2):
                assert await refusal(ledger.take("alice")) == UNAVAILABLE
            clock.now += WINDOW_S + 10_800.0
            assert (await ledger.take("mallory")).number == 1

    kit.run(scene())


def test_what_redis_kept_on_disk_counts_on(kit):

    async def scene():
        with running_redis("--appendonly", "yes", "--appendfsync", "always") as server:
            async with kit.shared(server) as redis:
                ledger = RedisLedger(redis, WINDOW_S)
                hold = await ledger.take("mallory")
                server.kill()
                assert await refusal(ledger.take("mallory")) == UNAVAILABLE
                server.start()
                assert (await ledger.take("mallory")).number == 2
                await ledger.give_back(hold)
                assert await ledger.next_number("mallory") == 1

    kit.run(scene())


def test_a_new_process_does_not_hide_the_loss_from_the_others(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server, 3) as (old, _, new):
            ledger = RedisLedger(old, WINDOW_S)
            await ledger.take("mallory")
            redis_server.kill()
            redis_server.start()
            assert (await RedisLedger(new, WINDOW_S).take("mallory")).number == 1
            assert await refusal(ledger.take("mallory")) == UNAVAILABLE

    kit.run(scene())


def test_one_that_hangs(kit, redis_server):
    import signal

    async def scene():
        async with kit.shared(redis_server, timeout_s=1.0) as redis:
            ledger = RedisLedger(redis, WINDOW_S)
            hold = await ledger.take("mallory")
            redis_server.signal(signal.SIGSTOP)
            try:
                assert await refusal(ledger.take("mallory")) == UNAVAILABLE
            finally:
                redis_server.signal(signal.SIGCONT)
            await ledger.keep(hold)
            return await ledger.next_number("mallory")

    assert kit.run(scene()) in (2, 3)  # the one whose answer was lost may be held


@pytest.mark.parametrize("reply", [b"+OK\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*1\r\n",
                                   b"$-1\r\n", b":7\r\n", b"-ERR no\r\n", b"",
                                   b"*2\r\n$2\r\nok\r\n:0\r\n"])  # fmt: skip
def test_one_that_answers_wrongly(kit, reply):
    """Whatever comes back is no reason to count in this process alone."""

    async def answer(reader, writer):
        while await reader.read(65536):
            writer.write(reply)
            if not reply:
                break
        writer.close()

    async def scene():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        redis = SharedRedis(f"redis://127.0.0.1:{port}/0", kit.KEY, timeout_s=5.0)
        try:
            return await refusal(RedisLedger(redis, WINDOW_S).take("mallory"))
        finally:
            await redis.aclose()
            server.close()

    assert kit.run(scene()) == UNAVAILABLE


@pytest.mark.parametrize("reply", [None, 1, b"ok", [], [b"ok"], [b"ok", b"1"], [b"ok", 0],
                                   [b"ok", 10_001], [b"spent"], [b"spent", -2], [b"ok", 1, 2],
                                   [b"ended"], ["ok", 1]])  # fmt: skip
def test_scripts_that_answer_wrongly(kit, redis_server, reply):
    async def wrong(*_arguments):
        return reply

    async def scene():
        async with kit.shared(redis_server) as redis:
            ledger = RedisLedger(redis, WINDOW_S)
            await ledger.next_number("mallory")
            redis.run = wrong
            return await refusal(ledger.take("mallory"))

    assert kit.run(scene()) == UNAVAILABLE


def test_nobody_is_there(kit):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    async def scene():
        redis = SharedRedis(f"redis://127.0.0.1:{port}/0", kit.KEY)
        return await refusal(RedisLedger(redis, WINDOW_S).take("mallory"))

    assert kit.run(scene()) == UNAVAILABLE


def test_another_key_file_is_refused(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as redis:
            await RedisLedger(redis).take("mallory")
        async with kit.shared(redis_server, key=NoiseKey(bytes(32))) as redis:
            with pytest.raises(ConfigError, match="another noise key"):
                await RedisLedger(redis).take("mallory")

    kit.run(scene())


def test_a_redis_that_throws_keys_away_is_refused(kit):

    async def scene():
        with running_redis("--maxmemory-policy", "allkeys-lru") as server:
            async with kit.shared(server) as redis:
                with pytest.raises(ConfigError, match="noeviction"):
                    await RedisLedger(redis).take("mallory")

    kit.run(scene())


def test_a_redis_without_room_takes_no_try(kit):

    async def scene():
        with running_redis("--maxmemory", "1kb", "--maxmemory-policy", "noeviction") as server:
            async with kit.shared(server) as redis:
                assert await refusal(RedisLedger(redis).take("mallory")) == UNAVAILABLE

    kit.run(scene())


def test_nothing_in_redis_names_a_principal(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as redis:
            ledger = RedisLedger(redis, WINDOW_S)
            await ledger.keep(await ledger.take("sk-secret"))
            await ledger.take("sk-secret")
            names = await redis._client.keys("*")
            values = [await redis._client.dump(name) for name in names]
            lives = [await redis._client.pttl(name) for name in names]
            return names, values, lives

    names, values, lives = kit.run(scene())
    assert len(names) == 4
    assert not any(b"sk-secret" in one or kit.KEY.secret in one for one in (*names, *values))
    marker, *others = sorted(lives)
    assert marker == -1  # it stays, and the rest leaves by itself
    assert all(life > WINDOW_S * 1000 for life in others)


@pytest.mark.parametrize("bounds", [{"window_s": 0.0}, {"window_s": float("nan")},
                                    {"max_number": 0}])  # fmt: skip
def test_impossible_bounds_are_refused(kit, bounds):
    redis = SharedRedis("redis://127.0.0.1:1/0", kit.KEY)
    with pytest.raises(ConfigError, match=f"field '{next(iter(bounds))}'"):
        RedisLedger(redis, **bounds)


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://x", "redis://x:none/0"])
def test_an_address_that_is_none(kit, url):
    with pytest.raises(ConfigError, match="field 'redis'"):
        SharedRedis(url, kit.KEY)
