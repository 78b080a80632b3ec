"""Orders and states of processes, on both boards; and processes that follow them."""

import asyncio
import dataclasses
import os
import time
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace

import pytest

from guardrail.errors import ConfigError, GuardrailError, RequestError
from guardrail.server.policy_sync import PolicySync
from guardrail.sharing.folder_board import FolderBoard
from guardrail.sharing.process_board import Order, ProcessState, read_order, read_state, write_json
from guardrail.sharing.redis_board import RedisBoard

ONE = ProcessState("host:1:aa", "d" * 64, "2026-01-01T00:00:00+00:00")
OTHER = dataclasses.replace(ONE, name="host:2:bb", order=7, fault="its file is wrong")


@pytest.fixture(params=["folder", "redis"])
def boards(request, kit, tmp_path):
    """Makes boards of several processes, which meet at one place."""

    @asynccontextmanager
    async def opened(count):
        if request.param == "folder":
            yield [FolderBoard(tmp_path) for _ in range(count)]
            return
        async with kit.shared(request.getfixturevalue("redis_server"), count) as ways:
            yield [RedisBoard(way) for way in ways]

    return opened


def test_orders_and_states_reach_all(kit, boards):
    async def scene():
        async with boards(2) as (one, other):
            none, alone = await one.exchange(ONE)
            first = await one.put_order(None, "an operator")
            second = await other.put_order("e" * 64, "another")
            order, both = await other.exchange(OTHER)
            again = await one.exchange(ONE)
            await other.leave(OTHER)
            _, left = await one.exchange(ONE)
            return none, alone, first, second, order, both, again, left

    none, alone, first, second, order, both, again, left = kit.run(scene())
    assert (none, alone, left) == (None, [ONE], [ONE])
    assert first.number < second.number
    assert order == second == Order(second.number, "e" * 64, "another")
    assert both == [ONE, OTHER]
    assert again == (second, [ONE, OTHER])


def test_racing_orders_have_numbers_of_their_own(kit, boards):
    async def scene():
        async with boards(4) as all_boards:
            orders = await asyncio.gather(
                *(one.put_order(None, f"{n}") for n in range(5) for one in all_boards)
            )
            last, _ = await all_boards[0].exchange(ONE)
            return orders, last

    orders, last = kit.run(scene())
    assert len({order.number for order in orders}) == 20
    assert last == max(orders, key=lambda order: order.number)


def test_a_process_that_says_nothing_is_forgotten(kit, boards, monkeypatch, tmp_path):
    for module in ("folder_board", "redis_board"):
        monkeypatch.setattr(f"guardrail.sharing.{module}.LIVES_S", 0.3)

    async def scene():
        async with boards(2) as (one, other):
            await other.exchange(OTHER)
            await asyncio.sleep(0.6)
            return (await one.exchange(ONE))[1]

    assert kit.run(scene()) == [ONE]


def test_nobody_without_the_key_gives_orders(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server) as way:
            board = RedisBoard(way)
            order = await board.put_order("e" * 64, "an operator")
            client = way._client
            await client.hset(board._names[0], "value", write_json(order))
            await client.hset(board._names[1], "host:9:zz", b"x" * 60)
            return await board.exchange(ONE)

    assert kit.run(scene()) == (None, [ONE])


def test_a_folder_that_is_gone(kit, tmp_path):
    board = FolderBoard(tmp_path / "none")
    for attempt in (lambda: board.exchange(ONE), lambda: board.put_order(None, "x")):
        with pytest.raises(GuardrailError, match="folder"):
            kit.run(attempt())


def test_files_of_others_in_the_folder(kit, tmp_path):
    for name, text in {
        "state-x": "[",
        "state-y": "{}",
        "order-9": "7",
        "order-x": "",
        "z": "",
    }.items():
        (tmp_path / name).write_text(text)
    os.utime(tmp_path / "state-y", (time.time() - 100,) * 2)
    assert kit.run(FolderBoard(tmp_path).exchange(ONE)) == (None, [ONE])
    assert not (tmp_path / "state-y").exists()


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"number": "1"}', b"\xff"])
def test_what_is_no_order_and_no_state(data):
    assert read_order(data) is read_state(data) is None


class Policies:
    """Stands for a deployment: versions by digest, and files that may be wrong."""

    def __init__(self, *digests, files="new"):
        self.known = list(digests)
        self.files = files
        self.done = []

    @property
    def versions(self):
        return (SimpleNamespace(digest=self.known[-1], since="now"),)

    @property
    def current(self):
        return self.versions[0]

    async def reload(self, cause):
        self.done.append(("reload", cause))
        if self.files is None:
            raise ConfigError("must be a name", file="policy.yaml")
        self._run(self.files)

    async def roll_back(self, digest, cause):
        self.done.append((digest, cause))
        if digest not in self.known:
            raise RequestError("there is no such version", status=404)
        self._run(digest)

    def _run(self, digest):
        self.known = [one for one in self.known if one != digest] + [digest]


@asynccontextmanager
async def following(boards, *deployments):
    """What keeps each of these with the others, once they have met."""
    async with AsyncExitStack() as stack:
        places = await stack.enter_async_context(boards(len(deployments)))
        pairs = zip(deployments, places, strict=True)
        syncs = [PolicySync(one, place, every_s=0.05) for one, place in pairs]
        for sync in syncs:
            await stack.enter_async_context(sync.running())
        while not all(sync._has_looked for sync in syncs):  # noqa: ASYNC110 (tells nobody)
            await asyncio.sleep(0.01)
        yield syncs


def digests(processes):
    return {state.digest for state in processes.states}


def test_all_follow_a_reload_and_a_rollback(kit, boards):
    async def scene():
        one, other = Policies("old"), Policies("old")
        async with following(boards, one, other) as (sync, follower):
            after = await sync.reload("operator")
            back = await follower.roll_back("old", "operator")
            await asyncio.sleep(0.3)
            return after, back, one.done, other.done

    after, back, done, others = kit.run(scene())
    assert (digests(after), after.agree) == ({"new"}, True)
    assert (digests(back), back.agree) == ({"old"}, True)
    assert done == others == [("reload", "operator"), ("old", "operator")]  # each once


def test_one_that_cannot_follow_stays_and_says_why(kit, boards, monkeypatch):
    monkeypatch.setattr("guardrail.server.policy_sync._PATIENCE_S", 3.0)

    async def scene():
        one, other = Policies("older", "old"), Policies("old", files=None)
        async with following(boards, one, other) as (sync, _):
            wrong = await sync.reload("operator")
            unknown = await sync.roll_back("older", "operator")
            other.files = "new"
            return wrong, unknown, await sync.reload("operator")

    wrong, unknown, mended = kit.run(scene())
    assert (wrong.agree, digests(wrong)) == (False, {"new", "old"})
    assert "policy.yaml" in wrong.states[1].fault
    assert (unknown.agree, digests(unknown)) == (False, {"older", "old"})
    assert unknown.states[1].fault == "version older is not known to this process"
    assert (mended.agree, mended.states[1].fault) == (True, "")


def test_a_mistake_here_is_no_order_to_others(kit, boards):
    async def scene():
        one, other = Policies("old", files=None), Policies("old")
        async with following(boards, one, other) as (sync, _):
            with pytest.raises(ConfigError):
                await sync.reload("operator")
            with pytest.raises(RequestError):
                await sync.roll_back("unknown", "operator")
            await asyncio.sleep(0.4)
            return other.done

    assert kit.run(scene()) == []


def test_one_that_starts_reads_orders_from_before_as_it_should(kit, boards):
    """Files were read before it perhaps, so a reload is done; a rollback may be long past."""

    async def scene(digest):
        late = Policies("new", files="newer")
        async with boards(2) as (here, there):
            await here.put_order(digest, "operator")
            async with PolicySync(late, there, every_s=0.05).running():
                if digest is None:
                    await until(lambda: late.done)
                await asyncio.sleep(0.4)
            return late.done

    assert kit.run(scene(None)) == [("reload", "operator")]
    assert kit.run(scene("old")) == []


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (tells nobody)
            await asyncio.sleep(0.01)


def test_one_that_starts_after_a_rollback_says_so_while_others_run_that_version(
    kit, boards, caplog
):
    async def scene():
        one, late = Policies("old", "new"), Policies("new")
        async with boards(2) as (here, there):
            first = PolicySync(one, here, every_s=0.05)
            restarted = PolicySync(late, there, every_s=0.05)
            async with first.running():
                await first.roll_back("old", "operator")
                async with restarted.running():
                    await until(lambda: restarted._lag)
                    with pytest.raises(ConfigError, match="after a rollback to version old"):
                        await restarted.check()
                    found = await restarted.look()
                    one._run("new")  # as when its files change
                    await until(lambda: not restarted._lag)
                    await restarted.check()
            return found, late.done

    found, done = kit.run(scene())
    assert found.agree is False
    assert "write that version into the files" in found.states[0].fault
    assert done == []
    assert sum("after a rollback" in one for one in caplog.messages) == 1


def test_without_redis_the_others_are_not_known(kit, redis_server):
    async def scene():
        async with kit.shared(redis_server, timeout_s=2.0) as way:
            one = Policies("old")
            sync = PolicySync(one, RedisBoard(way))
            redis_server.kill()
            with pytest.raises(RequestError) as caught:
                await sync.reload("operator")
            return caught.value, await sync.look(), one.done

    error, found, done = kit.run(scene())
    assert (error.status, error.code) == (503, "processes_unreachable")
    assert (found.agree, len(found.states), done) == (None, 1, [("reload", "operator")])


def test_a_process_alone_asks_nobody(kit):
    async def scene():
        sync = PolicySync(Policies("old"), None)
        async with sync.running():
            return await sync.reload("operator")

    assert kit.run(scene()).agree is True
