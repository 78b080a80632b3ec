"""A scripted model on loopback, guards in front of it, and requests."""

import base64
import io
import os
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from guardrail import Guard
from guardrail.images.keys import NoiseKey
from guardrail.middleware.loop_thread import LoopThread
from guardrail.oracles.base import Judgement
from guardrail.policy.schema import Policy
from guardrail.types import Outcome
from guardrail.upstreams.scripted_server import scripted_server
from tests.policies import arrange

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

KEY = NoiseKey(bytes(32))
HARM = "a forbidden word"


class Words:
    """An oracle whose truth is known: an answer with the word `forbidden` is harmful."""

    revision = "words"

    def __init__(self):
        self.closed = False

    async def judge(self, exchanges):
        return [self._judged("forbidden" in exchange.response) for exchange in exchanges]

    async def aclose(self):
        self.closed = True

    @staticmethod
    def _judged(harmful):
        return Judgement(Outcome.HARMFUL if harmful else Outcome.HARMLESS, float(harmful))


def make_policy(**fields):
    sections = {
        "name": "test",
        "smoothing": {"radius": 0.25},
        "oracle": {"miss_rate_upper": 0.01},
        "limits": {"retries": 0, "call_timeout_s": 20.0, "deadline_s": 60.0},
        "memory": {"pass": "redraw", "block": "redraw"},  # each request is result by itself
    }
    for name, value in fields.items():
        old = sections.get(name)
        sections[name] = {**old, **value} if isinstance(old, dict) else value
    return Policy.model_validate(arrange(sections))


def make_guard(upstream=None, *, policy=None, **options):
    options = {"oracle": Words(), "key": KEY} | options
    return Guard(policy or make_policy(), upstream, **options)


def picture_url(seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def request(images=0, *, prompt="What is this?", **fields):
    parts = [{"type": "image_url", "image_url": {"url": picture_url(i)}} for i in range(images)]
    content = [{"type": "text", "text": prompt}, *parts] if images else prompt
    return {"model": "scripted", "messages": [{"role": "user", "content": content}], **fields}


def completion(text="A picture."):
    """A completion as a function that stands for a model returns it."""
    return {
        "model": "scripted",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5},
    }


@contextmanager
def model(script):
    """A scripted model served from a thread of its own."""
    home, server = LoopThread(), scripted_server(script)
    try:
        yield home.run_sync(server.__aenter__())
    finally:
        home.run_sync(server.__aexit__(None, None, None))
        home.stop()


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]
