"""A job over a provider's batch API: few rounds, no call paid for twice, the tests as ever."""

import asyncio
import json
import os
from collections import Counter
from dataclasses import replace

import pytest

from guardrail.assembly import build_engine, join_engine
from guardrail.bulk.content_key import JobSettings
from guardrail.bulk.deciding import EngineAsk, RowDecider, make_loader
from guardrail.bulk.job import BulkJob
from guardrail.bulk.log import DecisionLog
from guardrail.bulk.rows import BulkRow
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.errors import ConfigError, StorageError
from guardrail.images.keys import NoiseKey
from guardrail.policy.load import parse_policy
from guardrail.upstreams.batches.ledger import BatchLedger
from guardrail.upstreams.batches.settings import BatchSettings
from guardrail.upstreams.litellm_batch import LiteLLMBatch
from guardrail.upstreams.scripted import Fault, Step
from tests.batch_server import batch_server, cheap_clients, wait_until
from tests.bulk.conftest import POLICY, Words

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
pytest.importorskip("litellm")

# litellm and the libraries it loads warn of their own affairs, and leave clients open.
pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = "openai/scripted"
QUICK = BatchSettings(settle_s=0.1, poll_s=0.001, longest_poll_s=0.002, give_up_s=600.0)
# No call could be answered within these limits.
HASTY = POLICY.replace("call_timeout_s: 10.0", "call_timeout_s: 0.001")
HASTY = HASTY.replace("deadline_s: 60.0", "deadline_s: 0.001")
HASTY = HASTY.replace("max_parallel: 4", "max_parallel: 512")


@pytest.fixture(autouse=True, scope="module")
def clients():
    with cheap_clients():
        yield


def answer(call):
    asked = str(call.body)
    if "FAIL" in asked:
        return Step(fault=Fault.STATUS, status=500)
    return "a forbidden answer" if "HARM" in asked else "a picture of a cat"


def rows_of(pictures, prompt="What?"):
    return [BulkRow(file.name, prompt, str(file)) for file in pictures]


async def run_job(server, folder, rows, *, batches=QUICK, until=None, price_share=1.0):
    """The outcomes that stand, after a run that is stopped once `until` returns."""
    rules = parse_policy(HASTY.encode(), file="policy.yaml")
    upstream = LiteLLMBatch(
        MODEL,
        ledger=folder / "batches.db",
        settings=batches,
        api_key="k",
        api_base=server.base_url,
        direct=True,
        price_share=price_share,
    )
    engine = join_engine(rules, [upstream], Words(), NoiseKey(bytes(32)), may_be_late=True)
    settings, loader = JobSettings.of(engine, MODEL, {}), make_loader(rules)
    try:
        with DecisionLog(folder / "log.jsonl", settings.to_dict()) as log:
            ask = EngineAsk(engine, MODEL, loader)
            job = BulkJob(RowDecider(ask, settings, loader, log=log), log, 100)
            task = asyncio.create_task(job.run(iter(rows)))
            if until is not None:
                await until(server)
                task.cancel()
            await asyncio.gather(task, return_exceptions=until is not None)
            return {one.name: one for one in log.current()}
    finally:
        await engine.aclose()
        loader.close()


def play(script, playing):
    async def run():
        async with batch_server(script) as server:
            return await playing(server)

    return asyncio.run(run())


def pictures_of(request):
    return request["body"]["messages"][0]["content"]


def test_rows_share_a_round_and_no_deadline_ends_them(tmp_path, pictures):
    """A batch that is sent off only once it is full: all draws of all rows at the same time."""

    async def playing(server):
        one = await run_job(server, _make_folder(tmp_path / "one"), rows_of(pictures[:1]))
        calls = one["0.png"].calls
        full = replace(QUICK, settle_s=600.0, max_requests=4 * calls)
        return calls, await run_job(server, tmp_path, rows_of(pictures[:4]), batches=full), server

    calls, found, server = play(answer, playing)
    assert [(one.decision.value, one.calls) for one in found.values()] == [("pass", calls)] * 4
    for one in found.values():
        verify_certificate(decode_certificate(one.certificate), one.certificate)
    assert [len(ids) for ids in server.uploads] == [calls, 4 * calls]
    assert len(set(server.asked)) == 5 * calls


@pytest.mark.parametrize("stage", ["waiting", "uploaded", "read"])
def test_a_job_that_was_stopped_asks_for_nothing_twice(tmp_path, pictures, stage):
    rows = rows_of(pictures[:4])

    async def stop_at(server):
        seen = {"waiting": "retrieve", "uploaded": "create", "read": "content"}[stage]
        await wait_until(lambda: server.seen[seen])

    async def playing(server):
        server.held = stage == "waiting"
        if stage == "uploaded":  # the batch is not made, and the job ends before it asks again
            server.faults["create"] = [429]
        await run_job(server, tmp_path, rows, until=stop_at)
        server.held = False
        return await run_job(server, tmp_path, rows), server

    found, server = play(answer, playing)
    assert [found[row.name].decision.value for row in rows] == ["pass"] * 4
    uploaded = Counter(one for ids in server.uploads for one in ids)
    assert set(uploaded.values()) == {1}
    assert Counter(server.asked) == uploaded
    assert not server.cancelled
    # Each row may leave a few calls under way that its decision needed no more.
    counted = sum(one.calls for one in found.values())
    assert counted <= len(server.asked) <= counted + 4 * len(rows)


def test_with_a_wrong_key_a_job_stops_and_leaves_what_is_paid_for_to_the_next_run(
    tmp_path, pictures
):
    rows = rows_of(pictures[:2])

    async def is_made(server):
        await wait_until(lambda: server.seen["retrieve"])

    async def playing(server):
        server.held = True
        await run_job(server, tmp_path, rows, until=is_made)
        server.held, server.faults["retrieve"] = False, [401]
        with pytest.raises(StorageError, match="an earlier run has paid for"):
            await run_job(server, tmp_path, rows)
        return await run_job(server, tmp_path, rows), server

    found, server = play(answer, playing)
    assert [found[row.name].decision.value for row in rows] == ["pass"] * 2
    assert len(set(server.asked)) == len(server.asked)
    assert len(server.batches) == 1


def test_a_job_stops_where_what_is_sent_cannot_be_noted(tmp_path, pictures, monkeypatch):
    def full(self, file, request_ids):
        raise StorageError("the ledger of batches is full")

    async def playing(server):
        with monkeypatch.context() as patch:
            patch.setattr(BatchLedger, "note_file", full)
            with pytest.raises(StorageError, match="is full"):
                await run_job(server, tmp_path, rows_of(pictures[:2]))
        return server

    assert not play(answer, playing).batches


def test_a_try_that_failed_is_over_and_the_next_one_has_other_noise(tmp_path, pictures):
    """The same noise once more, answered anew, would be no fresh try."""
    rows = rows_of(pictures[:2])

    async def playing(server):
        server.script = lambda _: Step(fault=Fault.STATUS, status=500)
        first = await run_job(server, tmp_path, rows)
        server.script = answer
        return first, await run_job(server, tmp_path, rows), server

    first, second, server = play(answer, playing)
    assert {one.decision.value for one in first.values()} == {"not decided"}
    assert {one.decision.value for one in second.values()} == {"pass"}
    shown = [json.dumps(pictures_of(one)) for batch in server.batches.values()
             for one in batch.requests]  # fmt: skip
    assert len(set(shown)) == len(shown)


def test_equal_rows_that_fail_one_after_the_other_have_noise_of_their_own(tmp_path, pictures):
    one = rows_of(pictures[:1])[0]
    twins = [one, *(BulkRow(f"twin {i}", one.prompt, one.image) for i in range(2))]

    async def playing(server):
        found = await run_job(server, tmp_path, twins)
        return found, server

    found, server = play(lambda _: Step(fault=Fault.STATUS, status=500), playing)
    assert {row.decision.value for row in found.values()} == {"not decided"}
    assert len(set(server.asked)) == len(server.asked)
    assert len(server.uploads) == 3


def test_batches_cost_their_share_of_the_price(tmp_path, pictures):
    async def playing(server):
        whole = await run_job(server, _make_folder(tmp_path / "a"), rows_of(pictures[:1]))
        half = await run_job(
            server, _make_folder(tmp_path / "b"), rows_of(pictures[:1]), price_share=0.5
        )
        return whole["0.png"], half["0.png"]

    whole, half = play(answer, playing)
    # A call more or less may be under way when the test ends.
    assert whole.cost_usd == pytest.approx(0.7 * whole.calls)
    assert half.cost_usd == pytest.approx(0.5 * 0.7 * half.calls)


def _make_folder(folder):
    folder.mkdir()
    return folder


def test_two_jobs_share_no_noise(tmp_path, pictures):
    async def playing(server):
        for name in ("a", "b"):
            await run_job(server, _make_folder(tmp_path / name), rows_of(pictures[:1]))
        return server.asked

    asked = play(answer, playing)
    assert len(set(asked)) == len(asked)


def test_who_cannot_wait_refuses_it(tmp_path):
    policy = parse_policy(POLICY.encode(), file="policy.yaml")
    upstream = LiteLLMBatch(MODEL, ledger=tmp_path / "batches.db")
    with pytest.raises(ConfigError, match=r"litellm_batch:openai/scripted answers within hours"):
        build_engine(policy, upstream, oracle=Words())
    with pytest.raises(ConfigError, match="as its only upstream"):
        join_engine(policy, [upstream, upstream], Words(), NoiseKey(bytes(32)), may_be_late=True)
