"""Several policies behind one server, changed while it runs."""

import asyncio
import os
import shutil
import signal
import time
from contextlib import asynccontextmanager

import httpx
import pytest
import yaml

from guardrail.api.building import open_deployment
from guardrail.api.deployment import Plan
from guardrail.api.settings import ServerSettings
from guardrail.errors import ConfigError, RequestError
from guardrail.images.keys import NoiseKey
from guardrail.policy.load import load_policy
from guardrail.policy.policy_list import ListedPolicy, load_policies
from guardrail.policy.upstreams import UpstreamEntry
from guardrail.server.app import create_deployed_app
from guardrail.server.reload import reloading
from guardrail.server.serve import running_app
from guardrail.testing.setting import POLICY_FILE
from guardrail.upstreams.scripted_server import scripted_server

KEY = NoiseKey(bytes(32))
LEXICON = {"kind": "lexicon", "file": "lexicon.yaml", "miss_rate_upper": 0.01, "delta": 0.001}


class Files:
    """Policies in a folder, and the deployment that reads them."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copy(POLICY_FILE.with_name("lexicon.yaml"), folder)

    def policy(self, name, **fields):
        content = {
            "name": name,
            "oracle": LEXICON,
            "advanced": {"limits": {"retries": 0}, "memory": {"pass": "redraw", "block": "redraw"}},
            **fields,
        }
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def list(self, *entries):
        (self.folder / "policies.yaml").write_text(yaml.safe_dump({"policies": list(entries)}))

    def open(self, url, **options):
        entry = UpstreamEntry(upstream=f"openai_compatible:{url}", **options)

        def read():
            return Plan(load_policies(self.folder / "policies.yaml"), (entry,))

        return open_deployment(read, KEY, ServerSettings())


@pytest.fixture
def files(tmp_path):
    made = Files(tmp_path)
    made.policy("kids", block={"text": "Not for kids."})
    made.policy("usual", block={"text": "Blocked."})
    made.list({"policy": "kids.yaml", "match": {"models": ["small-*"]}}, {"policy": "usual.yaml"})
    return made


@asynccontextmanager
async def serving(files, script=("a forbidden word",), *, watch_s=0.0, on_signal=False):
    async with scripted_server(script) as model:
        deployment = files.open(model.base_url)

        def triggers():
            return reloading(deployment, [files.folder], every_s=watch_s, on_signal=on_signal)

        app = create_deployed_app(deployment, triggers)
        async with (
            running_app(app) as server,
            httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client,
        ):
            yield client, deployment, model


async def ask(client, model="big", **headers):
    body = {"model": model, "messages": [{"role": "user", "content": "Hello?"}]}
    return await client.post("/v1/chat/completions", json=body, headers=headers)


def words(response):
    return response.json()["choices"][0]["message"]["content"]


def test_each_request_has_the_policy_that_matches_it(run, files):
    async def scene():
        async with serving(files) as (client, _, _):
            return [await ask(client, model) for model in ("small-1", "big")]

    small, big = run(scene())
    assert (words(small), small.headers["x-guardrail-policy"]) == ("Not for kids.", "kids")
    assert (words(big), big.headers["x-guardrail-policy"]) == ("Blocked.", "usual")


def test_a_caller_may_only_tighten(run, files):
    async def scene():
        async with serving(files) as (client, _, _):
            asked = [("big", "kids"), ("big", "usual"), ("small-1", "usual"), ("big", "none")]
            return [await ask(client, m, **{"x-guardrail-policy": p}) for m, p in asked]

    tighter, same, looser, unknown = run(scene())
    assert words(tighter) == "Not for kids."
    assert words(same) == "Blocked."
    for refused in (looser, unknown):
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "policy_not_allowed"


def test_a_limit_is_that_of_the_requests_own_policy(run, files):
    files.policy("kids", advanced={"limits": {"max_body_bytes": 1024}})

    async def scene():
        async with serving(files, ["A cat."]) as (client, _, _):
            return [await ask(client, "small-" + "x" * 2000), await ask(client, "b" * 2000)]

    small, big = run(scene())
    assert (small.status_code, big.status_code) == (413, 200)


def test_a_reload_keeps_models_oracles_and_what_is_under_way(run, files):
    async def scene():
        async with serving(files) as (client, deployment, _model):
            first = deployment.current
            lease = deployment.lease()
            files.policy("usual", block={"text": "Other words."})
            assert await deployment.reload("test")
            assert not await deployment.reload("test")  # nothing has changed since
            new, old = deployment.current.last, first.last
            assert new.engine.upstream is old.engine.upstream
            assert new.engine.oracle is old.engine.oracle
            assert new.ledger is old.ledger
            assert words(await ask(client)) == "Other words."
            assert lease.policies is first
            lease.release()
            lease.release()
            await asyncio.sleep(0)
            return words(await ask(client)), [v.cause for v in deployment.versions]

    told, causes = run(scene())
    assert told == "Other words."
    assert causes == ["test", "start"]


def test_a_request_under_way_ends_by_the_policy_that_it_began_with(run, files):
    waiting = asyncio.Event()

    async def scene():
        async with serving(files, ["a forbidden word"]) as (client, deployment, _model):
            begun = asyncio.Event()
            inner = deployment.current.last.engine.oracle.judge

            async def slow(exchanges):
                begun.set()
                await waiting.wait()
                return await inner(exchanges)

            deployment.current.last.engine.oracle.judge = slow
            asked = asyncio.create_task(ask(client))
            await begun.wait()
            files.policy("usual", block={"text": "Other words."})
            await deployment.reload("test")
            waiting.set()
            return words(await asked), words(await ask(client))

    assert run(scene()) == ("Blocked.", "Other words.")


@pytest.mark.parametrize("wrong", ["name: usual\nsmoothing: {sigm: 1}\n", "not: [yaml", ""])
def test_a_mistake_changes_nothing(run, files, wrong):
    async def scene():
        async with serving(files) as (client, deployment, _):
            before = deployment.current
            (files.folder / "usual.yaml").write_text(wrong)
            with pytest.raises(ConfigError):
                await deployment.reload("test")
            assert deployment.current is before
            return words(await ask(client))

    assert run(scene()) == "Blocked."


def test_parts_of_a_plan_that_fails_are_closed_again(run, files):
    async def scene():
        async with serving(files) as (client, deployment, _):
            files.policy("kids", sampling={"max_samples": 1})  # cannot pass anything
            with pytest.raises(ConfigError):
                await deployment.reload("test")
            return words(await ask(client))

    assert run(scene()) == "Blocked."


def test_a_former_version_decides_again(run, files):
    async def scene():
        async with serving(files) as (client, deployment, _):
            first = deployment.current.digest
            files.policy("usual", block={"text": "Other words."})
            await deployment.reload("test")
            assert await deployment.roll_back(first, "me")
            assert deployment.versions[0].cause == "me"
            with pytest.raises(RequestError) as caught:
                await deployment.roll_back("0" * 64, "me")
            return caught.value.status, deployment.current.digest == first, words(await ask(client))

    assert run(scene()) == (404, True, "Blocked.")


async def changed(client, wanted):
    """Asks until the words are these."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if words(await ask(client)) == wanted:
            return True
        await asyncio.sleep(0.05)
    return False


def test_files_are_watched(run, files, caplog):
    async def scene():
        async with serving(files, watch_s=0.05) as (client, _, _):
            (files.folder / "usual.yaml").write_text("name: [")
            while "those in use stay" not in caplog.text:  # noqa: ASYNC110 (a log has no event)
                await asyncio.sleep(0.02)
            told = words(await ask(client))
            files.policy("usual", block={"text": "Other words."})
            return told, await changed(client, "Other words.")

    assert run(scene()) == ("Blocked.", True)


def test_a_hangup_reloads(files):
    async def scene():
        async with serving(files, on_signal=True) as (client, _, _):
            files.policy("usual", block={"text": "Other words."})
            os.kill(os.getpid(), signal.SIGHUP)
            return await changed(client, "Other words.")

    assert asyncio.run(scene())


@pytest.mark.parametrize("path", ["/admin/reload", "/admin/rollback", "/admin/policies"])
def test_administering_needs_a_key(run, files, path):
    async def scene():
        async with serving(files) as (client, _, _):
            method = "GET" if path.endswith("policies") else "POST"
            return await client.request(method, path, json={"digest": "x"})

    response = run(scene())
    assert (response.status_code, response.json()["error"]["code"]) == (403, "scope_missing")


def test_policies_of_one_model_share_its_limits(files, tmp_path):
    files.policy("kids", advanced={"images": {"variant_format": "jpeg"}})
    deployment = files.open("http://127.0.0.1:9/v1", max_concurrency=3)
    first, second = (one.service.engine for one in deployment.current.policies)
    assert first.upstream is not second.upstream
    assert first.upstream.limiter is second.upstream.limiter
    assert first.oracle is second.oracle
    asyncio.run(deployment.aclose())


def test_readiness_is_that_of_all(run, files):
    async def scene():
        async with serving(files) as (client, _, _):
            return await client.get("/readyz"), await client.get("/v1/models")

    ready, models = run(scene())
    assert ready.json()["status"] == "ready"
    assert models.status_code == 200


def test_a_plan_of_shipped_policies():
    def read():
        return Plan((ListedPolicy(load_policy("default")),), (UpstreamEntry(upstream="builtin"),))

    deployment = open_deployment(read, KEY, ServerSettings())
    assert [one.name for one in deployment.current.policies] == ["default"]
    asyncio.run(deployment.aclose())
