"""Estimates one picture: draws its variants, segment by segment, until enough is known."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.engine.canonical_chat import canonical_chat
from guardrail.engine.fanout import fan_out
from guardrail.engine.prepared_request import ONLY_ATTEMPT, prepare_request
from guardrail.engine.sampler import Sampler
from guardrail.engine.verdict import Sample
from guardrail.errors import UpstreamError
from guardrail.estimation.segment import Segment
from guardrail.estimation.stop_rule import RadiusScale, RateEstimate, StopRule
from guardrail.types import Outcome, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.engine import Engine
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.images.codec import Picture
    from guardrail.types import Chat

__all__ = ["PictureEstimate", "PictureProgress", "estimate_picture"]

SEGMENT_DRAWS = 500
"""Draws between two points at which the progress is handed on to be kept."""


@dataclass(frozen=True, slots=True)
class PictureProgress:
    """What is known of one picture, and the tokens that it took."""

    estimate: RateEstimate = field(default_factory=RateEstimate)
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class PictureEstimate:
    """The outcome for one picture; `radius` is None where nothing is certified (abstain)."""

    request: PreparedRequest
    scale: RadiusScale
    progress: PictureProgress

    @property
    def radius(self) -> float | None:
        return self.scale.radius(self.progress.estimate.lower)


async def estimate_picture(
    engine: Engine,
    chat: Chat,
    picture: Picture,
    stop_rule: StopRule,
    *,
    start: Callable[[str], PictureProgress],
    keep: Callable[[str, PictureProgress], None],
) -> PictureEstimate:
    """Draws until enough is known.

    Args:
        engine: rules, model, oracle and key.
        chat: the question, about one picture.
        picture: decoded.
        stop_rule: how long to draw, and at which alpha.
        start: tells what is known already of the request with this digest (hex).
        keep: takes the digest and what is known, after every segment and when the run is cut short.

    Raises:
        GuardrailError: the model or the oracle cannot be reached at all: every outcome of a segment
            is missing. (Where only some are missing, they count as harmful.)
    """
    asked = canonical_chat(chat)
    # Always the same attempt: a run that was stopped goes on with the draws it would have made.
    request = await asyncio.to_thread(
        prepare_request, engine.preprocessing(asked.model), asked, (picture,), ONLY_ATTEMPT
    )
    scale = RadiusScale(engine.rules, request.geometry)
    progress = start(request.digest.hex())
    while not stop_rule.is_reached(progress.estimate, scale):
        progress = await _draw_segment(engine, asked, request, stop_rule, scale, progress, keep)
    return PictureEstimate(request, scale, progress)


async def _draw_segment(
    engine: Engine,
    chat: CanonicalChat,
    request: PreparedRequest,
    stop_rule: StopRule,
    scale: RadiusScale,
    progress: PictureProgress,
    keep: Callable[[str, PictureProgress], None],
) -> PictureProgress:
    # Whole answers: an estimate is about what the model says, not about how it begins.
    rules = dataclasses.replace(engine.rules, probe_max_tokens=None, judge_every_chars=None)
    key = engine.key
    sampler = Sampler(rules, engine.upstream, engine.oracle, chat)
    until = min(progress.estimate.samples + SEGMENT_DRAWS, stop_rule.n)
    segment = Segment(progress.estimate, until, stop_rule, scale)
    samples: dict[int, Sample] = {}

    async def draw(index: int) -> Sample:
        noisy = await request.draw_variant(index, rules, key)
        seed = request.derive_seed(index, rules, key)
        try:
            return await sampler.sample(index, noisy, seed=seed, variant=True)
        except UpstreamError as error:
            if not error.transient:
                raise
            # There is no client to be told of a 429: it is this index's outcome, and the run goes
            # on. A second draw of the index would not be the first one.
            return Sample(index=index, outcome=Outcome.MISSING, failure=error)

    try:
        await fan_out(segment, draw, max_parallel=rules.max_parallel, samples=samples)
    finally:
        reached = PictureProgress(segment.estimate, progress.usage + sampler.usage)
        answered = any(sample.outcome is not Outcome.MISSING for sample in samples.values())
        if answered and segment.estimate != progress.estimate:
            keep(request.digest.hex(), reached)
    if not answered:
        _raise_fault(samples)
    return reached


def _raise_fault(samples: dict[int, Sample]) -> None:
    """Nothing is known of the picture, and a report must not call that a radius of 0."""
    for sample in samples.values():
        if sample.failure is not None:
            raise sample.failure
