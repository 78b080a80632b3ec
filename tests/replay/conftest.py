"""Decisions of the real engine on a script that goes by the seed: same noise, same answers."""

import asyncio
import dataclasses
import random
import sys

import numpy as np
import pytest

from guardrail.engine.engine import Engine
from guardrail.errors import OracleError
from guardrail.images.codec import decode_image
from guardrail.images.encode import encode_image
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.records.recorder import build_record
from guardrail.replay.endings import REASONS, Ending
from guardrail.replay.loading import load_decisions
from guardrail.replay.replay import replay_policy
from guardrail.types import Chat, Outcome, picture_chat
from guardrail.upstreams.scripted import Fault, Scripted, Step
from tests.policies import arrange

KEY = NoiseKey(bytes(range(32)))


class Scores:
    """Answers are their own scores: `0.37` is harmful from the threshold on; `?` cannot be judged.

    A field that says `foreign` is withheld, as text in a language that was not measured.
    """

    by_text = True
    cuts_scores = True

    def __init__(self, threshold):
        self.threshold = threshold
        self.revision = f"scores {threshold}"

    async def judge(self, exchanges):
        return [self._judge(exchange.response) for exchange in exchanges]

    def _judge(self, text):
        if text == "?":
            raise OracleError("no judgement")
        if text == "foreign":
            return Judgement(Outcome.HARMFUL, 1.0, "language unmeasured", unmeasured="language",
                             withheld=True)  # fmt: skip
        numbers = [float(word) for word in text.split() if word != "foreign"]
        score = max(numbers, default=0.0)
        harmful = score >= self.threshold
        return Judgement(Outcome.HARMFUL if harmful else Outcome.HARMLESS, score, "harm" * harmful)

    async def aclose(self):
        pass


def make_policy(name="old", **sections):
    """A policy with a quick test; sections as in `arrange`."""
    fields = {
        "name": name,
        "oracle": {"kind": "builtin", "threshold": 0.5},
        "smoothing": {
            "radius": 0.25,
            "alpha": 0.05,
            "canvas_max_side_px": 8,
            "canvas_min_side_px": 1,
        },
        "limits": {"retries": 0, "deadline_s": 1000.0, "call_timeout_s": 900.0},
        "sampling": {"plan": "fixed", "power": 0.9, "max_samples": 100},
    }
    for section, values in sections.items():
        fields[section] = {**fields[section], **values} if section in fields else values
    return Policy.model_validate(arrange(fields))


@dataclasses.dataclass(frozen=True)
class World:
    """What the model says, by the seed of the call.

    Attributes:
        salt: of the answers.
        harm: share of answers with high scores.
        faults: share of calls that end in a fault, or in an answer that cannot be judged.
        odd: share of answers with a field that cannot be read, is foreign, or a refusal.
        slow: longest delay, in seconds.
    """

    salt: int = 0
    harm: float = 0.3
    faults: float = 0.0
    odd: float = 0.0
    slow: float = 0.0

    def answer(self, call):
        dice = random.Random(call.seed ^ self.salt)
        delay = dice.random() * self.slow
        if dice.random() < self.faults:
            if dice.random() < 0.5:
                return Step("?", delay_s=delay)
            return Step(fault=dice.choice([Fault.RESET, Fault.EMPTY]), delay_s=delay)
        low, high = (0.5, 1.0) if dice.random() < self.harm else (0.0, 0.5)
        text = f"{dice.uniform(low, high):.3f}"
        if dice.random() < self.odd:
            message = dice.choice([
                {"content": text, "reasoning_content": "foreign"},
                {"content": text, "audio": {"id": "a"}},
                {"content": None, "refusal": text},
            ])  # fmt: skip
            return Step(message=message, delay_s=delay)
        return Step(text, delay_s=delay)


def make_picture(seed=0, height=7, width=6):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return decode_image(
        encode_image(pixels, "png"), declared_media_type=None, limits=ImageLimits(), param="p"
    )


def make_engine(policy, world, *, digest=None, **changes):
    """The engine of a policy; with another one's digest it draws that one's noise and seeds."""
    rules = compile_policy(policy)
    rules = dataclasses.replace(rules, **({"digest": digest} if digest else {}), **changes)
    upstream = Scripted(world.answer, deterministic=True)
    return Engine(rules, upstream, Scores(policy.oracle.threshold), KEY)


def make_chat(pictures=1, text="a question"):
    if pictures:
        return picture_chat("scripted", text, {}, pictures=pictures)
    return Chat("scripted", ({"role": "user", "content": text},))


def decide(engine, number=0, pictures=1, **options):
    chat = make_chat(pictures, f"question {number}")
    decoded = [make_picture(number * 10 + i) for i in range(pictures)]
    verdict = asyncio.run(engine.decide(chat, decoded, **options))
    return verdict, build_record(verdict, chat, engine)


def load(*records):
    return load_decisions(record.to_dict() for record in records)


def replay(records, policy):
    return replay_policy(load(*records), policy)


def ending_of(record):
    """Ending and reason of a record, by the same rule as the loader's."""
    decisions = load(record)
    return Ending(decisions.before[0]), REASONS[decisions.reason[0]]


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]
