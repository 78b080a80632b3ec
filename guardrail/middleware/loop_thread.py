"""An event loop in a thread of its own, so that a guard belongs to no loop of its callers."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Closing: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

__all__ = ["Closing", "LoopThread"]

_CLOSING_S = 10.0
_T = TypeVar("_T")


class LoopThread:
    """Runs coroutines for callers in any thread, on a loop or on none; starts when first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = False

    async def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What `work` returns or raises. If this is cancelled, so is `work`, and waited for."""
        job = _Job(work)
        self._begin(job)
        waiting = asyncio.wrap_future(job.result)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if waiting.cancelled() and not _is_cancelled():
                raise _closed_error() from None
            job.cancel()
            await asyncio.wait({waiting})
            if not waiting.cancelled():
                waiting.exception()  # asked for, else it would be logged
            raise

    def run_sync(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The same for a caller whose thread waits."""
        if threading.current_thread() is self._thread:
            work.close()
            raise ConfigError("called from the guard's own thread; await the async form there")
        job = _Job(work)
        try:
            self._begin(job)  # in here, as an interrupt may come while it has just begun
            return job.result.result()
        except CancelledError:
            raise _closed_error() from None
        except KeyboardInterrupt:
            job.cancel()
            raise

    def stop(self, closing: Closing | None = None) -> None:
        """Cancels what still runs and ends the thread, for good.

        `closing` closes what belongs to the loop before; it has as long as `_CLOSING_S`, and
        nothing is to close where the loop never ran.
        """
        with self._lock:
            self._stopped = True
            loop, thread = self._loop, self._thread
            self._loop = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(_end, loop, closing)
            if thread is not threading.current_thread():
                thread.join()

    def _begin(self, job: _Job[_T]) -> None:
        """Starts the job in the context of its caller. Raises ConfigError once this is stopped."""
        with self._lock:
            if not self._stopped:
                job.loop = self._ensure_started()
                job.loop.call_soon_threadsafe(job.begin, job.loop)
                return
        job.work.close()
        raise _closed_error()

    def _ensure_started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon: a guard that is never closed must not keep the process from ending.
            self._thread = threading.Thread(
                target=_serve, args=(self._loop,), name="guardrail-guard", daemon=True
            )
            self._thread.start()
        return self._loop


@dataclass(slots=True, eq=False)
class _Job(Generic[_T]):
    """One coroutine on the loop; `result` is settled only once it has ended."""

    work: Coroutine[Any, Any, _T]
    loop: asyncio.AbstractEventLoop | None = None
    result: Future[_T] = field(default_factory=Future)
    task: asyncio.Task[_T] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self.task = loop.create_task(self.work)
        self.task.add_done_callback(self._settle)

    def cancel(self) -> None:
        if self.loop is None:
            self.work.close()
            return
        with suppress(RuntimeError):  # the loop is closed, so the work has ended
            self.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self.task is None:  # interrupted before it was handed over
            self.work.close()
        else:
            self.task.cancel()

    def _settle(self, task: asyncio.Task[_T]) -> None:
        if task.cancelled():
            self.result.cancel()
        elif (error := task.exception()) is not None:
            self.result.set_exception(error)
        else:
            self.result.set_result(task.result())


def _end(loop: asyncio.AbstractEventLoop, closing: Closing | None) -> None:
    """Closes and stops; runs on the loop."""
    if closing is None:
        loop.stop()
        return

    async def close() -> None:
        with suppress(Exception):  # nobody is left to be told
            await asyncio.wait_for(closing(), _CLOSING_S)

    task = loop.create_task(close())
    task.add_done_callback(lambda _: loop.stop())


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:  # cancels what is left at its end
        runner.get_loop().run_forever()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _closed_error() -> ConfigError:
    return ConfigError("this guard is closed; make a new one")
