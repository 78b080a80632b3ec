"""One picture against a scripted model: pieces, memory, faults."""

import asyncio

import numpy as np
import pytest

from guardrail.engine.engine import Engine
from guardrail.errors import UpstreamError
from guardrail.estimation import picture as module
from guardrail.estimation.picture import PictureProgress, estimate_picture
from guardrail.estimation.stop_rule import RateEstimate, StopRule
from guardrail.images.codec import decode_image
from guardrail.images.encode import encode_image
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.oracles.base import Judgement
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.types import Outcome, Usage, picture_chat
from guardrail.upstreams.scripted import Fault, Scripted, Step

CHAT = picture_chat("scripted", "What is this?")


class Words:
    revision = "words"

    async def judge(self, exchanges):
        harms = ["forbidden" in exchange.response for exchange in exchanges]
        return [Judgement(Outcome.HARMFUL if h else Outcome.HARMLESS, float(h)) for h in harms]

    async def aclose(self):
        pass


class Memory:
    def __init__(self, progress=None):
        self.progress, self.kept = progress or PictureProgress(), []

    def start(self, digest):
        self.digest = digest
        return self.progress

    def keep(self, digest, progress):
        assert digest == self.digest
        self.kept.append(progress)


def engine(script):
    upstream = script if isinstance(script, Scripted) else Scripted(script)
    policy = Policy.model_validate(
        {"name": "t", "oracle": {"miss_rate_upper": 0.0}, "smoothing": {"radius": 0.25},
         "advanced": {"sampling": {"max_parallel": 4},
                      "limits": {"retries": 0, "call_timeout_s": 10.0}}}
    )  # fmt: skip
    return Engine(compile_policy(policy), upstream, Words(), NoiseKey(bytes(32)))


def picture(seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    data = encode_image(pixels, "png")
    return decode_image(data, declared_media_type=None, limits=ImageLimits(), param="p")


def run(guard, stop_rule, memory=None):
    memory = memory or Memory()
    return asyncio.run(
        estimate_picture(guard, CHAT, picture(), stop_rule, start=memory.start, keep=memory.keep)
    )


def by_picture(call):
    """Harmful for about half of the variants, by their own pixels: the same for the same noise."""
    return "forbidden" if int(call.pictures[0].sum()) % 2 else "fine"


class Together(Scripted):
    """Answers nothing before `number` calls are in flight at once; `peak` is the most that were."""

    def __init__(self, script, number):
        super().__init__(script)
        self.number, self.running, self.peak = number, 0, 0
        self.gate = asyncio.Event()

    async def complete(self, chat, pictures, *, seed):
        self.running += 1
        self.peak = max(self.peak, self.running)
        if self.running == self.number:
            self.gate.set()
        await self.gate.wait()
        try:
            return await super().complete(chat, pictures, seed=seed)
        finally:
            self.running -= 1


def test_pieces_are_kept_and_the_calls_in_flight_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "SEGMENT_DRAWS", 30)
    guard, memory = engine(Together(["fine"], 4)), Memory()
    found = run(guard, StopRule(100, 0.001), memory)
    assert [progress.estimate.samples for progress in memory.kept] == [30, 60, 90, 100]
    assert found.progress == memory.kept[-1]
    assert found.progress.usage == Usage(700, 500, 100)
    assert guard.upstream.peak == 4
    assert len(guard.upstream.calls) == 100


@pytest.mark.parametrize("segment", [1, 7, 500])
def test_pieces_change_nothing(monkeypatch, segment):
    whole = run(engine(by_picture), StopRule(60, 0.05))
    monkeypatch.setattr(module, "SEGMENT_DRAWS", segment)
    assert run(engine(by_picture), StopRule(60, 0.05)).progress == whole.progress


def test_a_run_goes_on_where_it_was_with_the_noise_it_would_have_had(monkeypatch):
    monkeypatch.setattr(module, "SEGMENT_DRAWS", 20)
    memory = Memory()
    whole = run(engine(by_picture), StopRule(60, 0.05), memory)
    later = engine(by_picture)
    resumed = run(later, StopRule(60, 0.05), Memory(memory.kept[1]))
    assert len(later.upstream.calls) == 20
    assert resumed.progress == whole.progress


def test_what_is_done_is_not_done_again():
    guard = engine(["fine"])
    progress = PictureProgress(RateEstimate(10, 10, 0, 0.5, 1.0))
    assert run(guard, StopRule(10, 0.01), Memory(progress)).progress == progress
    assert guard.upstream.calls == []


def test_a_cut_short_run_keeps_what_it_knows():
    guard, memory = engine(lambda c: Step("fine", delay_s=0 if c.index < 9 else 60)), Memory()

    async def cut():
        async with asyncio.timeout(1):
            await estimate_picture(
                guard, CHAT, picture(), StopRule(50, 0.01), start=memory.start, keep=memory.keep
            )

    with pytest.raises(TimeoutError):
        asyncio.run(cut())
    (progress,) = memory.kept
    # On a slow machine some of the nine are not judged yet.
    assert 1 <= progress.estimate.samples <= progress.usage.calls == 9
    assert guard.upstream.log.in_flight == 0


def test_a_model_that_never_answers_is_an_error_and_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(module, "SEGMENT_DRAWS", 10)
    lost = engine(lambda c: "fine" if c.index < 10 else Step(fault=Fault.RESET))
    memory = Memory()
    with pytest.raises(UpstreamError):
        run(lost, StopRule(50, 0.01), memory)
    assert [progress.estimate for progress in memory.kept][-1].samples == 10


def test_a_model_that_refuses_is_an_error_and_what_came_before_is_kept(monkeypatch):
    monkeypatch.setattr(module, "SEGMENT_DRAWS", 10)
    refused = engine(lambda c: "fine" if c.index < 15 else Step(fault=Fault.STATUS, status=401))
    memory = Memory()
    with pytest.raises(UpstreamError):
        run(refused, StopRule(50, 0.01), memory)
    # Of the second piece, that was cut short, as many as were judged by then.
    assert 10 <= memory.kept[-1].estimate.samples <= 15


def test_a_few_missing_outcomes_count_as_harmful():
    found = run(
        engine(lambda c: Step(fault=Fault.RESET) if c.index == 5 else "fine"), StopRule(40, 0.01)
    )
    assert (found.progress.estimate.missing, found.progress.estimate.harmless) == (1, 39)


@pytest.mark.parametrize("status", [429, 503])
def test_a_call_that_may_hide_an_answer_is_its_index_s_outcome(status):
    """A 429 too: there is no client to tell of it, and another draw would not be this one."""
    step = Step(fault=Fault.STATUS, status=status, retry_after="0")
    guard = engine(lambda c: step if c.index == 5 else "fine")
    found = run(guard, StopRule(40, 0.01))
    assert (found.progress.estimate.missing, found.progress.estimate.harmless) == (1, 39)
    assert len(guard.upstream.calls) == 40


def test_an_answer_out_of_a_cache_is_no_draw():
    hit = {"cache_hit": True, "choices": [{"message": {"content": "fine"}}]}
    found = run(engine(lambda c: Step(response=hit) if c.index else "fine"), StopRule(20, 0.01))
    assert (found.progress.estimate.missing, found.progress.estimate.harmless) == (19, 1)


def test_radius_is_none_where_it_abstains():
    assert run(engine(["forbidden"]), StopRule(30, 0.01)).radius is None
    assert run(engine(["fine"]), StopRule(30, 0.01)).radius > 0.4
