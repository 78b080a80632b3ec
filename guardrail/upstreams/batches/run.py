"""One batch from its first request to its last line."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, TypeVar

from guardrail.errors import GuardrailError, StorageError, UpstreamError
from guardrail.upstreams.batches.ledger import Submitted
from guardrail.upstreams.batches.results import BatchResults
from guardrail.upstreams.batches.spool import Spool
from guardrail.upstreams.faults import UPSTREAM_AUTH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence

    from guardrail.upstreams.batches.ledger import BatchLedger
    from guardrail.upstreams.batches.provider import BatchProvider, BatchState
    from guardrail.upstreams.batches.settings import BatchSettings

__all__ = ["BatchRun"]

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_TRIES = 5
_GROWTH = 1.5


class BatchRun:
    """A batch, and those who wait for its lines; used on one event loop.

    Its stages, see `_run_new`: gather, upload, note, make, wait, read. A fault ends them all, and
    everyone who waits is told it.

    Args:
        provider: of the batches.
        ledger: what is sent is noted there.
        settings: how long to gather and to wait.
        is_called: whether any request is about to come.
        earlier: a batch that an earlier run has made, or was about to; None for a new one, which is
            open for requests.
    """

    def __init__(
        self,
        provider: BatchProvider,
        ledger: BatchLedger,
        settings: BatchSettings,
        *,
        is_called: Callable[[], bool] = lambda: False,
        earlier: Submitted | None = None,
    ) -> None:
        self.is_open = earlier is None
        self._provider = provider
        self._ledger = ledger
        self._settings = settings
        self._is_called = is_called
        self._is_resumed = earlier is not None
        self._spool = Spool()
        self._waiting = Counter[str]()
        self._changed = asyncio.Event()
        stages = self._run_new() if earlier is None else self._go_on(earlier)
        self._task = asyncio.create_task(self._or_fault(stages))

    @property
    def is_over(self) -> bool:
        return self._task.done()

    @property
    def has_failed(self) -> bool:
        """Whether it is over, and nobody gets anything of it."""
        return self.is_over and (self._task.cancelled() or self._task.result().fault is not None)

    def when_over(self, call: Callable[[BatchRun], None]) -> None:
        """Has `call` called once it is over, before those who wait go on."""
        self._task.add_done_callback(lambda _: call(self))

    def has_room(self, size_bytes: int) -> bool:
        """Whether a request of this size can be added."""
        fits = self._spool.size_bytes + size_bytes <= self._settings.max_bytes
        return self.is_open and fits and len(self._spool) < self._settings.max_requests

    def holds(self, request_id: str) -> bool:
        return request_id in self._spool

    def add(self, request_id: str, line: Sequence[bytes]) -> None:
        """Adds a request. Raises StorageError."""
        self._spool.add(request_id, line)
        if len(self._spool) >= self._settings.max_requests:
            self.is_open = False
        self._changed.set()

    def close(self) -> None:
        """Takes no more requests."""
        self.is_open = False
        self._changed.set()

    async def wait(self, request_id: str) -> bytes:
        """The line of a request. Raises UpstreamError or StorageError."""
        self._waiting[request_id] += 1
        try:
            await asyncio.wait({self._task})
        finally:
            self._waiting[request_id] -= 1
            if not self._waiting[request_id]:
                del self._waiting[request_id]
        if self._task.cancelled():
            raise UpstreamError("the guard is shutting down; call it again", status=503)
        return self._task.result().find(request_id)

    async def aclose(self) -> None:
        """Stops waiting; the batch itself goes on, and a later run finds it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._spool.close()

    async def _or_fault(self, stages: Coroutine[None, None, BatchResults]) -> BatchResults:
        """What the stages make; every fault is one of all that wait."""
        try:
            return await stages
        except GuardrailError as fault:
            return BatchResults(fault=fault)
        except Exception as error:  # noqa: BLE001 (a crash must fail closed)
            name = type(error).__name__
            _log.error("a batch crashed: %s", name)
            return BatchResults(
                fault=UpstreamError(f"the guard's batch crashed ({name})", status=500)
            )
        finally:
            self.is_open = False
            self._spool.close()

    async def _run_new(self) -> BatchResults:
        await self._gather()
        wanted = set(self._waiting)
        if not wanted:
            return _give_up_results()
        with await asyncio.to_thread(self._spool.open, wanted) as lines:
            file = await self._repeat(lambda: self._upload(lines))
        self._spool.close()
        number = await asyncio.to_thread(self._ledger.note_file, file, wanted)
        batch = await self._create(file, number)
        _log.info("batch %s of %d requests was made", batch, len(wanted))
        return await self._await_results(Submitted(number, file, batch), self._pauses())

    async def _go_on(self, earlier: Submitted) -> BatchResults:
        """What comes of a batch of an earlier run. With a wrong key it is left to a later one.

        Raises:
            UpstreamError: nothing can be had of it.
            StorageError: the provider refuses the key.
        """
        try:
            return await self._run_earlier(earlier)
        except UpstreamError as fault:
            if fault.code != UPSTREAM_AUTH:
                raise
        raise StorageError(
            "batches that an earlier run has paid for cannot be read, as the provider refuses the "
            "key; give a key of the account that made them, and call the same command again"
        )

    async def _run_earlier(self, earlier: Submitted) -> BatchResults:
        batch = earlier.batch
        if not batch:
            found = await self._repeat(lambda: self._provider.find(earlier.file))
            if found is None:  # the earlier run was ended before it asked for one
                batch = await self._create(earlier.file, earlier.number)
            else:
                batch = found.id
                await asyncio.to_thread(self._ledger.note_batch, earlier.number, batch)
        _log.info("batch %s of an earlier run is waited for", batch)
        submitted = replace(earlier, batch=batch)
        return await self._await_results(submitted, chain([0.0], self._pauses()))

    async def _gather(self) -> None:
        """Returns once the batch is full or no more calls come."""
        loop, settings = asyncio.get_running_loop(), self._settings
        end = loop.time() + settings.gather_s
        while self.is_open and loop.time() < end:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(min(loop.time() + settings.settle_s, end)):
                    await self._changed.wait()
            except TimeoutError:
                if not self._is_called():
                    break
        self.is_open = False

    async def _upload(self, lines: IO[bytes]) -> str:
        lines.seek(0)
        return await self._provider.upload(lines)

    async def _create(self, file: str, number: int) -> str:
        """Has the batch made, and notes it. Where the provider has no room it is asked later.

        Raises:
            UpstreamError: it refuses the batch, or it is not known whether it made one.
        """
        for pause in self._pauses():
            try:
                state = await self._provider.create(file)
            except UpstreamError as fault:
                if fault.transient and fault.undrawn:
                    last = fault
                    await asyncio.sleep(max(pause, fault.retry_after_s or 0.0))
                    continue
                state = await self._find_after(fault, file)
            await asyncio.to_thread(self._ledger.note_batch, number, state.id)
            return state.id
        raise last

    async def _find_after(self, fault: UpstreamError, file: str) -> BatchState:
        """The batch that was made although its making ended in a fault, else raises the fault."""
        found = None
        if fault.transient:
            with suppress(UpstreamError):
                found = await self._repeat(lambda: self._provider.find(file))
        if found is None:
            raise fault
        return found

    async def _await_results(self, batch: Submitted, pauses: Iterable[float]) -> BatchResults:
        """Looks at a batch after each of these pauses until it has ended, and reads its lines."""
        is_own = not self._is_resumed
        for pause in pauses:
            await asyncio.sleep(pause)
            if is_own and not self._waiting:  # every decision has done without it
                await self._cancel(batch)
                return _give_up_results()
            state = await _or_none(self._provider.retrieve(batch.batch))
            if state is None or not state.has_ended:
                continue
            if state.lacks_room:
                batch = await self._make_again(batch)
                continue
            results = await _or_none(self._read(state))
            if results is not None:
                return results
        await self._cancel(batch)
        raise UpstreamError(
            "the provider's batch did not end, or its results could not be read, within "
            f"{self._settings.give_up_s:g} s; it was cancelled. Raise batch.give_up_s, or look at "
            "the provider's page of batches",
            status=504,
            transient=True,
            code="upstream_timeout",
        )

    async def _make_again(self, batch: Submitted) -> Submitted:
        """Another batch of the same file, in place of one for which there was no room."""
        # Whoever comes after a kill now looks for it in the provider's list before making a third.
        await asyncio.to_thread(self._ledger.note_batch, batch.number, "")
        return replace(batch, batch=await self._create(batch.file, batch.number))

    async def _read(self, state: BatchState) -> BatchResults:
        if state.is_refused:
            word = f" ({state.codes[0]})" if state.codes else ""
            raise UpstreamError(
                f"the provider refused the whole batch{word}; check that the model takes batches, "
                "the request's parameters and the provider's page of batches",
                code=state.codes[0] if state.codes else "batch_failed",
            )
        results = BatchResults(state.status)
        for file in state.outputs:
            async for line in self._provider.read(file, self._settings.max_output_bytes):
                results.add(line)
        return results

    async def _cancel(self, batch: Submitted) -> None:
        with suppress(UpstreamError):
            await self._provider.cancel(batch.batch)
            _log.info("batch %s was cancelled", batch.batch)

    async def _repeat(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """What a call gives that asks no model; made again after faults that may pass."""
        for pause in islice(self._pauses(), _TRIES - 1):
            try:
                return await call()
            except UpstreamError as fault:
                if not fault.transient:
                    raise
                await asyncio.sleep(max(pause, fault.retry_after_s or 0.0))
        return await call()

    def _pauses(self) -> Iterator[float]:
        """Growing pauses, of `give_up_s` or a little more together."""
        settings = self._settings
        total_s, pause_s = 0.0, settings.poll_s
        while total_s < settings.give_up_s:
            yield pause_s
            total_s += pause_s
            pause_s = min(pause_s * _GROWTH, settings.longest_poll_s)


async def _or_none(call: Awaitable[_T]) -> _T | None:
    """What a call gives; None where a fault came that may pass."""
    try:
        return await call
    except UpstreamError as fault:
        if not fault.transient:
            raise
        return None


def _give_up_results() -> BatchResults:
    """What comes of a batch for which nobody waits any more."""
    return BatchResults(fault=UpstreamError("nobody waited for this batch any more", status=500))
