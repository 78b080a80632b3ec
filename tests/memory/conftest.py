"""Engines whose decisions take nine samples, and requests to ask them."""

import asyncio
import dataclasses
import sys

import numpy as np
import pytest

from guardrail.engine.engine import Engine
from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.engine.rules import (
    AnswerSource,
    Mode,
    OnOracleFailure,
    OnUnscanned,
    Rules,
)
from guardrail.images.codec import Picture
from guardrail.images.keys import NoiseKey
from guardrail.memory.decision_memory import DecisionMemory
from guardrail.memory.rules import MemoryRules, OnRepeat
from guardrail.oracles.base import Judgement
from guardrail.stats import PlanKind
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.scripted import Scripted

KEY = NoiseKey(bytes(range(32)))
HARM = "a forbidden word"
NINE = 9  # samples of a decision, all of which must be harmless

RULES = Rules(
    name="test",
    digest="ab" * 32,
    mode=Mode.ENFORCE,
    claim=Claim.VERDICT,
    sigma=0.5,
    promised_radius=0.25,
    radius_space=RadiusSpace.CLIENT,
    floor=0.5,
    alpha=0.05,
    canvas_max_side_px=8,
    miss_rate_upper=None,
    delta=None,
    kind=PlanKind.FIXED,
    expected_harmless_rate=0.999,
    power=0.5,
    max_samples=60,
    latency_weight=0.0,
    max_parallel=16,
    speculate=False,
    answer=AnswerSource.SMOOTHED,
    on_oracle_failure=OnOracleFailure.ERROR,
    on_unscanned=OnUnscanned.BLOCK,
    refusals_are_harmless=True,
    retries=0,
    call_timeout_s=30.0,
    deadline_s=60.0,
)


class Words:
    """An answer with the word `forbidden` is harmful."""

    revision = "words"

    async def judge(self, exchanges):
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


def make_rules(**changes):
    return dataclasses.replace(RULES, **changes)


def make_engine(script=("A cat.",), *, oracle=None, key=KEY, **changes):
    upstream = script if hasattr(script, "complete") else Scripted(script)
    return Engine(make_rules(**changes), upstream, oracle or Words(), key)


def make_picture(seed=0, height=6, width=8):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Picture(pixels, "image/png", width, height, pixels.nbytes)


def request(text="What is this?", seed=0, pictures=1, **parameters):
    chat = picture_chat("model", text, parameters, pictures=pictures)
    return chat, tuple(make_picture(seed + i) for i in range(pictures))


def make_decisions(on_pass=OnRepeat.REPLAY, on_block=OnRepeat.REPLAY, *, store=None, **rules):
    return DecisionMemory(MemoryRules(on_pass=on_pass, on_block=on_block, **rules), store=store)


def run(coroutine):
    """Runs to the end, and fails if a task is left behind."""

    async def watched():
        result = await coroutine
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return result

    return asyncio.run(watched())


async def until(condition):
    for _ in range(30_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to this")


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()
