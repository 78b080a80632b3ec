"""A guard in process: in loops and out of them, around functions, blocks, faults and life."""

import asyncio
import dataclasses
import gc
import json
import threading
import traceback
from pathlib import Path

import openai
import pytest

import guardrail
from guardrail import (
    ConfigError,
    ContentBlocked,
    FunctionUpstream,
    Guard,
    LimitError,
    OracleError,
    RequestError,
    UpstreamError,
)
from guardrail.engine.certificate.codec import encode_certificate
from guardrail.engine.verdict import Action, Reason
from guardrail.policy.shipped import shipped_policy
from guardrail.records.query import open_source
from guardrail.testing.scenarios import SCENARIOS
from guardrail.testing.stage import running_model
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Scripted, State, Step


def said(completion):
    return completion["choices"][0]["message"]["content"]


@pytest.fixture
def guard(kit):
    with kit.make_guard(lambda _: kit.completion()) as made:
        yield made


def harmful(kit):
    return kit.make_guard(lambda _: kit.completion(kit.HARM))


# Answers


def test_a_picture_is_certified(guard, kit):
    completion = guard.complete_sync(kit.request(1))
    assert said(completion) == "A picture."
    about = completion["guardrail"]
    assert about["decision"] == "pass"
    assert about["certificate"]["radius"] >= 0.25
    assert completion["usage"]["prompt_tokens"] == 7 * about["calls"]


def test_the_same_inside_a_loop(guard, kit):
    assert said(asyncio.run(guard.complete(kit.request(1)))) == "A picture."


def test_one_guard_serves_many_loops_and_threads(guard, kit):
    async def many():
        return await asyncio.gather(*(guard.complete(kit.request(1, seed=i)) for i in range(3)))

    for _ in range(2):
        assert [said(done) for done in asyncio.run(many())] == ["A picture."] * 3
    with_threads = [threading.Thread(target=guard.complete_sync, args=(kit.request(),))]
    for thread in with_threads:
        thread.start()
        thread.join()


def test_sync_use_inside_a_running_loop(guard, kit):
    async def inside():
        return guard.complete_sync(kit.request(1))

    assert said(asyncio.run(inside())) == "A picture."


def test_an_async_function_is_awaited_on_its_callers_loop(kit):
    loops = set()

    async def ask(_):
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return kit.completion()

    async def main(guard):
        await guard.complete(kit.request(1))
        return asyncio.get_running_loop()

    with kit.make_guard(ask) as guard:
        assert {asyncio.run(main(guard))} == loops


def test_an_async_function_without_a_callers_loop(kit):
    async def ask(_):
        await asyncio.sleep(0)
        return kit.completion()

    with kit.make_guard(ask) as guard:
        assert said(guard.complete_sync(kit.request(1))) == "A picture."


def test_a_function_gets_the_request_with_noisy_pictures(kit):
    bodies = []

    def ask(body):
        bodies.append(body)
        return kit.completion()

    with kit.make_guard(ask) as guard:
        guard.complete_sync(kit.request(2, temperature=0.5, user="someone"))
    parts = [body["messages"][0]["content"] for body in bodies]
    assert all(body["temperature"] == 0.5 and "stream" not in body for body in bodies)
    urls = {part["image_url"]["url"] for content in parts for part in content[1:]}
    assert len(urls) == 2 * len(bodies)
    assert not urls & {kit.picture_url(0), kit.picture_url(1)}


def test_each_request_may_bring_its_own_model(guard, kit):
    upstream = FunctionUpstream(lambda _: kit.completion("Mine."), name="mine")
    assert said(guard.complete_sync(kit.request(1), upstream=upstream)) == "Mine."
    other = guard.complete_sync(kit.request(1), upstream=lambda _: kit.completion("Ours."))
    assert said(other) == "Ours."


def test_a_decision_tells_everything(guard, kit):
    result = guard.decide_sync(kit.request(1))
    assert result.verdict.action is Action.PASS
    assert result.certificate is result.verdict.certificate
    assert result.guardrail["record_id"] is result.record_id is None  # none are kept
    assert result.reply.headers["x-guardrail-decision"] == "pass"


def test_a_spec_names_the_upstream(kit):
    with kit.model(["Over HTTP."]) as model:
        spec = f"openai_compatible:{model.base_url}"
        with kit.make_guard(spec) as guard:
            assert said(guard.complete_sync(kit.request(1))) == "Over HTTP."


def test_a_model_in_this_process_answers_to_any_name_and_says_its_own(kit, tiny_llava):
    with kit.make_guard(f"transformers:{tiny_llava}") as guard:
        body = kit.request(0, max_tokens=2)
        assert body["model"] == "scripted"
        assert guard.complete_sync(body)["model"] != "scripted"


def test_what_shows_of_it_is_one_line(guard, kit):
    result = guard.decide_sync(kit.request(1))
    for shown in (guard, result, result.verdict, result.certificate):
        assert "\n" not in repr(shown)
        assert len(repr(shown)) < 400
        assert "What is this?" not in repr(shown)
    assert repr(guard).startswith("Guard(policy: test")
    assert "decision: pass, harmless: 21 of 21" in repr(result.certificate)
    assert repr(result.certificate) in repr(result.verdict)
    for shown in (guard, result.verdict, result.certificate):
        assert json.loads(json.dumps(shown.to_dict()))
        assert shown._repr_html_().startswith("<table>")  # notebooks ask by this name
    told = result.verdict.to_dict()
    assert (
        told["certificate"]
        == result.certificate.to_dict()
        == encode_certificate(result.certificate)
    )
    assert "A picture." not in json.dumps(told)


class Mine(Exception):  # noqa: N818 (anything that is not ours)
    """Raised by code of the caller's own."""


@pytest.mark.parametrize("images", [0, 1])
def test_what_the_callers_own_code_raises_is_the_cause(kit, images):
    def ask(_body):
        raise Mine("my own words")

    def judge(_text):
        raise Mine("my own words")

    class Crashing(kit.Words):
        async def judge(self, exchanges):  # noqa: ARG002 (the protocol's)
            raise Mine("my own words")

    asked = kit.request(images)
    with kit.make_guard(ask) as guard, pytest.raises(UpstreamError) as caught:
        guard.complete_sync(asked)
    faults = [caught.value]
    for oracle in (judge, Crashing()):
        made = kit.make_guard(lambda _: kit.completion(), oracle=oracle)
        with made as guard, pytest.raises(OracleError) as caught:
            guard.complete_sync(asked)
        faults.append(caught.value)
    for fault in faults:
        assert isinstance(fault.__cause__, Mine)
        assert "my own words" not in str(fault)
        frames = traceback.walk_tb(fault.__cause__.__traceback__)
        assert not any("_body" in frame.f_locals for frame, _ in frames)  # no request is held


# Blocks


def test_harm_in_a_field_beside_calm_content_is_raised_and_named(kit):
    """The oracle averages: joined with the content, the reasoning would be harmless."""

    def share(text):
        return min(1.0, 5 * text.count("forbidden") / len(text.split()))

    completion = kit.completion("the dog lies on green grass " * 80)
    completion["choices"][0]["message"]["reasoning_content"] = kit.HARM
    with (
        kit.make_guard(lambda _: completion, oracle=share) as guard,
        pytest.raises(ContentBlocked) as caught,
    ):
        guard.complete_sync(kit.request(1))
    (found,) = caught.value.verdict.harmful
    assert found.field == "reasoning_content"
    assert found.answers == caught.value.certificate.samples
    assert caught.value.guardrail["harmful_answers"] == [
        {"category": found.category, "field": "reasoning_content"}
    ]


def test_a_block_is_raised(kit):
    with harmful(kit) as guard, pytest.raises(ContentBlocked) as caught:
        guard.complete_sync(kit.request(1))
    error = caught.value
    assert str(error) == kit.make_policy().block.text
    assert error.verdict.reason is Reason.HARMFUL
    assert error.certificate.harmless == 0
    assert error.guardrail["record_id"] == error.record_id
    assert error.body["choices"][0]["finish_reason"] == "content_filter"


def test_or_a_block_is_a_refusal(kit):
    with harmful(kit) as guard:
        completion = guard.complete_sync(kit.request(1), on_block="refusal")
    message = completion["choices"][0]["message"]
    assert message["content"] == message["refusal"] == kit.make_policy().block.text


def test_the_choice_may_be_the_guards(kit):
    with kit.make_guard(lambda _: kit.completion(kit.HARM), on_block="refusal") as guard:
        assert said(guard.complete_sync(kit.request())) == kit.make_policy().block.text
    with pytest.raises(ConfigError, match="on_block"):
        kit.make_guard(on_block="ignore")


def test_the_words_name_the_record(kit, tmp_path):
    policy = kit.make_policy(block={"text": "{reason}: ask for {record_id}"})
    with pytest.raises(ConfigError, match="no records are kept"):
        kit.make_guard(policy=policy)
    made = kit.make_guard(
        lambda _: kit.completion(kit.HARM), policy=policy, records=tmp_path / "records.jsonl"
    )
    with made as guard, pytest.raises(ContentBlocked) as caught:
        guard.complete_sync(kit.request())
    assert str(caught.value) == f"harmful: ask for {caught.value.record_id}"


def test_a_block_that_is_an_error_by_policy_is_always_raised(kit):
    policy = kit.make_policy(block={"style": "error"})
    made = kit.make_guard(lambda _: kit.completion(kit.HARM), policy=policy, on_block="refusal")
    with made as guard, pytest.raises(ContentBlocked):
        guard.complete_sync(kit.request(1))


def test_shadow_mode_lets_through_and_marks(kit):
    policy = kit.make_policy(mode="observe")
    with kit.make_guard(lambda _: kit.completion(kit.HARM), policy=policy) as guard:
        completion = guard.complete_sync(kit.request(1))
    assert said(completion) == kit.HARM
    assert completion["guardrail"]["would_block"] is True


# Streams


def test_chunks_add_up_to_the_answer(guard, kit):
    async def gathered():
        return [chunk async for chunk in guard.stream(kit.request(1))]

    for chunks in (list(guard.stream_sync(kit.request(1))), asyncio.run(gathered())):
        deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks]
        assert "".join(deltas) == "A picture."
        assert chunks[-1]["guardrail"]["decision"] == "pass"


def test_no_chunk_of_a_blocked_answer_leaves(kit):
    with harmful(kit) as guard:
        with pytest.raises(ContentBlocked):
            list(guard.stream_sync(kit.request(1)))
        refused = list(guard.stream_sync(kit.request(1), on_block="refusal"))
    assert kit.HARM not in str(refused)
    assert refused[-1]["choices"][0]["finish_reason"] == "content_filter"


def test_usage_is_streamed_where_it_is_asked_for(guard, kit):
    body = kit.request(stream_options={"include_usage": True})
    assert list(guard.stream_sync(body))[-1]["usage"]["total_tokens"] == 12


# Faults


def test_a_model_that_is_down(kit):
    with (
        kit.model([Step(fault=Fault.STATUS, status=503)]) as model,
        kit.make_guard(f"openai_compatible:{model.base_url}") as guard,
        pytest.raises(UpstreamError) as caught,
    ):
        guard.complete_sync(kit.request(1))
    assert caught.value.status == 503
    assert caught.value.transient


def test_an_oracle_that_is_down(kit):
    class Down(kit.Words):
        async def judge(self, exchanges):  # noqa: ARG002 (the protocol's)
            raise OracleError("no judgement")

    with kit.make_guard(lambda _: kit.completion(), oracle=Down()) as guard:
        with pytest.raises(OracleError):
            guard.complete_sync(kit.request(1))
        result = guard.decide_sync(kit.request(1))
    assert result.verdict.action is Action.FAULT
    assert result.reply.status == 503


def test_a_limit_is_raised_as_what_it_is_and_not_as_a_block(kit):
    async def slow(_request):
        await asyncio.sleep(5.0)

    policy = kit.make_policy(limits={"deadline_s": 0.2})
    with kit.make_guard(slow, policy=policy) as guard:
        with pytest.raises(LimitError, match=r"limits\.deadline_s"):
            guard.complete_sync(kit.request(1), on_block="refusal")
        result = guard.decide_sync(kit.request(1))
    assert result.verdict.action is Action.FAULT
    assert (result.reply.status, result.reply.body["error"]["code"]) == (504, "deadline")
    assert result.reply.body["guardrail"]["reason"] == "deadline"


def test_a_guard_without_a_model_says_so(kit):
    with kit.make_guard() as guard, pytest.raises(ConfigError, match="no model of its own"):
        guard.complete_sync(kit.request())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 2}, "n"),
        ({"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": {1}}, None),
        ({"model": "m", "messages": [], "top_p": float("nan")}, None),
    ],
)
def test_a_request_that_cannot_be_read(guard, body, param):
    with pytest.raises(RequestError) as caught:
        guard.complete_sync(body)
    assert caught.value.param == param


def test_a_request_that_is_too_large(kit):
    policy = kit.make_policy(limits={"max_body_bytes": 1024})
    with (
        kit.make_guard(lambda _: kit.completion(), policy=policy) as guard,
        pytest.raises(RequestError) as caught,
    ):
        guard.complete_sync(kit.request(prompt="x" * 2000))
    assert caught.value.status == 413


def test_more_requests_than_may_wait_are_refused(kit):
    limits = {"max_concurrent_requests": 1, "max_waiting_requests": 0}
    policy = kit.make_policy(limits=limits)

    async def main():
        asked, go = asyncio.Event(), asyncio.Event()

        async def ask(_):
            asked.set()
            await go.wait()
            return kit.completion()

        async with kit.make_guard(ask, policy=policy) as guard:
            first = asyncio.create_task(guard.complete(kit.request()))
            await asked.wait()
            with pytest.raises(RequestError) as caught:
                await guard.complete(kit.request())
            go.set()
            assert said(await first) == "A picture."
            assert said(await guard.complete(kit.request())) == "A picture."
        return caught.value.code

    assert asyncio.run(main()) == "overloaded"


def test_cancelling_stops_every_call(kit):
    upstream = Scripted([Step(fault=Fault.HANG)])

    async def main():
        async with kit.make_guard(upstream) as guard:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await guard.complete(kit.request(1))
            return upstream.log.in_flight

    assert asyncio.run(main()) == 0
    assert {call.state for call in upstream.calls} <= {State.CANCELLED}
    assert upstream.closed


def test_cancelling_reaches_functions_on_the_callers_loop(kit):
    ended = []

    async def ask(_):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def main():
        async with kit.make_guard(ask) as guard:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await guard.complete(kit.request())

    asyncio.run(main())
    assert ended == [True]


# Records


def test_records_go_to_a_database(kit, tmp_path):
    file = tmp_path / "records.db"
    with kit.make_guard(lambda _: kit.completion(), records=str(file)) as guard:
        record_id = guard.complete_sync(kit.request(1))["guardrail"]["record_id"]
    with open_source(str(file)) as source:
        assert source.find(record_id).action == "pass"


def test_records_of_an_async_function_are_waited_for(kit):
    async def record(_verdict, _chat):
        return "an-async-name"

    with kit.make_guard(lambda _: kit.completion(), record=record) as guard:
        completion = guard.complete_sync(kit.request(1))
    assert completion["guardrail"]["record_id"] == "an-async-name"


def test_records_go_to_a_file(kit, tmp_path):
    file = tmp_path / "records.jsonl"
    with kit.make_guard(lambda _: kit.completion(), records=file) as guard:
        record_id = guard.complete_sync(kit.request(1))["guardrail"]["record_id"]
    assert record_id in file.read_text()


def test_or_to_a_function(kit):
    kept = []

    def record(verdict, chat):
        kept.append((verdict.action, chat.pictures))
        return "the-name"

    with kit.make_guard(lambda _: kit.completion(), record=record) as guard:
        completion = guard.complete_sync(kit.request(1))
    assert kept == [(Action.PASS, 1)]
    assert completion["guardrail"]["record_id"] == "the-name"


def test_but_not_to_both(kit, tmp_path):
    with pytest.raises(ConfigError, match="not both"):
        kit.make_guard(record=lambda *_: "", records=tmp_path / "r.jsonl")


def test_what_is_not_recorded_does_not_leave(kit):
    def record(_verdict, _chat):
        raise ConfigError("the disk is full")

    with (
        kit.make_guard(lambda _: kit.completion(), record=record) as guard,
        pytest.raises(ConfigError, match="disk is full"),
    ):
        guard.complete_sync(kit.request())


# Life


def test_policies_by_name_file_and_value(kit):
    for policy in ("default", Path(shipped_policy("strict")), kit.make_policy()):
        Guard(policy).close()
    with pytest.raises(ConfigError, match="no shipped policy"):
        Guard("no_such_policy")


def test_a_key_file_is_made_and_used_again(kit, tmp_path):
    file = tmp_path / "noise.key"
    ids = set()
    for _ in range(2):
        with kit.make_guard(lambda _: kit.completion(), key=file) as guard:
            ids.add(guard.decide_sync(kit.request(1)).certificate.key_id)
    assert file.exists()
    assert len(ids) == 1


def test_closing_closes_the_oracle_and_is_final(kit):
    oracle = kit.Words()
    guard = kit.make_guard(lambda _: kit.completion(), oracle=oracle)
    guard.close()
    guard.close()
    assert oracle.closed
    with pytest.raises(ConfigError, match="closed"):
        guard.complete_sync(kit.request())


def test_a_fault_while_closing_still_closes_the_rest(kit):
    class Stuck(Scripted):
        async def aclose(self):
            raise UpstreamError("stuck")

    oracle = kit.Words()
    guard = kit.make_guard(Stuck(["x"]), oracle=oracle)
    with pytest.raises(UpstreamError, match="stuck"):
        guard.close()
    assert oracle.closed
    with pytest.raises(ConfigError, match="closed"):
        guard.complete_sync(kit.request())


def test_a_guard_that_nobody_closes_leaves_no_thread(kit):
    guard = kit.make_guard(lambda _: kit.completion())
    guard.complete_sync(kit.request())
    before = {thread.name for thread in threading.enumerate()}
    del guard
    gc.collect()
    after = {thread.name for thread in threading.enumerate()}
    assert "guardrail-guard" in before - after


def test_the_front_door_names_what_it_has():
    assert set(dir(guardrail)) == set(guardrail.__all__)
    assert all(getattr(guardrail, name) for name in guardrail.__all__)
    with pytest.raises(AttributeError, match="nothing_such"):
        guardrail.nothing_such  # noqa: B018 (asked for on purpose)


class Client:
    """Looks like nothing that a guard knows."""


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("policy", wrong) for wrong in (None, 42, b"default", ["default"], Client())),
        *(("upstream", wrong) for wrong in (["builtin"], 42, Path("model"), object(), Client())),
        *(("upstreams", wrong) for wrong in (42, ["builtin"], Client())),
        *(("oracle", wrong) for wrong in (42, "builtin", ["builtin"], Client())),
        *(("key", wrong) for wrong in (42, b"secret", Client())),
        *(("record", wrong) for wrong in (42, "records.jsonl", [])),
        *(("records", wrong) for wrong in (42, [], print, Client())),
        *(("principal", wrong) for wrong in (42, b"ann", Client())),
        *(("ledger", wrong) for wrong in (42, {}, Client())),
        *(("on_block", wrong) for wrong in (1, None, "ignore")),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_argument_of_a_wrong_type_is_named(field, wrong):
    with pytest.raises(ConfigError) as raised:
        Guard(**{"policy": "quick", field: wrong})
    assert raised.value.field == field


def test_an_openai_client_as_upstream_is_sent_to_wrap():
    with (
        openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9/v1") as client,
        pytest.raises(ConfigError, match=r"guard\.wrap"),
    ):
        Guard("quick", client)


def test_several_upstreams_of_a_file_stand_in_for_each_other(tmp_path):
    file, clean = tmp_path / "upstreams.yaml", SCENARIOS[0]
    down = dataclasses.replace(clean, model_down=True)
    with running_model(down) as first, running_model(clean) as second:
        specs = [f"  - upstream: openai_compatible:{m.base_url}\n" for m in (first, second)]
        file.write_text("upstreams:\n" + "".join(specs))
        with Guard("quick", upstreams=file) as guard:
            result = guard.decide_sync(clean.request)
    assert result.verdict.action is Action.PASS
    assert result.verdict.upstream == OpenAICompatible(second.base_url).name
    assert len(first.calls) < len(second.calls)


def test_upstream_and_upstreams_are_not_both(tmp_path):
    with pytest.raises(ConfigError, match="not both"):
        Guard("quick", "builtin", upstreams=tmp_path / "upstreams.yaml")
