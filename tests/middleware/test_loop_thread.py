"""The guard's own loop: asked from loops and from threads, cancelled, stopped, forgotten."""

import asyncio
import contextvars
import gc
import signal
import threading

import pytest

from guardrail.errors import ConfigError
from guardrail.middleware.loop_thread import LoopThread

WHERE = contextvars.ContextVar("where", default="nowhere")


@pytest.fixture
def home():
    made = LoopThread()
    yield made
    made.stop()


async def thread_name():
    return threading.current_thread().name


def test_work_runs_in_the_homes_own_thread(home):
    assert home.run_sync(thread_name()) == "guardrail-guard"
    assert asyncio.run(home.run(thread_name())) == "guardrail-guard"


def test_nothing_starts_before_it_is_asked():
    LoopThread()
    assert "guardrail-guard" not in [thread.name for thread in threading.enumerate()]


def test_work_sees_the_context_of_its_caller(home):
    async def where():
        return WHERE.get()

    async def called():
        WHERE.set("here")
        return await home.run(where())

    assert asyncio.run(called()) == "here"
    assert home.run_sync(where()) == "nowhere"


def test_what_is_raised_reaches_the_caller(home):
    async def fail():
        raise LookupError("x")

    with pytest.raises(LookupError):
        home.run_sync(fail())
    with pytest.raises(LookupError):
        asyncio.run(home.run(fail()))


def test_cancelling_the_caller_ends_the_work_first(home):
    seen = []

    async def work(begun):
        begun()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)  # tidying takes a while, and is waited for
            seen.append("ended")

    async def caller():
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.create_task(home.run(work(lambda: loop.call_soon_threadsafe(begun.set))))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return list(seen)

    assert asyncio.run(caller()) == ["ended"]


def test_cancelling_before_the_work_began_does_not_hang(home):
    async def work():
        await asyncio.Event().wait()

    async def caller():
        task = asyncio.create_task(home.run(work()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(caller())


def test_a_fault_while_being_cancelled_is_swallowed_quietly(home):
    async def work(begun):
        begun()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LookupError from None

    async def caller():
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        task = asyncio.create_task(home.run(work(lambda: loop.call_soon_threadsafe(begun.set))))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(caller())
    gc.collect()


def test_waiting_for_itself_is_refused(home):
    async def nested():
        with pytest.raises(ConfigError, match="own thread"):
            home.run_sync(thread_name())
        return True

    assert home.run_sync(nested())


def test_stopping_ends_what_runs_and_refuses_what_comes():
    home, begun = LoopThread(), threading.Event()

    async def work():
        begun.set()
        await asyncio.Event().wait()

    faults = []

    def wait():
        try:
            home.run_sync(work())
        except ConfigError as error:
            faults.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    home.stop()
    thread.join()
    assert "closed" in str(faults[0])
    with pytest.raises(ConfigError, match="closed"):
        home.run_sync(work())
    with pytest.raises(ConfigError, match="closed"):
        asyncio.run(home.run(work()))
    home.stop()


def test_an_awaiting_caller_hears_of_the_stop():
    home = LoopThread()

    async def caller():
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        async def work():
            loop.call_soon_threadsafe(begun.set)
            await asyncio.Event().wait()

        task = asyncio.create_task(home.run(work()))
        await begun.wait()
        await asyncio.to_thread(home.stop)
        with pytest.raises(ConfigError, match="closed"):
            await task

    asyncio.run(caller())


def test_an_interrupt_of_the_waiting_thread_ends_the_work(home):
    ended = threading.Event()

    async def work():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        home.run_sync(work())
    assert ended.wait(30)


@pytest.mark.parametrize("handed_over", [False, True])
def test_an_interrupt_while_the_work_begins_ends_it_too(home, monkeypatch, handed_over):
    begun, ended, begin = threading.Event(), threading.Event(), LoopThread._begin

    async def work():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    def interrupted(self, job):
        if handed_over:
            begin(self, job)
            assert begun.wait(30)
        raise KeyboardInterrupt

    made = work()
    with monkeypatch.context() as patched:
        patched.setattr(LoopThread, "_begin", interrupted)
        with pytest.raises(KeyboardInterrupt):
            home.run_sync(made)
    if handed_over:
        assert ended.wait(30)
    with pytest.raises(RuntimeError, match="reuse"):
        made.send(None)  # it has ended, or was closed before it began
    assert home.run_sync(_given(3)) == 3


async def _given(value):
    return value
