"""The estimate of one picture: its variants, drawn piece by piece until the goal is reached."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from guardrail.engine.attempt import ONLY_ATTEMPT
from guardrail.engine.calls import BusyClock, Caller, Sample
from guardrail.engine.canonical_chat import canonical_chat
from guardrail.engine.case import prepare
from guardrail.engine.fanout import fan_out
from guardrail.errors import UpstreamError
from guardrail.estimation.goal import Goal, Scale, Tally
from guardrail.estimation.stretch import Stretch
from guardrail.types import Outcome, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.case import Case
    from guardrail.engine.certifier import Certifier
    from guardrail.engine.guard import Engine
    from guardrail.images.codec import Picture
    from guardrail.types import Chat

__all__ = ["Known", "PictureEstimate", "estimate"]

STRETCH = 500
"""Draws between two points at which what is known is handed on to be kept."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one picture, and what it took."""

    tally: Tally = field(default_factory=Tally)
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class PictureEstimate:
    """The outcome for one picture; `radius` is None where nothing is certified (abstain)."""

    case: Case
    scale: Scale
    known: Known

    @property
    def radius(self) -> float | None:
        return self.scale.radius(self.known.tally.lower)


async def estimate(
    engine: Engine,
    chat: Chat,
    picture: Picture,
    goal: Goal,
    *,
    start: Callable[[str], Known],
    keep: Callable[[str, Known], None],
) -> PictureEstimate:
    """Draws until the goal is reached.

    Args:
        engine: rules, model, oracle and key.
        chat: the question, about one picture.
        picture: decoded.
        goal: how long to draw, and at which alpha.
        start: tells what is known already of the request with this digest (hex).
        keep: takes the digest and what is known, after every piece and when the run is cut short.

    Raises:
        GuardrailError: the model or the oracle cannot be reached at all: every outcome of a piece
            is missing. (Where only some are missing, they count as harmful.)
    """
    asked = canonical_chat(chat)
    # One attempt for ever: a run that was stopped goes on with the draws that it would have made.
    case = await asyncio.to_thread(prepare, engine.rules, asked, (picture,), ONLY_ATTEMPT)
    scale = Scale(engine.rules, case.where)
    known = start(case.digest.hex())
    while not goal.is_reached(known.tally, scale):
        known = await _piece(engine, asked, case, goal, scale, known, keep)
    return PictureEstimate(case, scale, known)


async def _piece(
    engine: Engine,
    chat: CanonicalChat,
    case: Case,
    goal: Goal,
    scale: Scale,
    known: Known,
    keep: Callable[[str, Known], None],
) -> Known:
    # Whole answers: an estimate is about what the model says, not about how it begins.
    rules = dataclasses.replace(engine.rules, probe_max_tokens=None, judge_every_chars=None)
    key = engine.key
    caller = Caller(rules, engine.upstream, engine.oracle, chat, BusyClock())
    until = min(known.tally.samples + STRETCH, goal.n)
    stretch = Stretch(known.tally, until, goal, scale)
    samples: dict[int, Sample] = {}

    async def draw(index: int) -> Sample:
        noisy = await asyncio.to_thread(case.variants, index, rules, key)
        seed = case.seed(index, rules, key)
        try:
            return await caller.sample(index, noisy, seed=seed, variant=True)
        except UpstreamError as error:
            if not error.transient:
                raise
            # There is no client to be told of a 429: it is this index's outcome, and the run goes
            # on. A second draw of the index would not be the first one.
            return Sample(index=index, outcome=Outcome.MISSING, failure=error)

    # It asks for `launch`, `record` and `decision`, all of which a stretch has.
    certifier = cast("Certifier", stretch)
    try:
        await fan_out(certifier, draw, max_parallel=rules.max_parallel, samples=samples)
    finally:
        reached = Known(stretch.tally, known.usage + caller.usage)
        answered = any(sample.outcome is not Outcome.MISSING for sample in samples.values())
        if answered and stretch.tally != known.tally:
            keep(case.digest.hex(), reached)
    if not answered:
        _raise_fault(samples)
    return reached


def _raise_fault(samples: dict[int, Sample]) -> None:
    """Nothing was learnt of the picture: a report must not call that a radius of 0."""
    for sample in samples.values():
        if sample.failure is not None:
            raise sample.failure
