"""Rules, chats, pictures and an oracle that the engine's tests share."""

import asyncio
import dataclasses
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest

from guardrail.engine.engine import Engine
from guardrail.engine.prepared_request import prepare_request
from guardrail.engine.preprocessing import settle
from guardrail.engine.promise import Claim, RadiusSpace
from guardrail.engine.rules import (
    AnswerSource,
    Mode,
    OnOracleFailure,
    OnUnscanned,
    Rules,
)
from guardrail.errors import OracleError
from guardrail.images.codec import Picture
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.stats import PlanKind
from guardrail.types import Chat, Outcome, image_placeholder
from guardrail.upstreams.scripted import Scripted
from tests.virtual_time import run_in_virtual_time

KEY = NoiseKey(bytes(range(32)))
HARM = "a forbidden word"

# With these a decision takes 9 samples, all of which must be harmless.
RULES = Rules(
    name="test",
    digest="ab" * 32,
    mode=Mode.ENFORCE,
    claim=Claim.HARMLESSNESS,
    sigma=0.5,
    promised_radius=0.25,
    radius_space=RadiusSpace.CLIENT,
    floor=0.5,
    alpha=0.05,
    canvas_max_side_px=8,
    miss_rate_upper=0.01,
    delta=0.001,
    kind=PlanKind.FIXED,
    expected_harmless_rate=0.99,
    power=0.9,
    max_samples=100,
    latency_weight=0.0,
    max_parallel=4,
    speculate=False,
    answer=AnswerSource.SMOOTHED,
    on_oracle_failure=OnOracleFailure.ERROR,
    on_unscanned=OnUnscanned.BLOCK,
    refusals_are_harmless=True,
    retries=0,
    call_timeout_s=5.0,
    deadline_s=20.0,
)


def make_rules(**changes):
    """Rules with changes; the verdict claim knows of no misses."""
    if changes.get("claim") is Claim.VERDICT:
        changes = {"miss_rate_upper": None, "delta": None, **changes}
    return dataclasses.replace(RULES, **changes)


@dataclass
class Words:
    """An oracle whose truth is known: an answer with the word `forbidden` is harmful."""

    faults: list = field(default_factory=list)
    seen: list = field(default_factory=list)
    prompts: list = field(default_factory=list)
    closed: bool = False
    revision: str = "words"

    async def judge(self, exchanges):
        self.seen += [exchange.response for exchange in exchanges]
        self.prompts += [exchange.prompt for exchange in exchanges]
        if self.faults:
            fault = self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]
            if fault is not None:
                return await play(fault)
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        self.closed = True


ORACLE_FAULTS = {
    "unavailable": OracleError("the oracle is not available"),
    "crash": RuntimeError("it quotes the forbidden answer"),
    "timeout": TimeoutError(),
    "cancels itself": asyncio.CancelledError(),
    "hang": "hang",
    "no judgement": [],
    "one too many": [Judgement(Outcome.HARMLESS, 0.0)] * 2,
    "nothing": [None],
    "missing": [Judgement(Outcome.MISSING, 0.0)],
    "not an outcome": [Judgement("harmless", 0.0)],
    "not a number": [Judgement(Outcome.HARMLESS, float("nan"))],
    "above one": [Judgement(Outcome.HARMLESS, 1.5)],
}


async def play(fault):
    if fault == "hang":
        await asyncio.Event().wait()
    if isinstance(fault, BaseException):
        raise fault
    return fault


def make_chat(pictures=0, text="What is this?", **parameters):
    parts = [
        {"type": "image_url", "image_url": {"url": image_placeholder(index)}}
        for index in range(pictures)
    ]
    content = [{"type": "text", "text": text}, *parts]
    return Chat("model", ({"role": "user", "content": content},), parameters, pictures)


def make_picture(height=3, width=4, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return picture_of(pixels)


def picture_of(pixels):
    height, width, _ = pixels.shape
    return Picture(pixels, "image/png", width, height, pixels.nbytes)


def make_pictures(count):
    return tuple(make_picture(seed=seed) for seed in range(count))


def make_engine(
    script=("A cat.",), *, oracle=None, upstream=None, key=KEY, picture_filter=None, **changes
):
    """An engine over a scripted model; keywords change the rules."""
    upstream, oracle = upstream or Scripted(script), oracle or Words()
    return Engine(make_rules(**changes), upstream, oracle, key, picture_filter=picture_filter)


def make_fixed_engine(script=("A cat.",), **changes):
    """One whose outcomes follow from request, rules and key: the script must go by its call."""
    upstream, oracle = Scripted(script, deterministic=True), Words()
    oracle.deterministic = True
    return make_engine(upstream=upstream, oracle=oracle, **changes)


def prepare(rules, chat, pictures, attempt, **options):
    """The request as an engine with a canvas of its rules' own prepares it."""
    return prepare_request(settle(rules, None, chat.model), chat, pictures, attempt, **options)


def run(coroutine):
    """Runs to the end, on a clock that waits for work; fails if a task is left behind."""

    async def watched():
        result = await coroutine
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return result

    return run_in_virtual_time(watched())


async def until(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to this")


def is_clean(call, picture):
    """Whether a call was about the picture itself and not a noisy variant."""
    return call.pictures[0].shape == picture.pixels.shape and np.array_equal(
        call.pictures[0], picture.pixels
    )


def decide(engine, pictures=0, chat=None, **options):
    pictures = make_pictures(pictures) if isinstance(pictures, int) else pictures
    return run(engine.decide(chat or make_chat(len(pictures)), pictures, **options))


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]
