"""Each part that may be down, killed while the proxy runs; the table is in docs/replicas.md."""

import asyncio
import re

import pytest

from guardrail.api.building import open_deployment
from guardrail.api.deployment import Plan
from guardrail.api.settings import ServerSettings
from guardrail.assembly import read_policy, read_upstreams
from guardrail.errors import ConfigError
from guardrail.images.keys import NoiseKey
from guardrail.key_files import load_or_create_key
from guardrail.policy.policy_list import ListedPolicy
from guardrail.upstreams.scripted import Step
from tests.faults.parts import guarded
from tests.postgres import MISSING, find_binaries, postgres_server


@pytest.fixture
def run():
    """Runs a coroutine to its end, with a bound on its time."""

    def runner(coroutine):
        return asyncio.run(asyncio.wait_for(coroutine, 60))

    return runner


SPENDING = {"spending": {"mode": "principal"}}
REMEMBERS = {"memory": {"pass": "replay", "block": "replay"}}


def test_redis_that_counts(run, redis_server):
    async def scene():
        async with guarded(redis=redis_server, **SPENDING) as proxy:
            found = [await proxy.ask(0)]
            redis_server.kill()
            found.append(await proxy.ask(1))
            redis_server.start()  # empty: nobody knows what was spent
            return [*found, await proxy.ask(2)]

    assert run(scene()) == [(200, None), *[(503, "ledger_unavailable")] * 2]


def test_redis_in_mid_try(run, redis_server):
    async def scene():
        script = [Step("A picture.", delay_s=0.3)]
        async with guarded(script, redis=redis_server, **SPENDING) as proxy:
            asked = asyncio.create_task(proxy.ask())
            await asyncio.sleep(0.15)
            redis_server.kill()
            return await asked

    assert run(scene()) == (503, "ledger_unavailable")


def test_redis_that_remembers(run, redis_server):
    async def scene():
        async with guarded(redis=redis_server, **REMEMBERS) as proxy:
            found = [await proxy.ask() for _ in range(2)]
            asked = len(proxy.oracle.seen)
            redis_server.kill()
            found.append(await proxy.ask())
            return found, asked, len(proxy.oracle.seen)

    found, before, after = run(scene())
    assert found == [(200, None)] * 3
    assert after > before  # decided anew


def test_redis_that_counts_limits(run, redis_server, book):
    limited, free = book.create(limits={"requests_per_minute": 2}), book.create()

    async def scene():
        async with guarded(redis=redis_server, keys=book.authenticator()) as proxy:
            found = [await proxy.ask(0, secret=limited)]
            redis_server.kill()
            found += [await proxy.ask(1, secret=one) for one in (limited, free)]
            redis_server.start()  # empty: the minute begins anew
            return [*found, *[await proxy.ask(2, secret=limited) for _ in range(3)]]

    assert run(scene()) == [
        (200, None), (503, "limits_unavailable"), (200, None),
        (200, None), (200, None), (429, "rate_limit_exceeded"),
    ]  # fmt: skip


def test_redis_down_at_the_end_of_a_decision(run, redis_server, book):
    limited = book.create(limits={"calls_per_minute": 500, "max_concurrency": 2})

    async def scene():
        script = [Step("A picture.", delay_s=0.3)]
        async with guarded(script, redis=redis_server, keys=book.authenticator()) as proxy:
            asked = asyncio.create_task(proxy.ask(secret=limited))
            while not proxy.model.calls:  # noqa: ASYNC110 (tells nobody)
                await asyncio.sleep(0.01)
            redis_server.kill()
            return await asked

    assert run(scene()) == (200, None)


def test_the_model(run):
    async def scene():
        async with guarded() as proxy:
            before = await proxy.ask()
            await proxy.close_model()
            return before, await proxy.ask(1), (await proxy.client.get("/readyz")).status_code

    before, (status, _), ready = run(scene())
    assert before == (200, None)
    assert status in {502, 503}
    assert ready == 503


def test_the_oracle(run):
    async def scene():
        async with guarded() as proxy:
            before = await proxy.ask()
            proxy.oracle.fault = RuntimeError("a private word")
            return before, await proxy.ask(1), (await proxy.client.get("/readyz")).status_code

    assert run(scene()) == ((200, None), (503, "oracle_unavailable"), 503)


@pytest.mark.skipif(find_binaries() is None, reason=MISSING)
def test_postgresql_that_keeps_records(run):
    async def scene(server):
        async with guarded(records=f"{server.url}/postgres") as proxy:
            before = await proxy.ask()
            server.kill()
            return before, await proxy.ask(1), (await proxy.client.get("/readyz")).status_code

    with postgres_server() as server:
        assert run(scene(server)) == ((200, None), (503, "records_failed"), 503)


def test_the_disk_under_the_records(run, tmp_path, monkeypatch):
    def fail(_handle):
        raise OSError(28, "No space left on device")

    async def scene():
        async with guarded(records=str(tmp_path / "records.jsonl")) as proxy:
            monkeypatch.setattr("os.fsync", fail)
            full = await proxy.ask()
            monkeypatch.undo()
            return full, await proxy.ask(1)

    assert run(scene()) == ((503, "records_failed"), (200, None))


def test_the_key_file(tmp_path):
    file = tmp_path / "key"
    load_or_create_key(file)
    file.write_text("damaged")
    with pytest.raises(ConfigError, match="key"):
        load_or_create_key(file)


@pytest.mark.parametrize("damage", ["name: [", None])
def test_the_policy_file(run, tmp_path, damage):
    file = tmp_path / "policy.yaml"
    file.write_text("name: test\noracle: {miss_rate_upper: 0.01}\n"
                    "advanced: {sampling: {plan: fixed}}\n")  # fmt: skip

    def read():
        return Plan((ListedPolicy(read_policy(str(file))),), read_upstreams(()))

    async def scene():
        deployment = open_deployment(read, NoiseKey(bytes(32)), ServerSettings())
        before = deployment.current
        file.unlink() if damage is None else file.write_text(damage)
        with pytest.raises(ConfigError):
            await deployment.reload("file")
        assert deployment.current is before
        await deployment.aclose()

    run(scene())


def test_every_row_of_the_table_names_a_test(repository):
    page = (repository / "docs" / "replicas.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    own = {name for name in globals() if name.startswith("test_")}
    assert named >= own - {"test_every_row_of_the_table_names_a_test"}
    shared = "".join(file.read_text() for file in (repository / "tests" / "sharing").glob("test_*"))
    assert named - own <= set(re.findall(r"^def (test_\w+)", shared, re.MULTILINE))
