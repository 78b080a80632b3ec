import asyncio

import pytest

from guardrail.errors import UpstreamError
from guardrail.upstreams.base import Upstream
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, Scripted, State, Step
from guardrail.upstreams.scripted_server import scripted_server


def ask(upstream, chat, pictures=(), seed=1):
    return asyncio.run(upstream.complete(chat, pictures, seed=seed))


def test_steps_are_taken_in_order_and_the_last_one_goes_on(make_chat):
    upstream = Scripted(["one", Step("two", finish_reason="length")])
    answers = [ask(upstream, make_chat(0)) for _ in range(3)]
    assert [(a.text, a.finish_reason) for a in answers] == [
        ("one", "stop"),
        ("two", "length"),
        ("two", "length"),
    ]


def test_a_function_sees_the_call(make_chat, make_picture):
    upstream = Scripted(lambda call: f"{call.index} {call.seed} {call.pictures[0].shape}")
    chat = make_chat(1, top_k=3)
    assert ask(upstream, chat, [make_picture(2, 4)], seed=77).text == "0 77 (2, 4, 3)"
    assert upstream.calls[0].body == {
        "top_k": 3,
        "model": "some-model",
        "messages": list(chat.messages),
    }


def test_it_is_an_upstream(make_chat):
    upstream = Scripted(["x"], model="fake")
    assert isinstance(upstream, Upstream)
    assert (upstream.name, upstream.revision) == ("fake", "fake")
    assert asyncio.run(upstream.models()) == ["fake"]
    asyncio.run(upstream.aclose())
    assert upstream.closed


def test_pictures_must_fit_the_chat(make_chat):
    with pytest.raises(UpstreamError):
        ask(Scripted(["x"]), make_chat(1))


def test_cancelled_and_concurrent_calls_are_counted(make_chat):
    async def run():
        upstream = Scripted(lambda call: Step(fault=Fault.HANG if call.seed % 2 else None))
        calls = [asyncio.create_task(upstream.complete(make_chat(0), [], seed=i)) for i in range(6)]
        await asyncio.gather(*calls[::2])
        assert (upstream.log.in_flight, upstream.log.peak_in_flight) == (3, 6)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        return [call.state for call in upstream.calls], upstream.log.in_flight

    states, in_flight = asyncio.run(run())
    assert states == [State.ANSWERED, State.CANCELLED] * 3
    assert in_flight == 0


def test_a_gate_is_waited_for(make_chat):
    async def run():
        gate = asyncio.Event()
        upstream = Scripted([Step("late", gate=gate)])
        call = asyncio.create_task(upstream.complete(make_chat(0), [], seed=1))
        for _ in range(5):
            await asyncio.sleep(0)
        assert upstream.log.in_flight == 1
        gate.set()
        return await call

    assert asyncio.run(run()).text == "late"


def test_delays_pass_before_the_answer(make_chat):
    async def run():
        upstream = Scripted([Step("late", delay_s=0.05)])
        started = asyncio.get_running_loop().time()
        await upstream.complete(make_chat(0), [], seed=1)
        return asyncio.get_running_loop().time() - started

    assert asyncio.run(run()) >= 0.05


@pytest.mark.parametrize("step", [Step(fault=Fault.HANG), Step(delay_s=60)])
def test_a_timeout_ends_what_hangs(make_chat, step):
    upstream = Scripted([step], timeout_s=0.02)
    with pytest.raises(UpstreamError) as caught:
        ask(upstream, make_chat(0))
    assert caught.value.status == 504
    assert upstream.calls[0].state is State.FAILED


def test_a_crash_is_no_error_of_ours(make_chat):
    upstream = Scripted([Step(fault=Fault.CRASH)])
    with pytest.raises(RuntimeError):
        ask(upstream, make_chat(0))
    assert upstream.calls[0].state is State.FAILED


def outcome(upstream, chat):
    async def run():
        try:
            return await upstream.complete(chat, [], seed=1)
        except UpstreamError as error:
            return error.status, error.transient, error.retry_after_s
        finally:
            await upstream.aclose()

    return run()


STEPS = [
    Step("text", finish_reason="length"),
    Step(message={"content": None, "refusal": "No."}),
    Step(response={"choices": []}),
    Step(response={"choices": [{"message": {"content": "own"}}], "model": "m"}),
    *(
        Step(fault=Fault.STATUS, status=status, retry_after="2")
        for status in (400, 401, 404, 429, 500, 503)
    ),
    *(Step(fault=fault) for fault in Fault if fault is not Fault.CRASH),
]


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_in_process_and_over_sockets_a_step_means_the_same(make_chat, step):
    hangs = step.fault in (Fault.HANG, Fault.DRIP)

    async def over_sockets():
        async with scripted_server([step]) as server:
            timeout_s = 0.15 if hangs else 60.0
            upstream = OpenAICompatible(server.base_url, timeout_s=timeout_s)
            return await outcome(upstream, make_chat(0))

    in_process = outcome(Scripted([step], timeout_s=0.02 if hangs else 60.0), make_chat(0))
    assert asyncio.run(in_process) == asyncio.run(over_sockets())
