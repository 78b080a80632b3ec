"""Small pictures, and rows decided by a scripted model whose truth is known."""

import numpy as np
import pytest
from PIL import Image

from guardrail.assembly import join_engine
from guardrail.bulk.content_key import JobSettings
from guardrail.bulk.deciding import EngineAsk, RowDecider, make_loader
from guardrail.images.keys import NoiseKey
from guardrail.oracles.base import Judgement
from guardrail.policy.load import parse_policy
from guardrail.types import Outcome
from guardrail.upstreams.scripted import Scripted

POLICY = """
name: test
smoothing: {sigma: 0.5, radius: 0.25, alpha: 0.05, claim: verdict}
advanced:
  sampling: {plan: fixed, max_parallel: 4, expected_harmless_rate: 0.99}
  limits: {retries: 0, call_timeout_s: 10.0, deadline_s: 60.0}
  prices: {'*': {input_usd_per_million: 1.0e+5, output_usd_per_million: 0.0}}
"""
USD_A_CALL = 0.7  # 7 tokens of prompt


class Words:
    """An answer with the word `forbidden` is harmful."""

    revision = "words"

    async def judge(self, exchanges):
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


def save_picture(file, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file


class Bench:
    """A policy, a scripted model, and what decides rows by them."""

    def __init__(self, script, policy=POLICY, file="policy.yaml"):
        self.policy = parse_policy(policy.encode(), file=str(file))
        self.upstream = Scripted(script)
        self.engine = join_engine(self.policy, [self.upstream], Words(), NoiseKey(bytes(32)))
        self.settings = JobSettings.of(self.engine, "scripted", {})

    @property
    def calls(self):
        return len(self.upstream.calls)

    def decider(self, *, log=None, allowance=None, keep_answers=False):
        loader = make_loader(self.policy)
        ask = EngineAsk(self.engine, "scripted", loader, {}, allowance)
        return RowDecider(
            ask,
            self.settings,
            loader,
            lists=self.engine.known_pictures,
            log=log,
            keep_answers=keep_answers,
        )


def answer(call):
    """By the question: a harmful answer, a fault, or a harmless one."""
    from guardrail.upstreams.scripted import Fault, Step

    asked = str(call.body)
    if "FAIL" in asked:
        return Step(fault=Fault.STATUS, status=500)
    return "a forbidden answer" if "HARM" in asked else "a picture of a cat"


@pytest.fixture
def bench():
    return lambda script=answer, policy=POLICY, **options: Bench(script, policy, **options)


@pytest.fixture
def pictures(tmp_path):
    """Ten pictures in a folder."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    return [save_picture(folder / f"{i}.png", i) for i in range(10)]
