"""Draws the samples of one decision side by side, and hands their outcomes to the certifier."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from guardrail.engine.verdict import Sample
    from guardrail.types import Outcome

__all__ = ["OutcomeCounter", "fan_out"]


class OutcomeCounter(Protocol):
    """Counts outcomes until it decides; see `Certifier`, whose methods these are."""

    @property
    def decision(self) -> object | None: ...

    def launch(self, room: int) -> Sequence[int]: ...

    def record(self, index: int, outcome: Outcome) -> None: ...


async def fan_out(
    counter: OutcomeCounter,
    draw: Callable[[int], Coroutine[None, None, Sample]],
    *,
    max_parallel: int,
    samples: dict[int, Sample],
) -> None:
    """Runs `draw` for the indices that the counter asks for until it decides.

    At most `max_parallel` draws are in flight. However this ends (decision, fault, cancellation),
    those still in flight are cancelled and waited for. Every finished sample is put into
    `samples` at once, so that a caller who stops this early keeps what was drawn.

    Raises:
        Exception: what a draw raised before the decision fell; later faults change nothing.
    """
    tasks: set[asyncio.Task[Sample]] = set()
    running: set[asyncio.Task[Sample]] = set()
    try:
        while counter.decision is None:
            for index in counter.launch(max_parallel - len(running)):
                running.add(asyncio.create_task(draw(index)))
            tasks |= running
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            _record_finished(counter, done, samples)
    finally:
        # Also those that are done: a fault that is never retrieved would be logged.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _record_finished(
    counter: OutcomeCounter, done: set[asyncio.Task[Sample]], samples: dict[int, Sample]
) -> None:
    """Hands what has arrived to the counter, samples before faults."""
    for task in sorted(done, key=_has_failed):
        if counter.decision is not None and _has_failed(task):
            return
        sample = task.result()
        samples[sample.index] = sample
        counter.record(sample.index, sample.outcome)


def _has_failed(task: asyncio.Task[Sample]) -> bool:
    return task.cancelled() or task.exception() is not None
