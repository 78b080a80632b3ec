"""How a line of the log is written: JSON for machines, words for people."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from guardrail.api.errors import describe_crash_place

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LogFormat", "LogLine", "line_writer", "write_event"]

LogFormat: TypeAlias = Literal["json", "text"]

_EVENT, _FIELDS, _REQUEST_ID = "guardrail_event", "guardrail_fields", "guardrail_request_id"
_LONGEST_MESSAGE_CHARS = 2000


def write_event(log: logging.Logger, level: int, event: str, fields: Mapping[str, object]) -> None:
    """Logs an event with its fields, which are named in `log_fields.py`.

    Where nobody has set up how lines are written, both stand in the message. The record says
    nothing of the line of code, which `logging` would look for in the stack.
    """
    if log.isEnabledFor(level):
        record = log.makeRecord(log.name, level, "", 0, "%s %s", (event, fields), None)
        record.__dict__ |= {_EVENT: event, _FIELDS: fields}
        log.handle(record)


def line_writer(log_format: LogFormat) -> logging.Formatter:
    """The formatter of that name."""
    match log_format:
        case "json":
            return _JsonLines()
        case "text":
            return _TextLines()
        case _:
            assert_never(log_format)


class LogLine:
    """The fields of a record of `logging`.

    A message of a library is cut to its first line, as further ones may quote what it worked on; of
    an exception only class and place are kept.
    """

    def __init__(self, record: logging.LogRecord) -> None:
        held = record.__dict__
        self.time = datetime.fromtimestamp(record.created, UTC)
        self.level = record.levelname.lower()
        self.event: str = held.get(_EVENT, "log")
        self.fields: dict[str, object] = dict(held.get(_FIELDS, ()))
        request_id = held.get(_REQUEST_ID)
        if request_id is not None:
            self.fields.setdefault("request_id", request_id)
        if self.event == "log":
            self.fields |= {"logger": record.name, "message": _message(record)}
        if record.exc_info and record.exc_info[1] is not None:
            self.fields["error"] = describe_crash_place(record.exc_info[1])

    @staticmethod
    def mark(record: logging.LogRecord, request_id: str | None) -> None:
        """Notes, where the record is made, to which request it belongs."""
        record.__dict__.setdefault(_REQUEST_ID, request_id)

    @property
    def when(self) -> str:
        return self.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception as error:  # noqa: BLE001 (arguments that do not fit their format)
        text = f"a message that cannot be written ({type(error).__name__})"
    is_own = record.name.partition(".")[0] == "guardrail"
    return (text if is_own else text.strip().partition("\n")[0])[:_LONGEST_MESSAGE_CHARS]


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = LogLine(record)
        head = {"time": line.when, "level": line.level, "event": line.event}
        return _encode(head | line.fields)


_encode = json.JSONEncoder(default=str).encode


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = LogLine(record)
        pairs = [f"{name}={_as_word(value)}" for name, value in line.fields.items()]
        return " ".join([line.when, line.level.upper(), line.event, *pairs])


def _as_word(value: object) -> str:
    """A value as it is where it is one plain word, else as JSON, which has no line breaks."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else json.dumps(text)
