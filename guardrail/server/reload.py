"""When a running server reads its policies again: on a signal, and when their files change."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

from guardrail.errors import GuardrailError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from guardrail.api.deployment import Deployment

__all__ = ["ignore_hangups", "reloading"]

_MOST_FILES = 10_000

_log = logging.getLogger(__name__)


@contextmanager
def ignore_hangups() -> Iterator[None]:
    """A SIGHUP ends no process meanwhile: there is nothing to reload yet, or no longer.

    Only in the main thread.
    """
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@asynccontextmanager
async def reloading(
    deployment: Deployment, folders: Iterable[Path], *, every_s: float, on_signal: bool
) -> AsyncIterator[None]:
    """Reloads meanwhile; a mistake in a file is logged, and the policies stay as they are.

    Args:
        deployment: what is reloaded.
        folders: where its files stand. Looking at a folder's times costs far less than reading a
            policy, which takes a quarter of a second of processor time.
        every_s: seconds from one look at the folders to the next; 0 never looks.
        on_signal: whether SIGHUP reloads; only in the main thread.
    """
    hangups = asyncio.Event()
    tasks = [asyncio.create_task(_reload_on(deployment, hangups))]
    if every_s > 0:
        tasks.append(asyncio.create_task(_watch(deployment, tuple(folders), every_s)))
    loop = asyncio.get_running_loop()
    if on_signal and hasattr(signal, "SIGHUP"):
        before = signal.getsignal(signal.SIGHUP)
        loop.add_signal_handler(signal.SIGHUP, hangups.set)
    try:
        yield
    finally:
        if on_signal and hasattr(signal, "SIGHUP"):
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, before)  # the loop leaves the system's default, an end
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _reload_on(deployment: Deployment, hangups: asyncio.Event) -> None:
    while True:
        await hangups.wait()
        hangups.clear()
        await _reload(deployment, "signal")


async def _watch(deployment: Deployment, folders: tuple[Path, ...], every_s: float) -> None:
    seen = await asyncio.to_thread(_look, folders)
    while True:
        await asyncio.sleep(every_s)
        now = await asyncio.to_thread(_look, folders)
        if now != seen:
            seen = now
            await _reload(deployment, "file")


async def _reload(deployment: Deployment, cause: str) -> None:
    try:
        await deployment.reload(cause)
    except GuardrailError as error:
        _log.error("the policies were not reloaded, and those in use stay: %s", error)
    except Exception as error:  # noqa: BLE001 (a crash here must not end the watching)
        _log.error("the policies were not reloaded: crashed (%s)", type(error).__name__)


def _look(folders: tuple[Path, ...]) -> list[tuple[str, int, int]]:
    """Name, time and size of every file; links are followed, so that a swapped link shows."""
    found = []
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for _, entry in zip(range(_MOST_FILES), entries, strict=False):
                with suppress(OSError):
                    about = entry.stat()
                    found.append((entry.path, about.st_mtime_ns, about.st_size))
    return sorted(found)
