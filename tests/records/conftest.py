"""Decisions of a real engine with a scripted model and an oracle whose truth is known."""

import asyncio
import sys

import numpy as np
import pytest

from guardrail.engine.engine import Engine
from guardrail.images.codec import decode_image
from guardrail.images.encode import encode_image
from guardrail.images.keys import KeyRing, NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.records.content import ContentKeys
from guardrail.records.journal import FileJournal
from guardrail.records.recorder import build_record
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.scripted import Scripted
from tests.policies import arrange

KEY = NoiseKey(bytes(range(32)))
CONTENT_KEYS = ContentKeys(KeyRing(NoiseKey(bytes(32))))
PROMPT = "a secret question"
CLEAN, HARM = "a private answer", "a forbidden answer"


class Words:
    """An answer with the word `forbidden` is harmful."""

    revision = "words"

    async def judge(self, exchanges):
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


def make_policy(**sections):
    fields = {
        "name": "test",
        "oracle": {"miss_rate_upper": 0.01},
        "limits": {"retries": 0, "call_timeout_s": 5.0, "deadline_s": 20.0},
        **sections,
    }
    return Policy.model_validate(arrange(fields))


def make_engine(script=(CLEAN,), **sections):
    return Engine(compile_policy(make_policy(**sections)), Scripted(script), Words(), KEY)


def make_picture(seed=0, height=9, width=12):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return decode_image(
        encode_image(pixels, "png"), declared_media_type=None, limits=ImageLimits(), param="p"
    )


def request(pictures=1):
    chat = picture_chat("scripted", PROMPT, {"temperature": 0.7}, pictures=pictures)
    return chat, [make_picture(seed) for seed in range(pictures)]


def decide(engine, pictures=1):
    chat, decoded = request(pictures)
    return asyncio.run(engine.decide(chat, decoded)), chat


def make_record(script=(CLEAN,), *, pictures=1, keep_content=False, **sections):
    engine = make_engine(script, **sections)
    keys = CONTENT_KEYS if keep_content else None
    return build_record(*decide(engine, pictures), engine, content_keys=keys)


def every_other(call):
    return HARM if call.index % 2 else CLEAN


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def passed():
    return make_record()


@pytest.fixture(scope="session")
def blocked():
    return make_record((HARM,))


@pytest.fixture
def journal(tmp_path):
    opened = FileJournal(tmp_path / "records.jsonl")
    yield opened
    opened.close()
