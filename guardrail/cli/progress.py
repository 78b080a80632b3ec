"""How far a long command is: a bar on a terminal, a plain line now and then where there is none."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

__all__ = ["progress_bar"]

_PERIOD_S = 10.0
_SHARE = 0.1
_UNITS = (("h", 3600), ("min", 60), ("s", 1))


@contextmanager
def progress_bar(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Yields a function to call after each of `total` steps; writes to standard error only.

    Where the total is not known (None), neither is the time that is left.
    """
    from rich.console import Console

    console = Console(stderr=True)
    shown = _bar(console, what, total) if console.is_terminal else _lines(what, total)
    with shown as step:
        yield step


@contextmanager
def _bar(console: Console, what: str, total: int | None) -> Iterator[Callable[[], None]]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def _lines(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A line every ten seconds, later every tenth of the time so far; short work prints none.

    Lines come whether or not steps do: a step that takes minutes must not look like a hang.
    """
    started = time.monotonic()
    over = threading.Event()
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    def report() -> None:
        elapsed_s = 0.0
        while not over.wait(max(_PERIOD_S, _SHARE * elapsed_s)):
            elapsed_s = time.monotonic() - started
            click.echo(
                f"{what}: {_count(steps, total)} after {elapsed_s:.0f} s"
                f"{_time_left(steps, total, elapsed_s)}",
                err=True,
            )

    thread = threading.Thread(target=report, name="progress", daemon=True)
    thread.start()
    try:
        yield step
    finally:
        over.set()
        thread.join()


def _count(steps: int, total: int | None) -> str:
    return f"{steps}" if total is None else f"{steps} of {total}"


def _time_left(steps: int, total: int | None, elapsed_s: float) -> str:
    """At the pace so far; empty where nothing is known of it."""
    if total is None or not 0 < steps < total:
        return ""
    left_s = elapsed_s / steps * (total - steps)
    unit, length = next(pair for pair in _UNITS if left_s >= 2 * pair[1] or pair[1] == 1)
    return f", about {left_s / length:.0f} {unit} left"
