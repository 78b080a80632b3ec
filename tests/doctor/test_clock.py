"""The clock is compared with the date of an answer."""

import asyncio
import http.server
import threading
import time
from contextlib import contextmanager

import pytest

from guardrail.doctor.clock import examine_clock
from guardrail.doctor.finding import Level


@contextmanager
def dated_server(date=None):
    """The address of a server whose answers carry this date; its own clock's where it is None."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()

        def date_time_string(self, timestamp=None):
            return super().date_time_string(timestamp) if date is None else date

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("off_s", "level", "word"),
    [
        (0, Level.OK, "agrees"),
        (25, Level.OK, "agrees"),
        (60, Level.WARNING, "ahead of"),
        (-60, Level.WARNING, "behind"),
        (4000, Level.ERROR, "ahead of"),
    ],
)
def test_how_far_it_is_off(off_s, level, word):
    with dated_server() as url:
        finding = asyncio.run(examine_clock(url, lambda: time.time() + off_s))
    assert finding.level is level
    assert word in finding.message


def test_a_date_that_is_none():
    with dated_server("yesterday") as url:
        assert asyncio.run(examine_clock(url)).level is Level.SKIPPED


def test_no_answer_says_nothing_of_the_clock():
    assert asyncio.run(examine_clock("http://127.0.0.1:9/v1")).level is Level.SKIPPED
