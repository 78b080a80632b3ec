"""Cases decided by a real engine with a scripted model and an oracle whose truth is known."""

import asyncio
import sys

import numpy as np
import pytest
from PIL import Image

from guardrail.cases.case import (
    AnswerCase,
    Case,
    CaseDecision,
    Expectation,
    PictureCase,
)
from guardrail.cases.reading import read_answer
from guardrail.cases.running import CASES_KEY, run_cases
from guardrail.engine.engine import Engine
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted
from tests.policies import arrange

STOPPED, LET_THROUGH = CaseDecision.STOPPED, CaseDecision.LET_THROUGH
CLEAN, HARM = "a private answer", "a forbidden answer"


class Words:
    """An answer with the word `forbidden` is harmful, and one with `broken` cannot be judged."""

    by_text = True

    def __init__(self, word="forbidden"):
        self.word, self.revision = word, f"words: {word}"

    async def judge(self, exchanges):
        if any("broken" in exchange.response for exchange in exchanges):
            raise ValueError("a secret answer")
        return [self._judge(exchange.response) for exchange in exchanges]

    def _judge(self, text):
        harm = self.word in text
        return Judgement(
            Outcome.HARMFUL if harm else Outcome.HARMLESS, float(harm), "violence" if harm else ""
        )

    async def aclose(self):
        pass


def make_policy(**sections):
    fields = {
        "name": "test",
        "smoothing": {"radius": 0.25},
        "oracle": {"miss_rate_upper": 0.01},
        "limits": {"retries": 0, "call_timeout_s": 60.0, "deadline_s": 600.0},
    }
    for name, value in sections.items():
        old = fields.get(name)
        fields[name] = {**old, **value} if isinstance(old, dict) else value
    return Policy.model_validate(arrange(fields))


def make_engine(script=(CLEAN,), *, oracle=None, **sections):
    return Engine(
        compile_policy(make_policy(**sections)), Scripted(script), oracle or Words(), CASES_KEY
    )


def answer_case(text, expect=LET_THROUGH, *, name="case", **expected):
    return Case(name, AnswerCase(read_answer(text)), Expectation(expect, **expected))


def run(engine, *cases, jobs=2, policy=None):
    async def decide():
        return await run_cases(engine, policy or make_policy(), cases, jobs=jobs)

    return asyncio.run(decide())


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]


@pytest.fixture
def picture_case(tmp_path):
    """Makes a case with a small picture."""
    file = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")

    def make(expect=LET_THROUGH, *, name="case", images=(file,), **expected):
        return Case(name, PictureCase(images, "What is it?"), Expectation(expect, **expected))

    return make
