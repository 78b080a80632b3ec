"""Chats, pictures and processes that the tests of every upstream share."""

import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

from guardrail.types import Chat, image_placeholder


def _part(index):
    return {"type": "image_url", "image_url": {"url": image_placeholder(index), "detail": "low"}}


@pytest.fixture(scope="session")
def make_chat():
    def make(pictures=1, text="What is this?", model="some-model", **parameters):
        parts = [{"type": "text", "text": text}, *(_part(i) for i in range(pictures))]
        system = {"role": "system", "content": "Be brief."}
        return Chat(model, (system, {"role": "user", "content": parts}), parameters, pictures)

    return make


@pytest.fixture(scope="session")
def make_picture():
    def make(height=5, width=7, seed=0):
        random = np.random.default_rng(seed)
        return random.integers(0, 256, (height, width, 3), dtype=np.uint8)

    return make


class FakeClock:
    """An event loop's clock that goes on only when it is told to."""

    def __init__(self, now=1000.0):
        self.now = now
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, delay, callback):
        timer = FakeTimer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds):
        """Goes on, waking at the right moments whoever asked for it."""
        end = self.now + seconds
        while due := self.due(end):
            timer = min(due, key=lambda timer: timer.at)
            self.now = max(self.now, timer.at)
            timer.cancelled = True
            timer.callback()
        self.now = end

    def due(self, end):
        return [timer for timer in self.timers if not timer.cancelled and timer.at <= end]


class FakeTimer:
    def __init__(self, at, callback):
        self.at, self.callback, self.cancelled = at, callback, False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def clock():
    return FakeClock()


_PROXY = "from guardrail.cli import main; main()"


@contextmanager
def running(arguments, pattern, log, **environment):
    """A Python process, once its output holds `pattern`; (process, match)."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )  # fmt: skip
    try:
        yield process, _waited(process, pattern, log)
    finally:
        process.terminate()
        process.wait(60)


def _waited(process, pattern, log, timeout_s=120):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(pattern, log.read_text(errors="replace")):
            return found
        time.sleep(0.05)
    pytest.fail(f"it did not start: {log.read_text(errors='replace')[-2000:]}")


@contextmanager
def proxy_of(server_url, policy, folder, **entry):
    """The address of `guardrail serve` in front of a server, both as anyone would run them."""
    lines = "".join(f"    {name}: {value}\n" for name, value in entry.items())
    upstreams = folder / "upstreams.yaml"
    upstreams.write_text(f"upstreams:\n  - upstream: openai_compatible:{server_url}\n{lines}")
    command = ["-c", _PROXY, "serve", "--upstreams", upstreams, "--policy", policy, "--port", 0]
    with running(command, r"at (http://127\.0\.0\.1:\d+/v1)", folder / "proxy.log") as (_, found):
        yield found[1]


@pytest.fixture(scope="session")
def processes():
    """The helpers of this file that start processes."""
    return sys.modules[__name__]
