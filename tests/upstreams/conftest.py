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
