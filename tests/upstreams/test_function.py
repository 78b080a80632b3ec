"""A model behind a function: sync, async, on another loop, and everything that it can raise."""

import asyncio
import functools
import threading

import numpy as np
import pytest

from guardrail.errors import ConfigError, RequestError, UpstreamError
from guardrail.types import Chat, picture_chat
from guardrail.upstreams.base import Upstream
from guardrail.upstreams.function import FunctionUpstream, fault_of

PICTURE = np.zeros((4, 4, 3), dtype=np.uint8)


def completion(text="A picture."):
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


def ask(call, chat=None, pictures=(PICTURE,), **options):
    upstream = FunctionUpstream(call, **options)
    return asyncio.run(upstream.complete(chat or picture_chat("m", "What?"), pictures, seed=1))


def test_it_is_an_upstream():
    upstream = FunctionUpstream(completion, name="mine", revision="7", models=["m"])
    assert isinstance(upstream, Upstream)
    assert (upstream.name, upstream.revision) == ("mine", "7 png")
    assert asyncio.run(upstream.models()) == ["m"]
    assert repr(upstream) == "FunctionUpstream('mine')"
    asyncio.run(upstream.aclose())


@pytest.mark.parametrize("fault", [StopIteration, StopIteration("quoted words")])
def test_an_iterator_at_its_end_is_a_fault_and_nobody_waits_for_ever(fault):
    def call(body):
        raise fault

    with pytest.raises(UpstreamError) as caught:
        ask(call)
    assert "quoted" not in str(caught.value)


def test_a_plain_function_runs_in_a_thread():
    threads = []

    def call(body):
        threads.append(threading.current_thread())
        assert body["model"] == "m"
        (picture, text) = body["messages"][0]["content"]
        assert picture["image_url"]["url"].startswith("data:image/png;base64,")
        assert text["text"] == "What?"
        return completion()

    assert ask(call).text == "A picture."
    assert threads[0] is not threading.current_thread()


async def asynchronous(body, text="A picture."):
    await asyncio.sleep(0)
    return completion(text)


class Callable:
    async def __call__(self, body):
        return await asynchronous(body)


@pytest.mark.parametrize(
    "call",
    [
        asynchronous,
        functools.partial(asynchronous, text="A picture."),
        Callable(),
        lambda body: asynchronous(body),
    ],
)
def test_async_functions_of_every_form(call):
    assert ask(call).text == "A picture."


def test_an_async_function_may_live_on_another_loop():
    home = asyncio.new_event_loop()
    thread = threading.Thread(target=home.run_forever)
    thread.start()

    async def call(_body):
        assert asyncio.get_running_loop() is home
        return completion()

    upstream = FunctionUpstream(call).on_loop(home)
    try:
        answer = asyncio.run(upstream.complete(Chat("m", ()), (), seed=1))
    finally:
        home.call_soon_threadsafe(home.stop)
        thread.join()
        home.close()
    assert answer.text == "A picture."


def test_calls_at_once_are_bounded():
    running = peak = 0

    async def call(_body):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.001)
        running -= 1
        return completion()

    async def main():
        upstream = FunctionUpstream(call, max_connections=2)
        await asyncio.gather(*(upstream.complete(Chat("m", ()), (), seed=i) for i in range(8)))

    asyncio.run(main())
    assert peak == 2


def test_cancelling_reaches_the_function():
    ended = []

    async def call(_body):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def main():
        async with asyncio.timeout(0.05):
            await FunctionUpstream(call).complete(Chat("m", ()), (), seed=1)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert ended == [True]


@pytest.mark.parametrize(
    "answer", [None, "text", {}, {"choices": []}, {"choices": [{"message": {}}]}]
)
def test_what_is_no_completion_is_a_fault(answer):
    with pytest.raises(UpstreamError) as caught:
        ask(lambda _: answer)
    assert caught.value.code in ("upstream_malformed_response", "upstream_empty_answer")


def test_several_choices_are_refused_before_the_call():
    with pytest.raises(RequestError):
        ask(completion, Chat("m", (), {"n": 2}), ())


def test_pictures_must_be_those_of_the_chat():
    with pytest.raises(UpstreamError, match="refers to 1 picture but"):
        ask(completion, pictures=())


def test_an_encoding_that_does_not_exist():
    with pytest.raises(ConfigError):
        FunctionUpstream(completion, variant_format="bmp")


# What it raises


class Response:
    def __init__(self, status_code, **headers):
        self.status_code = status_code
        self.headers = headers


class Status(Exception):  # noqa: N818 (named as a library might)
    def __init__(self, status_code, response=None):
        super().__init__("sk-secret and what the user said")
        self.status_code = status_code
        self.response = response


class ReadTimeout(Exception):  # noqa: N818
    pass


def wrapped(response):
    error = RuntimeError("sk-secret")
    error.response = response
    return error


@pytest.mark.parametrize(
    ("error", "status", "transient", "retry_after_s"),
    [
        (Status(401), 502, False, None),
        (Status(429, Response(429, **{"Retry-After": "4"})), 429, True, 4.0),
        (wrapped(Response(503)), 503, True, None),
        (Status("odd"), 502, True, None),
        (TimeoutError("sk-secret"), 504, True, None),
        (ReadTimeout("sk-secret"), 504, True, None),
        (ConnectionError("sk-secret"), 502, True, None),
        (RuntimeError("sk-secret"), 502, True, None),
        (ConfigError("sk-secret"), 500, False, None),
    ],
)
def test_whatever_is_raised_becomes_a_fault_that_quotes_nothing(
    error, status, transient, retry_after_s
):
    def call(_body):
        raise error

    with pytest.raises(UpstreamError) as caught:
        ask(call)
    fault = caught.value
    assert (fault.status, fault.transient) == (status, transient)
    assert fault.retry_after_s == retry_after_s
    assert "sk-secret" not in str(fault)
    assert type(fault.__cause__) is type(error)  # for whoever called in this process


def test_of_a_clients_error_nothing_is_kept():
    def call(_body):
        raise RuntimeError("sk-secret")

    with pytest.raises(UpstreamError) as caught:
        ask(call, one_request=True)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_what_the_function_finds_wrong_with_the_request_is_said():
    def call(_body):
        raise RequestError("input: send no pictures there")

    with pytest.raises(RequestError, match="no pictures there"):
        ask(call)


def test_a_fault_stays_itself():
    fault = UpstreamError("known", status=418)
    assert fault_of(fault) is fault
