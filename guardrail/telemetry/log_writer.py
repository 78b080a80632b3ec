"""Writes the log from a thread of its own, so that a reader that stops holds up no request."""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from guardrail.telemetry.log_lines import LogLine, line_writer
from guardrail.telemetry.request_id import current_request_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.telemetry.log_lines import LogFormat

__all__ = ["LOG_LEVELS", "LogWriter", "write_log"]

LOG_LEVELS = ("debug", "info", "warning", "error")
_MOST_WAITING = 10_000
_LAST_LINES_S = 2.0
_GATHER_S = 0.02
"""How long lines are gathered: a thread that is woken for each of them takes the interpreter from
the event loop as often."""
_BATCH = 200
_OWN = ("guardrail", "uvicorn")


class LogWriter(logging.Handler):
    """A handler that drops lines, and counts them, where they are not read fast enough.

    Attributes:
        dropped: how many so far.
    """

    def __init__(self, stream: TextIO, log_format: LogFormat) -> None:
        super().__init__()
        self.dropped = 0
        self._stream = stream
        self._queue: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self.setFormatter(line_writer(log_format))
        self._thread = threading.Thread(target=self._write_all, name="guardrail-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._queue.qsize() >= _MOST_WAITING:
            self.dropped += 1
            return
        LogLine.mark(record, current_request_id())
        self._queue.put(record)

    def close(self) -> None:
        """Writes what waits, for two seconds at most."""
        self._queue.put(None)
        self._thread.join(_LAST_LINES_S)
        super().close()

    def _write_all(self) -> None:
        is_open = True
        while is_open:
            records = [self._queue.get()]
            if records[0] is not None:
                time.sleep(_GATHER_S)
            while len(records) < _BATCH and not self._queue.empty():
                records.append(self._queue.get())
            is_open = None not in records
            self._write([record for record in records if record is not None])

    def _write(self, records: list[logging.LogRecord]) -> None:
        try:
            self._stream.write("".join(self.format(record) + "\n" for record in records))
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads it any more, or it was closed
            self.dropped += len(records)


@contextmanager
def write_log(
    level: str = "info", log_format: LogFormat = "json", stream: TextIO | None = None
) -> Iterator[LogWriter]:
    """Writes what this program and its libraries log, as long as the context lasts.

    Args:
        level: of `LOG_LEVELS`; libraries are heard from warning on, whatever it is.
        log_format: `json` or `text`.
        stream: stderr where it is None.
    """
    lowest = getattr(logging, level.upper())
    writer = LogWriter(stream or sys.stderr, log_format)
    writer.setLevel(lowest)
    root, own = logging.getLogger(), [logging.getLogger(name) for name in _OWN]
    before = [(log, log.level) for log in (root, *own)]
    root.addHandler(writer)
    root.setLevel(max(logging.WARNING, lowest))
    for log in own:
        log.setLevel(lowest)
    try:
        yield writer
    finally:
        for log, old in before:
            log.setLevel(old)
        root.removeHandler(writer)
        writer.close()
