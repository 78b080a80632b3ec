"""Calls in batches, through the real library and real sockets: each line is its caller's or none's.

Faults of a provider are played by `tests/batch_server.py`.
"""

import asyncio
import json
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guardrail.errors import ConfigError, StorageError, UpstreamError
from guardrail.types import Chat, Usage
from guardrail.upstreams.base import Upstream, answers_late, attempt_salt, price_share
from guardrail.upstreams.batches.provider import BatchProvider
from guardrail.upstreams.batches.settings import BatchSettings
from guardrail.upstreams.faults import is_refusal
from guardrail.upstreams.litellm_batch import LiteLLMBatch
from guardrail.upstreams.scripted import Fault, Step
from tests.batch_server import batch_server, cheap_clients, wait_until

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
litellm = pytest.importorskip("litellm")

# litellm and the libraries it loads warn of their own affairs, and leave clients open.
pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = "openai/gpt-4o-mini"
KEY = "sk-very-secret-0123456789"
QUICK = {"settle_s": 0.02, "poll_s": 0.001, "longest_poll_s": 0.002}


@pytest.fixture(autouse=True, scope="module")
def clients():
    with cheap_clients():
        yield


def chat(text, **parameters):
    return Chat("some-model", ({"role": "user", "content": text},), parameters, 0)


def asked_text(body):
    return body["messages"][0]["content"]


def echo(call):
    return f"about {asked_text(call.body)}"


def open_upstream(server, ledger, *, options=None, **limits):
    limits = {"give_up_s": 600.0, **QUICK, **limits}
    options = {"direct": True, "timeout_s": 60.0, **(options or {})}
    return LiteLLMBatch(
        MODEL,
        ledger=ledger,
        settings=BatchSettings(**limits),
        api_key=KEY,
        api_base=server.base_url,
        **options,
    )


async def ask(upstream, *texts, seed=1):
    """What became of calls that are made at the same time: answers, or faults."""
    calls = (upstream.complete(chat(text), [], seed=seed) for text in texts)
    return await asyncio.gather(*calls, return_exceptions=True)


def talk(tmp_path, talking, script=echo, **options):
    async def run():
        async with batch_server(script) as server:
            upstream = open_upstream(server, tmp_path / "ledger", **options)
            try:
                return await talking(upstream, server)
            finally:
                await upstream.aclose()

    return asyncio.run(run())


def test_calls_that_wait_together_share_a_batch(tmp_path):
    async def talking(upstream, server):
        assert isinstance(upstream, Upstream)
        assert answers_late(upstream)
        return await ask(upstream, "a", "b", "c"), server

    answers, server = talk(tmp_path, talking)
    assert [answer.text for answer in answers] == ["about a", "about b", "about c"]
    assert answers[0].usage == Usage(7, 5, 1)
    assert answers[0].model == "scripted"
    assert len(server.batches) == 1
    (batch,) = server.batches.values()
    assert {one["url"] for one in batch.requests} == {"/v1/chat/completions"}
    assert {one["body"]["model"] for one in batch.requests} == {"gpt-4o-mini"}
    assert not server.cancelled


def test_bodies_are_those_of_ordinary_calls(tmp_path, make_chat, make_picture):
    from guardrail.upstreams.openai_http import OpenAICompatible

    asked = make_chat(2, temperature=0.5, unknown_field={"deep": [1]}, stream=True, n=1)
    pictures = [make_picture(seed=1), make_picture(40, 30, seed=2)]

    async def talking(upstream, server):
        plain = OpenAICompatible(server.base_url, model_map={asked.model: "gpt-4o-mini"})
        answers = [await one.complete(asked, pictures, seed=9) for one in (upstream, plain)]
        await plain.aclose()
        return answers, server

    (batched, plain), server = talk(tmp_path, talking, script=lambda _: "A cat.")
    assert batched == plain
    (batch,) = server.batches.values()
    assert [batch.requests[0]["body"]] == server.chats


def test_each_call_has_its_seed_where_the_provider_honours_it(tmp_path):
    async def talking(upstream, server):
        await ask(upstream, "a", seed=5 << 32)
        return [one["body"]["seed"] for one in next(iter(server.batches.values())).requests]

    assert talk(tmp_path, talking, options={"seeds": True}) == [5]


def test_equal_bodies_with_other_seeds_are_other_requests(tmp_path):
    async def talking(upstream, server):
        calls = (upstream.complete(chat("same"), [], seed=seed) for seed in (1, 2))
        await asyncio.gather(*calls)
        return server.asked

    first, second = talk(tmp_path, talking)
    assert first != second


@pytest.mark.parametrize("limit", [{"max_requests": 2}, {"max_bytes": 1024}])
def test_batches_hold_no_more_than_they_may(tmp_path, limit):
    texts = [letter * 250 for letter in "abcde"]

    async def talking(upstream, server):
        return await ask(upstream, *texts), server

    answers, server = talk(tmp_path, talking, **limit)
    assert [answer.text for answer in answers] == [f"about {text}" for text in texts]
    assert sorted(len(ids) for ids in server.uploads) == [1, 2, 2]


def test_a_request_too_large_for_any_batch_is_refused(tmp_path):
    async def talking(upstream, server):
        return await ask(upstream, "x" * 5000, "small"), server

    (large, small), server = talk(tmp_path, talking, max_bytes=1024)
    assert (large.status, large.transient) == (413, False)
    assert small.text == "about small"
    assert len(server.asked) == 1


def shuffle_lines(batch, server, order):
    server.complete(batch)
    batch.output = [batch.output[place] for place in order]


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=5)
@given(data=st.data())
def test_whatever_lines_come_in_whatever_order(tmp_path_factory, data):
    """Each call gets the one line of its own; those without one get a fault."""
    texts = list("abcdef")
    kinds = ["kept", "lost", "twice", "torn", "stranger", "refused"]
    plan = data.draw(st.lists(st.sampled_from(kinds), min_size=6, max_size=6))
    order = data.draw(st.permutations(range(6)))

    async def talking(upstream, server):
        def end(batch):
            batch.status = "completed"
            for place in order:
                line = server.line(batch.requests[place])
                kind = plan[texts.index(asked_text(batch.requests[place]["body"]))]
                if kind == "torn":
                    batch.output.append(json.dumps(line).encode()[:-9])
                elif kind == "stranger":
                    batch.output.append({**line, "custom_id": "nobody"})
                elif kind == "refused":
                    batch.errors.append({**line, "response": {"status_code": 429, "body": {}}})
                elif kind != "lost":
                    batch.output += [line] * (2 if kind == "twice" else 1)

        server.end = end
        return await ask(upstream, *texts)

    answers = talk(tmp_path_factory.mktemp("any"), talking)
    for text, kind, answer in zip(texts, plan, answers, strict=True):
        if kind == "kept":
            assert answer.text == f"about {text}"
        else:
            assert isinstance(answer, UpstreamError)
            assert answer.transient
            assert answer.undrawn is (kind == "refused")


def test_errors_of_single_lines_are_those_of_single_calls(tmp_path):
    filtered = {"error": {"message": "x", "code": "content_filter"}}
    wrong = {"error": {"message": "x", "code": "invalid_request_error"}}

    def script(call):
        return {
            "filter": Step(fault=Fault.STATUS, status=400, response=filtered),
            "wrong": Step(fault=Fault.STATUS, status=400, response=wrong),
            "busy": Step(fault=Fault.STATUS, status=429),
            "broken": Step(fault=Fault.STATUS, status=503),
            "key": Step(fault=Fault.STATUS, status=401),
            "empty": Step(""),
            "refusal": Step(message={"content": None, "refusal": "I can't."}),
        }.get(asked_text(call.body), "fine")

    texts = ["filter", "wrong", "busy", "broken", "key", "empty", "refusal", "fine"]

    async def talking(upstream, server):
        return dict(zip(texts, await ask(upstream, *texts), strict=True))

    found = talk(tmp_path, talking, script=script)
    assert is_refusal(found["filter"])
    assert (found["wrong"].status, found["wrong"].transient) == (400, False)
    assert (found["busy"].status, found["busy"].undrawn) == (429, True)
    assert (found["broken"].status, found["broken"].undrawn) == (503, False)
    assert found["broken"].transient
    assert (found["key"].code, found["key"].transient) == ("upstream_auth", False)
    assert found["empty"].in_answer
    assert found["refusal"].message["refusal"] == "I can't."
    assert found["fine"].text == "fine"


def test_a_429_of_a_line_is_no_proof_where_a_gateway_may_say_it(tmp_path):
    async def talking(upstream, server):
        return await ask(upstream, "a")

    script = [Step(fault=Fault.STATUS, status=429)]
    (fault,) = talk(tmp_path, talking, script=lambda _: script[0], options={"direct": False})
    assert not fault.undrawn


@pytest.mark.parametrize(
    ("code", "undrawn", "direct"),
    [
        ("batch_expired", True, True),
        ("batch_expired", False, False),
        ("batch_cancelled", False, True),
        ("request_timeout", False, True),
        ("something_else", False, True),
    ],
)
def test_an_expired_batch_has_the_lines_that_it_has(tmp_path, code, undrawn, direct):
    async def talking(upstream, server):
        def end(batch):
            batch.status = "expired"
            for one in batch.requests:
                if asked_text(one["body"]) == "early":
                    batch.output.append(server.line(one))
                elif asked_text(one["body"]) == "late":
                    error = {"code": code, "message": f"{KEY} quoted"}
                    batch.errors.append(
                        {"custom_id": one["custom_id"], "response": None, "error": error}
                    )

        server.end = end
        return await ask(upstream, "early", "late", "unsaid")

    early, late, unsaid = talk(tmp_path, talking, options={"direct": direct})
    assert early.text == "about early"
    assert (late.transient, late.undrawn) == (True, undrawn)
    assert KEY not in str(late)
    assert (unsaid.transient, unsaid.undrawn, unsaid.code) == (True, False, "batch_expired")


def test_a_batch_that_is_refused_as_a_whole_ends_its_decisions(tmp_path):
    async def talking(upstream, server):
        def end(batch):
            batch.status, batch.codes = "failed", ("model_not_found",)

        server.end = end
        return await ask(upstream, "a", "b"), server

    faults, server = talk(tmp_path, talking)
    assert [(fault.transient, fault.code) for fault in faults] == [(False, "model_not_found")] * 2
    assert len(server.batches) == 1


def test_a_batch_for_which_there_is_no_room_yet_is_made_again_from_the_same_file(tmp_path):
    async def talking(upstream, server):
        def end(batch):
            if len(server.batches) < 3:
                batch.status, batch.codes = "failed", ("token_limit_exceeded",)
            else:
                server.complete(batch)

        server.end = end
        return await ask(upstream, "a"), server

    (answer,), server = talk(tmp_path, talking)
    assert answer.text == "about a"
    assert (len(server.uploads), len(server.batches)) == (1, 3)


@pytest.mark.parametrize("name", ["upload", "create", "retrieve", "content"])
def test_a_provider_that_is_busy_for_a_while_costs_nothing(tmp_path, name):
    async def talking(upstream, server):
        server.faults[name] = [429, 429]
        return await ask(upstream, "a"), server

    (answer,), server = talk(tmp_path, talking)
    assert answer.text == "about a"
    assert (server.seen[name], len(server.batches)) == (3, 1)


def test_a_batch_that_was_made_behind_a_fault_is_found(tmp_path):
    async def talking(upstream, server):
        server.faults["create_late"] = [500]
        return await ask(upstream, "a"), server

    (answer,), server = talk(tmp_path, talking)
    assert answer.text == "about a"
    assert len(server.batches) == 1


def test_where_it_is_not_known_whether_a_batch_was_made_none_is_made_again(tmp_path):
    async def talking(upstream, server):
        server.faults["create"] = [500]
        return await ask(upstream, "a"), server

    (fault,), server = talk(tmp_path, talking)
    assert (fault.status, fault.transient, fault.undrawn) == (500, True, False)
    assert not server.batches


@pytest.mark.parametrize("name", ["upload", "create", "retrieve", "content"])
def test_a_refused_key_ends_it(tmp_path, name):
    async def talking(upstream, server):
        server.faults[name] = [401] * 9
        return await ask(upstream, "a"), server

    (fault,), server = talk(tmp_path, talking)
    assert (fault.code, fault.transient) == ("upstream_auth", False)
    assert server.seen[name] == 1
    assert KEY not in str(fault)


def test_an_upload_that_keeps_failing_drew_nothing(tmp_path):
    async def talking(upstream, server):
        server.faults["upload"] = [503] * 9
        return await ask(upstream, "a")

    (fault,) = talk(tmp_path, talking)
    assert (fault.status, fault.transient, fault.undrawn) == (503, True, True)


def test_answers_that_cannot_be_read_are_no_proof_that_none_were_drawn(tmp_path):
    async def talking(upstream, server):
        server.faults["content"] = [429] * 999
        return await ask(upstream, "a"), server

    (fault,), server = talk(tmp_path, talking, give_up_s=0.05)
    assert (fault.transient, fault.undrawn) == (True, False)
    assert len(server.batches) == 1


def test_answers_are_read_once_the_provider_gives_them(tmp_path):
    async def talking(upstream, server):
        server.faults["content"] = [503] * 12
        return await ask(upstream, "a"), server

    (answer,), server = talk(tmp_path, talking)
    assert answer.text == "about a"
    assert server.seen["content"] == 13


def test_a_batch_that_never_ends_is_given_up_and_cancelled(tmp_path):
    async def talking(upstream, server):
        server.held = True
        return await ask(upstream, "a"), server

    (fault,), server = talk(tmp_path, talking, give_up_s=0.01)
    assert (fault.status, fault.transient, fault.undrawn) == (504, True, False)
    assert server.cancelled == ["batch-0"]


def test_a_batch_for_which_nobody_waits_is_cancelled(tmp_path):
    async def talking(upstream, server):
        server.held = True
        calls = [asyncio.create_task(upstream.complete(chat(t), [], seed=1)) for t in "ab"]
        await server.made.wait()
        calls[0].cancel()
        await wait_until(lambda: server.seen["retrieve"] > 2)  # one still waits
        assert not server.cancelled
        calls[1].cancel()
        await wait_until(lambda: server.cancelled)
        return server.cancelled

    assert talk(tmp_path, talking) == ["batch-0"]


def test_requests_given_up_before_they_are_sent_are_not_sent(tmp_path):
    async def talking(upstream, server):
        calls = [asyncio.create_task(upstream.complete(chat(t), [], seed=1)) for t in "abc"]
        await wait_until(lambda: upstream._gathering and len(upstream._gathering._waiting) == 3)
        run = upstream._gathering
        calls[1].cancel()
        await asyncio.sleep(0)
        run.close()
        return await asyncio.gather(*calls, return_exceptions=True), server

    (first, second, third), server = talk(tmp_path, talking, settle_s=600.0)
    assert (first.text, third.text) == ("about a", "about c")
    assert isinstance(second, asyncio.CancelledError)
    (batch,) = server.batches.values()
    assert [asked_text(one["body"]) for one in batch.requests] == ["a", "c"]


def test_results_that_are_too_long_are_not_read(tmp_path):
    async def talking(upstream, server):
        return await ask(upstream, "a", "b")

    faults = talk(tmp_path, talking, script=lambda _: Step("x" * 3000), max_output_bytes=1024)
    assert ["max_output_bytes" in str(fault) for fault in faults] == [True, True]


def test_the_same_request_twice_at_a_time_is_refused(tmp_path):
    async def talking(upstream, server):
        return await ask(upstream, "a", "a"), server

    answers, server = talk(tmp_path, talking)
    assert [type(one) for one in answers].count(UpstreamError) == 1
    assert len(server.asked) == 1


# A job that is called again


def test_what_a_killed_run_has_sent_is_not_sent_again(tmp_path):
    texts = list("abcd")

    async def run():
        async with batch_server(echo) as server:
            server.held = True
            first = open_upstream(server, tmp_path / "ledger", max_requests=2)
            calls = [asyncio.create_task(first.complete(chat(t), [], seed=1)) for t in texts]
            await wait_until(lambda: all(_noted(first)) and len(_noted(first)) == 2)
            await first.aclose()
            await asyncio.gather(*calls, return_exceptions=True)
            assert not server.cancelled  # they go on without us
            server.held = False
            second = open_upstream(server, tmp_path / "ledger")
            answers = await ask(second, *texts, "new")
            await second.aclose()
            return answers, server

    answers, server = asyncio.run(run())
    assert [answer.text for answer in answers] == [f"about {text}" for text in [*texts, "new"]]
    uploaded = [one for ids in server.uploads for one in ids]
    assert len(uploaded) == len(set(uploaded)) == 5
    assert sorted(uploaded) == sorted(server.asked)


def _noted(upstream):
    database = upstream._ledger._database
    return [batch for (batch,) in database.execute("SELECT batch FROM batches")]


@pytest.mark.parametrize("was_made", [False, True])
def test_a_run_killed_between_file_and_batch_goes_on_from_the_file(tmp_path, was_made):
    async def run():
        async with batch_server(echo) as server:
            first = open_upstream(server, tmp_path / "ledger")
            server.faults["create_late" if was_made else "create"] = [500]
            server.faults["list"] = [500] * 5
            (fault,) = await ask(first, "a")
            await first.aclose()
            assert isinstance(fault, UpstreamError)
            second = open_upstream(server, tmp_path / "ledger")
            answers = await ask(second, "a")
            await second.aclose()
            return answers, server

    (answer,), server = asyncio.run(run())
    assert answer.text == "about a"
    assert (len(server.uploads), len(server.batches)) == (1, 1)


def test_a_batch_is_looked_for_on_all_pages_of_the_list(tmp_path):
    async def run():
        async with batch_server(echo) as server:
            server.page = 1
            first = open_upstream(server, tmp_path / "ledger")
            await ask(first, "other")
            server.faults = {"create_late": [500], "list": [500] * 5}
            await ask(first, "a")
            await first.aclose()
            second = open_upstream(server, tmp_path / "ledger")
            answers = await ask(second, "a")
            await second.aclose()
            return answers, server

    (answer,), server = asyncio.run(run())
    assert answer.text == "about a"
    assert len(server.batches) == 2


def test_a_batch_is_found_in_a_list_in_the_form_of_vertex_ai(monkeypatch):
    from litellm.llms.vertex_ai.batches.transformation import VertexAIBatchTransformation as Form

    def job(number):
        return {
            "name": f"projects/1/locations/somewhere/batchPredictionJobs/{number}",
            "state": "JOB_STATE_RUNNING",
            "createTime": "2026-01-01T00:00:00.000000Z",
            "inputConfig": {"gcsSource": {"uris": [f"gs://bucket/{number}"]}},
        }

    pages = {
        None: {"batchPredictionJobs": [job(1), job(2)], "nextPageToken": "second"},
        "second": {"batchPredictionJobs": [job(3)]},
    }

    async def list_batches(*, after, **_):
        return Form.transform_vertex_ai_batch_list_response_to_openai_list_response(pages[after])

    monkeypatch.setattr(litellm, "alist_batches", list_batches)
    provider = BatchProvider(
        "vertex_ai/gemini-2.5-flash", api_key=None, api_base=None, timeout_s=60.0, undrawn=()
    )
    found = asyncio.run(provider.find("gs://bucket/3"))
    assert found is not None
    assert found.id == "3"
    assert asyncio.run(provider.find("gs://bucket/4")) is None


def _refuse_first(server):
    """Has no room for the first batch."""

    def end(batch):
        if batch.id == "batch-0":
            batch.status, batch.codes = "failed", ("token_limit_exceeded",)
        else:
            server.complete(batch)

    server.end = end


def test_a_run_killed_while_a_batch_was_made_again_finds_that_one(tmp_path):
    async def run():
        async with batch_server(echo) as server:
            _refuse_first(server)
            first = open_upstream(server, tmp_path / "ledger")
            note = first._ledger.note_batch

            def killed(number, batch):
                if batch == "batch-1":
                    raise StorageError("killed")
                note(number, batch)

            first._ledger.note_batch = killed
            await ask(first, "a")
            await first.aclose()
            second = open_upstream(server, tmp_path / "ledger")
            answers = await ask(second, "a")
            await second.aclose()
            return answers, server

    (answer,), server = asyncio.run(run())
    assert answer.text == "about a"
    assert (len(server.uploads), len(server.batches)) == (1, 2)


def test_a_batch_that_was_made_again_behind_a_fault_is_found(tmp_path):
    async def talking(upstream, server):
        _refuse_first(server)
        asked = asyncio.create_task(ask(upstream, "a"))
        await server.made.wait()
        server.faults["create_late"] = [500]
        return await asked, server

    (answer,), server = talk(tmp_path, talking)
    assert answer.text == "about a"
    assert len(server.batches) == 2


def test_a_line_is_an_answer_once_and_a_repeat_is_a_new_request(tmp_path):
    """The engine repeats what drew nothing; such a repeat must not meet the old line again."""

    async def run():
        async with batch_server(lambda _: Step(fault=Fault.STATUS, status=429)) as server:
            for run_number in range(2):
                upstream = open_upstream(server, tmp_path / "ledger")
                (fault,) = await ask(upstream, "a")
                assert (fault.status, fault.undrawn) == (429, True)
                assert len(server.uploads) == 1
                if run_number:
                    server.script = echo
                    (answer,) = await ask(upstream, "a")
                await upstream.aclose()
            return answer, server

    answer, server = asyncio.run(run())
    assert answer.text == "about a"
    assert len(server.uploads) == 2


def test_a_batch_that_is_gone_at_the_provider_is_no_answer(tmp_path):
    async def run():
        async with batch_server(echo) as server:
            first = open_upstream(server, tmp_path / "ledger")
            await ask(first, "a")
            await first.aclose()
            second = open_upstream(server, tmp_path / "ledger")
            server.faults["retrieve"] = [404]
            (fault,) = await ask(second, "a")
            await second.aclose()
            return fault, server

    fault, server = asyncio.run(run())
    assert (fault.status, fault.transient) == (404, False)
    assert len(server.uploads) == 1


def test_the_ledger_holds_no_content_and_no_key(tmp_path):
    async def talking(upstream, server):
        await ask(upstream, "a secret question")
        return upstream

    upstream = talk(tmp_path, talking, script=lambda _: "a secret answer")
    file = tmp_path / "ledger"
    raw = file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for word in (b"secret", KEY.encode(), b"gpt-4o"):
        assert word not in raw
    assert attempt_salt(upstream) in raw


def test_a_ledger_serves_one_process_at_a_time(tmp_path):
    async def talking(upstream, server):
        with pytest.raises(ConfigError, match="another process uses this ledger"):
            open_upstream(server, tmp_path / "ledger")

    talk(tmp_path, talking)


@pytest.mark.parametrize("content", [b"something else\n" * 100, b"SQLite format 3\0" + bytes(200)])
def test_a_file_that_is_no_ledger_is_left_as_it_is(tmp_path, content):
    (tmp_path / "ledger").write_bytes(content)
    with pytest.raises(ConfigError, match="ledger"):
        talk(tmp_path, lambda *_: None)
    assert (tmp_path / "ledger").read_bytes() == content


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    async def talking(upstream, server):
        monkeypatch.setattr("tempfile.TemporaryFile", full)
        return await ask(upstream, "a"), server

    (fault,), server = talk(tmp_path, talking)
    assert isinstance(fault, StorageError)
    assert "TMPDIR" in str(fault)
    assert not server.uploads


@pytest.mark.parametrize("model", ["gpt-4o-mini", "anthropic/claude-sonnet-4-5", "bedrock/x"])
def test_a_provider_without_batches_in_this_form_is_named_at_the_start(tmp_path, model):
    with pytest.raises(ConfigError, match="carries no batches"):
        LiteLLMBatch(model, ledger=tmp_path / "ledger")
    assert not (tmp_path / "ledger").exists()


def test_a_ledger_is_needed():
    with pytest.raises(ConfigError, match="which batches were paid for"):
        LiteLLMBatch(MODEL)


def test_what_it_says_of_itself(tmp_path):
    upstream = LiteLLMBatch(MODEL, ledger=tmp_path / "ledger", price_share=0.5)
    assert (upstream.name, price_share(upstream)) == (f"litellm_batch:{MODEL}", 0.5)
    assert KEY not in repr(upstream)
    assert asyncio.run(upstream.models()) == [MODEL]
    assert upstream.provider_model("anything") == MODEL
