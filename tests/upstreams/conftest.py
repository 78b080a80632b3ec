"""Chats and pictures that the tests of every upstream share."""

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
