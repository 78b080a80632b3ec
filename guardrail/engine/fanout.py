"""Sends the variants of one decision, in parallel, and feeds the certifier."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from guardrail.engine.calls import Sample
    from guardrail.engine.certifier import Certifier

__all__ = ["fan_out"]


async def fan_out(
    certifier: Certifier,
    draw: Callable[[int], Coroutine[None, None, Sample]],
    *,
    max_parallel: int,
    samples: dict[int, Sample],
) -> None:
    """Runs `draw` for the indices the certifier asks for until it decides.

    At most `max_parallel` draws are in flight. However this ends (decision, fault, cancellation),
    those still in flight are cancelled and waited for. Every finished sample is put into
    `samples` at once, so that a caller who stops this early keeps what was learnt.

    Raises:
        Exception: what a draw raised before the decision fell; later faults change nothing.
    """
    tasks: set[asyncio.Task[Sample]] = set()
    running: set[asyncio.Task[Sample]] = set()
    try:
        while certifier.decision is None:
            for index in certifier.launch(max_parallel - len(running)):
                running.add(asyncio.create_task(draw(index)))
            tasks |= running
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            _feed(certifier, done, samples)
    finally:
        # All of them, also those that are done: a fault that nobody asks for would be logged.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _feed(
    certifier: Certifier, done: set[asyncio.Task[Sample]], samples: dict[int, Sample]
) -> None:
    """Hands what has arrived to the certifier, samples before faults."""
    for task in sorted(done, key=_has_failed):
        if certifier.decision is not None and _has_failed(task):
            return
        sample = task.result()
        samples[sample.index] = sample
        certifier.record(sample.index, sample.outcome)


def _has_failed(task: asyncio.Task[Sample]) -> bool:
    return task.cancelled() or task.exception() is not None
