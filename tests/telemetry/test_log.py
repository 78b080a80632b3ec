"""Lines of the log: JSON and words, without content, from a thread that holds up nobody."""

import io
import json
import logging
import os
import threading
import time

import pytest

from guardrail.telemetry.log_fields import EVENTS, LOG_FIELDS
from guardrail.telemetry.log_lines import line_writer, write_event
from guardrail.telemetry.log_writer import write_log
from guardrail.telemetry.request_id import use_request_id

OWN = logging.getLogger("guardrail.test")


def written(act, level="info", log_format="json"):
    stream = io.StringIO()
    with write_log(level, log_format, stream) as writer:
        act()
    assert writer.dropped == 0
    return stream.getvalue().splitlines()


def test_an_event_is_one_object_with_its_fields():
    fields = {"decision": "block", "cost_usd": None, "own_ms": 1.5}
    (line,) = map(json.loads, written(lambda: write_event(OWN, logging.INFO, "decision", fields)))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "event": "decision", **fields}


def test_any_other_message_is_one_as_well_with_the_id_of_its_request(caplog):
    caplog.set_level(logging.INFO, logger="uvicorn.error")  # quiet servers leave it higher

    def act():
        with use_request_id("r-1"):
            logging.getLogger("uvicorn.error").info("listens at %s", "here")

    (line,) = map(json.loads, written(act))
    del line["time"]
    assert line == {
        "level": "info", "event": "log", "request_id": "r-1", "logger": "uvicorn.error",
        "message": "listens at here",
    }  # fmt: skip
    assert line["event"] in EVENTS
    assert set(line) <= set(LOG_FIELDS)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_text_of_an_exception_is_written(log_format):
    def act():
        try:
            int("a secret")
        except ValueError as error:
            OWN.exception("it failed")
            logging.getLogger("asyncio").error("Task failed\nfuture: %r", error)  # noqa: TRY400 (as asyncio does)

    own, other = written(act, log_format=log_format)
    assert "ValueError at test_log.py" in own
    assert "secret" not in own + other
    assert "Task failed" in other


def test_arguments_that_do_not_fit_are_told_and_not_quoted():
    record = logging.LogRecord("guardrail.a", logging.INFO, "f", 1, "%d", ("secret",), None)
    line = line_writer("json").format(record)
    assert "TypeError" in line
    assert "secret" not in line


def test_libraries_are_heard_from_warning_on_and_levels_are_put_back():
    other, before = logging.getLogger("somebody"), logging.getLogger("guardrail").level

    def act():
        other.info("not this")
        other.warning("this")
        OWN.debug("this too")

    assert len(written(act, "debug")) == 2
    assert len(written(act, "error")) == 0
    assert logging.getLogger("guardrail").level == before


def test_text_has_one_line_an_event_whatever_a_value_holds():
    fields = {"a": "plain", "b": "two words", "c": "line\nbreak", "d": 'quo"te', "e": None, "f": ""}
    (line,) = written(lambda: write_event(OWN, logging.WARNING, "fault", fields), log_format="text")
    when, rest = line.split(" ", 1)
    assert when.endswith("Z")
    assert rest == 'WARNING fault a=plain b="two words" c="line\\nbreak" d="quo\\"te" e=null f=""'


def test_a_reader_that_stops_holds_up_nobody_and_lost_lines_are_counted(monkeypatch):
    monkeypatch.setattr("guardrail.telemetry.log_writer._MOST_WAITING", 100)
    read, write = os.pipe()
    stream = os.fdopen(write, "w")
    started = time.monotonic()
    with write_log("info", "json", stream) as writer:
        for _ in range(1_000):
            OWN.info("x" * 500)
        assert time.monotonic() - started < 10.0
        assert writer.dropped > 400
        drain = threading.Thread(
            target=lambda: [None for _ in iter(lambda: os.read(read, 1 << 16), b"")]
        )
        drain.start()
    stream.close()
    drain.join()
    os.close(read)


def test_a_stream_that_was_closed_is_no_fault():
    stream = io.StringIO()
    with write_log("info", "json", stream) as writer:
        stream.close()
        OWN.info("lost")
    assert writer.dropped == 1


def test_a_line_can_be_written_of_any_record():
    record = logging.LogRecord("a", logging.INFO, "f", 1, "%s", (object(),), None)
    assert json.loads(line_writer("json").format(record))["message"].startswith("<object")


def test_where_nobody_set_up_the_log_an_event_says_what_it_is_about(caplog):
    write_event(OWN, logging.WARNING, "block_spike", {"blocked": 12})
    assert caplog.messages == ["block_spike {'blocked': 12}"]
