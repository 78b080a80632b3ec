"""Kills at the worst moments: between a record and its answer, and Redis in the midst of tries."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys

import httpx
import pytest

from guardrail.errors import RequestError
from guardrail.images.keys import NoiseKey
from guardrail.sharing.connection import SharedRedis
from guardrail.sharing.ledger import RedisLedger
from guardrail.stats import spent_alpha
from tests.redis_server import MISSING, find_redis, running_redis

ALPHA = 0.001
SOON_S = 120.0
# `guardrail serve`, which stops for ever where the test kills it; its model stands in this process.
PROGRAM = """
import asyncio, sys, threading
from guardrail.cli import main
from guardrail.records import journal
from guardrail.records.recorder import Recorder

keep, append = Recorder.keep, journal.FileJournal.append_all

def say(what):
    print(what, file=sys.stderr, flush=True)

async def keep_and_stop(self, *arguments, **options):
    kept = await keep(self, *arguments, **options)
    say("kept")
    await asyncio.Event().wait()

def stop_before(self, records, *pictures):
    if not records:
        return append(self, records, *pictures)
    say("about to keep")
    threading.Event().wait()

if sys.argv.pop(1) == "after the record":
    Recorder.keep = keep_and_stop
else:
    journal.FileJournal.append_all = stop_before
main()
"""
POLICY = "name: killed\nextends: quick\noracle: {kind: builtin}\n"


@pytest.fixture
def serving(tmp_path, repository):
    """Starts the program above; (process, address)."""
    with contextlib.ExitStack() as stack:

        def start(where, upstream):
            (tmp_path / "policy.yaml").write_text(POLICY)
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, where, "serve", "--port", "0", "--policy",
                 str(tmp_path / "policy.yaml"), "--records", str(tmp_path / "records.jsonl"),
                 "--upstream", f"openai_compatible:{upstream}"],
                stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=repository,
            )  # fmt: skip
            stack.callback(process.stderr.close)
            stack.callback(process.wait)
            stack.callback(process.kill)
            line = process.stderr.readline()
            return process, line.rsplit(" at ", 1)[1].strip()

        yield start


@pytest.mark.parametrize(
    ("where", "stream"),
    [
        pytest.param("before the record", False, marks=pytest.mark.nightly),
        ("after the record", True),
    ],
)
def test_a_process_killed_at_its_record_has_answered_nothing(
    serving, model_url, tmp_path, where, stream
):
    process, url = serving(where, model_url)
    word = "kept" if where == "after the record" else "about to keep"
    body = {"model": "scripted", "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
    got = bytearray()

    async def ask_and_kill():
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            asked = asyncio.create_task(_read(client, f"{url}/chat/completions", body, got))
            late = asyncio.get_running_loop().call_later(SOON_S, process.kill)
            while (line := await asyncio.to_thread(process.stderr.readline)) != f"{word}\n":
                assert line, "the server ended, or said nothing for too long"
            late.cancel()
            await asyncio.sleep(0.2)  # were it to answer all the same, it would do so now
            process.send_signal(signal.SIGKILL)
            with pytest.raises(httpx.TransportError):
                await asked

    asyncio.run(ask_and_kill())
    assert b"picture" not in got
    kept = (tmp_path / "records.jsonl").read_bytes().splitlines()
    actions = [json.loads(line)["action"] for line in kept]
    assert actions == (["pass"] if where == "after the record" else [])


async def _read(client, url, body, got):
    async with client.stream("POST", url, json=body) as answer:
        async for piece in answer.aiter_bytes():
            got += piece


@pytest.fixture
def model_url():
    """A model that answers at once, in a thread of its own."""
    from guardrail.middleware.loop_thread import LoopThread
    from guardrail.upstreams.scripted_server import scripted_server

    home, server = LoopThread(), scripted_server(["A picture of a hat."])
    model = home.run_sync(server.__aenter__())
    yield model.base_url
    home.run_sync(server.__aexit__(None, None, None))
    home.stop()


@pytest.mark.skipif(find_redis() is None, reason=MISSING)
@pytest.mark.parametrize("comes_back", ["with its data", "empty"])
@pytest.mark.parametrize("killed_at", range(0, 24, 5))
def test_replicas_never_spend_more_than_alpha_whenever_redis_dies(comes_back, killed_at):
    """Two replicas, tries side by side, Redis killed at any moment: all that was drawn adds up."""
    options = ("--appendonly", "yes", "--appendfsync", "always") if comes_back != "empty" else ()
    drawn = []  # numbers of tries that drew, of which none was given back

    async def one_try(ledger):
        with contextlib.suppress(RequestError):
            hold = await ledger.take("mallory")
            drawn.append(hold.number)
            await asyncio.sleep(0)
            await ledger.keep(hold)

    async def scene(server):
        key = NoiseKey(bytes(range(32)))
        ways = [SharedRedis(server.url, key, timeout_s=5.0) for _ in range(2)]
        ledgers = [RedisLedger(way, 100.0) for way in ways]
        for ledger in ledgers:
            await ledger.next_number("mallory")  # both know the count
        tries = [asyncio.create_task(one_try(ledgers[n % 2])) for n in range(24)]
        for done, _ in enumerate(tries):
            if done == killed_at:
                server.kill()
            await asyncio.sleep(0)
        await asyncio.gather(*tries)
        server.kill()
        server.start()
        await asyncio.gather(*(one_try(ledgers[n % 2]) for n in range(24)))
        for way in ways:
            await way.aclose()

    with running_redis(*options) as server:
        asyncio.run(scene(server))
    assert len(drawn) == len(set(drawn))
    assert sum(spent_alpha(ALPHA, number) for number in drawn) <= ALPHA
