"""Records behind the proxy: none missing, none waited for too long, no loop that stands still."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing

import pytest

from guardrail.errors import StorageError
from guardrail.records.kept_pictures import read_picture
from guardrail.records.open import open_journal
from guardrail.records.query import RecordFilter, open_existing, open_source
from guardrail.records.recorder import NOT_RECORDED, Recorder, RecordsMode
from guardrail.records.sent_pictures import PictureRoom
from guardrail.records.writer import RecordWriter
from guardrail.upstreams.scripted import Fault, Step
from tests.records.conftest import CONTENT_KEYS


@asynccontextmanager
async def serve_recorded(
    kit,
    url,
    script=("A picture.",),
    *,
    lock_wait_s=0.5,
    mode="required",
    picture_room=None,
    **options,
):
    """A proxy that keeps records at `url`."""
    engine_of, room = {}, picture_room

    class Late:
        """The recorder needs the engine, which the kit makes."""

        picture_room = room

        async def keep(self, *about):
            return await engine_of["recorder"].keep(*about)

        def keep_soon(self, *about):
            engine_of["recorder"].keep_soon(*about)

        async def check(self):
            await engine_of["recorder"].check()

    with (
        closing(open_journal(url, lock_wait_s=lock_wait_s)) as journal,
        closing(RecordWriter(journal)) as writer,
    ):
        async with kit.proxy(list(script), record=Late(), **options) as proxy:
            from guardrail.engine.engine import Engine
            from guardrail.images.keys import NoiseKey
            from guardrail.policy.compile import compile_policy

            policy = options.get("policy") or kit.make_policy()
            engine = Engine(
                compile_policy(policy), proxy.upstream, proxy.oracle, NoiseKey(bytes(32))
            )
            engine_of["recorder"] = Recorder(
                writer,
                engine,
                content_keys=CONTENT_KEYS if picture_room else None,
                picture_room=picture_room,
                mode=RecordsMode(mode),
            )
            yield proxy


def kept(url, **which):
    with open_source(url) as source:
        return source.newest(RecordFilter(**which), 1000)


@pytest.mark.parametrize("images", [0, 1])
def test_an_answer_names_its_record_and_the_record_its_origin(run, kit, database_url, images):
    async def scenario():
        async with serve_recorded(kit, database_url) as proxy:
            return await proxy.chat(images=images)

    response = run(scenario())
    (record,) = kept(database_url)
    assert record.record_id == response.headers["x-guardrail-record-id"]
    assert (record.action, record.route) == ("pass", "/v1/chat/completions")


def test_a_foreign_lock_does_not_stop_the_loop(run, kit, sqlite_url):
    """Others are served for as long as it lasts, and those who wait for it once it ends."""

    async def scenario():
        async with serve_recorded(kit, sqlite_url, lock_wait_s=60.0) as proxy:
            assert (await proxy.chat()).status_code == 200
            other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
            with closing(other):
                other.execute("BEGIN IMMEDIATE")
                asking = [asyncio.create_task(proxy.chat(images=1)) for _ in range(5)]
                live = [await proxy.client.get("/healthz") for _ in range(10)]
                waiting = not any(task.done() for task in asking)
                other.execute("ROLLBACK")
            return waiting, live, await asyncio.gather(*asking)

    waiting, live, served = run(scenario())
    assert waiting
    assert {response.status_code for response in (*live, *served)} == {200}


def test_a_foreign_lock_costs_no_call(run, kit, sqlite_url):
    async def scenario():
        async with serve_recorded(kit, sqlite_url) as proxy:
            assert (await proxy.chat(images=1)).status_code == 200
            calls = len(proxy.calls)
            await asyncio.sleep(1.1)  # the last write no longer shows that the next one will work
            other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
            with closing(other):
                other.execute("BEGIN IMMEDIATE")
                failed = await asyncio.gather(*(proxy.chat(images=1) for _ in range(5)))
                ready = await proxy.client.get("/readyz")
                other.execute("ROLLBACK")
            return failed, len(proxy.calls) - calls, ready, await proxy.chat()

    failed, calls, ready, after = run(scenario())
    assert {response.status_code for response in failed} == {503}
    assert {response.json()["error"]["code"] for response in failed} == {"records_failed"}
    assert not any("guardrail.db" in response.text for response in failed)
    assert calls == 0  # they failed before any call was spent
    assert ready.status_code == 503
    assert ready.json()["records"] == "records cannot be kept; the log says why"
    assert after.status_code == 200


def test_best_effort_answers_and_says_that_nothing_was_kept(run, kit, sqlite_url, logs):
    async def scenario():
        async with serve_recorded(kit, sqlite_url, mode="best_effort") as proxy:
            other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
            with closing(other):
                other.execute("BEGIN IMMEDIATE")
                response = await proxy.chat()
                other.execute("ROLLBACK")
            return response, await proxy.client.get("/readyz")

    response, ready = run(scenario())
    assert response.status_code == 200
    assert response.headers["x-guardrail-record-id"] == NOT_RECORDED
    assert response.json()["guardrail"]["record_id"] == NOT_RECORDED
    assert "its answer leaves" in logs.text
    assert ready.status_code == 200


def test_a_client_that_left_leaves_a_record(run, kit, sqlite_url):
    async def scenario():
        async with serve_recorded(kit, sqlite_url, [Step(fault=Fault.HANG)]) as proxy:
            asking = asyncio.create_task(proxy.chat(images=1))
            while not proxy.calls:  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            while not kept(sqlite_url):  # noqa: ASYNC110 (no event)
                await asyncio.sleep(0.02)

    run(scenario())
    (record,) = kept(sqlite_url)
    assert (record.action, record.reason) == ("fault", "cancelled")


def test_a_refused_request_that_could_be_read_leaves_a_record(run, kit, sqlite_url):
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

    async def scenario():
        async with serve_recorded(kit, sqlite_url) as proxy:
            return await proxy.chat(messages=[{"role": "user", "content": [broken]}])

    assert run(scenario()).status_code == 415
    (record,) = kept(sqlite_url)
    assert (record.action, record.reason, record.calls) == ("fault", "invalid request", 0)


def test_an_upstream_that_fails_leaves_a_record(run, kit, sqlite_url):
    async def scenario():
        async with serve_recorded(kit, sqlite_url, [Step(fault=Fault.UNREACHABLE)]) as proxy:
            return await proxy.chat()

    assert run(scenario()).status_code >= 500
    (record,) = kept(sqlite_url)
    assert (record.action, record.reason) == ("fault", "upstream failed")


def test_a_disk_that_fills_up_withholds_the_answer(run, kit, tmp_path, monkeypatch):
    def fail(_handle):
        raise OSError(28, "No space left on device")

    async def scenario():
        async with serve_recorded(kit, str(tmp_path / "records.jsonl")) as proxy:
            monkeypatch.setattr("os.fsync", fail)
            response = await proxy.chat()
            monkeypatch.undo()
            return response, await proxy.chat()

    full, after = run(scenario())
    assert (full.status_code, after.status_code) == (503, 200)
    assert full.json()["error"]["code"] == "records_failed"
    assert "picture" not in full.text


def test_the_words_of_a_storage_fault_stay_inside(run, kit, logs):
    class Broken:
        picture_room = None

        async def keep(self, *_about):
            raise StorageError("postgresql://secret-host: gone")

        def keep_soon(self, *_about):
            pass

        async def check(self):
            pass

    async def scenario():
        async with kit.proxy(record=Broken()) as proxy:
            return await proxy.chat()

    response = run(scenario())
    assert response.status_code == 503
    assert "secret-host" not in response.text


@pytest.mark.parametrize(("mode", "records"), [("enforce", 1), ("observe", 2)])
def test_pictures_are_kept_as_they_were_sent_once_somebody_asks(
    run, kit, sqlite_url, mode, records
):
    async def scenario(room):
        policy = kit.make_policy(mode=mode)
        before = len(kept(sqlite_url)) if room else 0
        async with serve_recorded(kit, sqlite_url, policy=policy, picture_room=room) as proxy:
            assert (await proxy.chat(images=2)).status_code == 200
            async with asyncio.timeout(60):
                while len(found := kept(sqlite_url)) < before + records:  # noqa: ASYNC110 (a database has no event)
                    await asyncio.sleep(0.01)
        return [one.record_id for one in found[:records]]

    for room in (None, PictureRoom()):
        for record_id in run(scenario(room)):
            with open_source(sqlite_url) as source, open_existing(sqlite_url) as database:
                record = source.find(record_id)
                found = [read_picture(database, record, i, CONTENT_KEYS) for i in range(2)]
            sent = [kit.png(seed=i) for i in range(2)]
            assert found == ([None, None] if room is None else sent)
            assert len(record.kept_pictures) == (0 if room is None else 2)
