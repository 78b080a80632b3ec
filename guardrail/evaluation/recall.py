"""Recall measured: noisy variants of forbidden requests, and what counts among their answers."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from guardrail.engine.budget import Budget
from guardrail.engine.canonical_chat import canonical_chat
from guardrail.engine.fanout import fan_out
from guardrail.engine.plan import UNSCALED
from guardrail.engine.prepared_request import ONLY_ATTEMPT, prepare_request
from guardrail.engine.sampler import Sampler
from guardrail.engine.verdict import Sample
from guardrail.errors import CertificationError, ConfigError, GuardrailError, UpstreamError
from guardrail.estimation.segment import Segment
from guardrail.estimation.stop_rule import RadiusScale, RateEstimate
from guardrail.evaluation.recall_facts import Counts, HeldRequest, RecallDesign, Yardstick
from guardrail.evaluation.requests import read_same_pictures
from guardrail.images.keys import NoiseKey
from guardrail.stats import giving_up_counts
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.engine.engine import Engine
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.rules import Rules
    from guardrail.evaluation.recall_log import RecallLog
    from guardrail.evaluation.requests import EvaluationRequest, RequestSet
    from guardrail.images.limits import ImageLimits

__all__ = [
    "add_costs",
    "farthest_radius",
    "measure_recall",
    "measuring_key",
]

_PIECE = 500
"""Draws between two points at which what is known of a request is written down."""
_MOST_BARREN = 5
"""After so many requests in a row that brought no answer at all, the run stops."""


@lru_cache(maxsize=256)
def _giving_up(draws: int, hopeless: int) -> tuple[int, ...]:
    return giving_up_counts(draws, hopeless)


def farthest_radius(rules: Rules, draws: int, beta: float) -> float:
    """How far a request with no harmless answer is shown held, where its pictures fit the canvas.

    Raises:
        ConfigError: not even such a request is shown held after so few draws.
    """
    radius = Yardstick.of(rules, UNSCALED).radius(0, draws, beta)
    if radius < 0.0:
        raise ConfigError(
            f"{draws} draws of a request cannot show that it is held, not even if all of them are "
            "harmful; raise --draws",
            field="draws",
        )
    return radius


def measuring_key(key: NoiseKey) -> NoiseKey:
    """A key of its own for measurements, so that none of their noise is used in service."""
    return NoiseKey(key.derive(b"guardrail/recall/1"))


async def measure_recall(
    engine: Engine,
    design: RecallDesign,
    requests: RequestSet,
    model: str,
    limits: ImageLimits,
    log: RecallLog,
    step: Callable[[HeldRequest], None],
) -> list[HeldRequest]:
    """Draws the variants of every request that the log does not have yet.

    Args:
        engine: rules, model, oracle, and a key of its own (`measuring_key`).
        design: how much to draw.
        requests: whom to draw.
        model: the name that the upstream is asked for.
        limits: of pictures.
        log: what is done, and where it is kept.
        step: told of each request that is done.

    Raises:
        GuardrailError: model or oracle are not set up rightly, or bring nothing at all for several
            requests in a row. What is known is kept.
        ConfigError: a picture has changed since the requests were read.
    """
    # A measurement is not a decision: the limits of one decision do not end it.
    rules = dataclasses.replace(engine.rules, max_calls=None, max_cost_usd=None)
    run = _Run(engine, rules, design, model, limits, log)
    results: list[HeldRequest] = []
    barren: list[HeldRequest] = []
    for digest, request in requests.drawn:
        found = log.result(digest, request.name)
        if found is None:
            found, failure = await run.measure(digest, request)
            barren.append(found)
            if failure is None:
                _finish(log, barren)
            elif len(barren) >= _MOST_BARREN or len(barren) == len(requests.drawn):
                raise failure
        results.append(found)
        step(found)
    _finish(log, barren)
    return results


def _no_answer() -> UpstreamError:
    return UpstreamError("the model gave no answer to any variant; see whether it is reachable")


def _finish(log: RecallLog, pending: list[HeldRequest]) -> None:
    """Results without any answer are written only once the model is known to answer others."""
    for result in pending:
        log.finish(result)
    pending.clear()


@dataclass(frozen=True, slots=True)
class _Run:
    """What all requests of a measurement have in common."""

    engine: Engine
    rules: Rules
    design: RecallDesign
    model: str
    limits: ImageLimits
    log: RecallLog

    async def measure(
        self, digest: str, request: EvaluationRequest
    ) -> tuple[HeldRequest, GuardrailError | None]:
        """The request's counts, and what went wrong where it brought no answer at all."""
        pictures = await asyncio.to_thread(read_same_pictures, request, self.limits, digest)
        chat = canonical_chat(request.chat(self.model))
        # Always the same attempt: a run that was stopped goes on with the draws it would have made.
        prepared = await asyncio.to_thread(
            prepare_request,
            self.engine.preprocessing(self.model),
            chat,
            pictures,
            ONLY_ATTEMPT,
        )
        try:
            yardstick = await asyncio.to_thread(Yardstick.of, self.rules, prepared.geometry)
        except CertificationError as error:
            raise ConfigError(
                f"the policy has no plan for the picture sizes of '{request.name}' ({error}); "
                "leave the request out, or change the policy"
            ) from error
        sampler = Sampler(
            self.rules,
            self.engine.upstream,
            self.engine.oracle,
            chat,
            Budget(self.rules),
        )
        one = _OneRequest(self, digest, prepared, yardstick, sampler, self.log.progress(digest))
        counts = await one.draw()
        nothing = counts.samples > 0 and counts.missing == counts.samples
        failure = (one.failure or _no_answer()) if nothing else None
        return HeldRequest(digest, request.name, counts, yardstick), failure


@dataclass(slots=True)
class _OneRequest:
    """The draws of one request, from what is known on; `failure` is why an outcome was missing."""

    run: _Run
    digest: str
    prepared: PreparedRequest
    yardstick: Yardstick
    sampler: Sampler
    known: Counts
    failure: GuardrailError | None = None

    async def draw(self) -> Counts:
        """Piece by piece until the draws are made, or the request is given up."""
        stopping, counts = _Stopping(self.run.design, self.yardstick), self.known
        while not stopping.is_over(counts.samples, counts.passable):
            counts = await self._piece(counts, stopping)
        return counts

    async def _piece(self, before: Counts, stopping: _Stopping) -> Counts:
        until = min(before.samples + _PIECE, self.run.design.draws)
        start = RateEstimate(before.samples, before.passable - before.missing, before.missing)
        segment = Segment(
            start, until, stopping, RadiusScale(self.run.rules, self.prepared.geometry)
        )
        samples: dict[int, Sample] = {}
        counts = before
        try:
            await fan_out(
                segment,
                self._sample,
                max_parallel=self.run.rules.max_parallel,
                samples=samples,
            )
        finally:
            used = [samples[i] for i in range(before.samples, segment.estimate.samples)]
            counts = await self._count(before, used)
            if counts.missing < counts.samples:
                self.run.log.keep(self.digest, counts)
        return counts

    async def _sample(self, index: int) -> Sample:
        """One variant, asked and judged as in a decision; what fails for good is missing too."""
        run = self.run
        noisy = await self.prepared.draw_variant(index, run.rules, run.engine.key)
        seed = self.prepared.derive_seed(index, run.rules, run.engine.key)
        try:
            sample = await self.sampler.sample(index, noisy, seed=seed, variant=True)
        except UpstreamError as error:
            sample = Sample(index=index, outcome=Outcome.MISSING, failure=error)
        self.failure = sample.failure or self.failure
        return sample

    async def _count(self, before: Counts, samples: Sequence[Sample]) -> Counts:
        passable = [sample for sample in samples if sample.outcome.counts_as_passable]
        missing = sum(sample.outcome is Outcome.MISSING for sample in passable)
        refused = 0
        for sample in passable:
            if sample.outcome is Outcome.HARMLESS and sample.answer is not None:
                refused += (await self.sampler.judge.read(sample.answer)).refused
        return Counts(
            samples=before.samples + len(samples),
            harmless=before.harmless + len(passable) - missing - refused,
            refused=before.refused + refused,
            missing=before.missing + missing,
            usage=self.known.usage + self.sampler.usage,
            cost_usd=add_costs(self.known.cost_usd, self.sampler.budget.cost_usd),
        )


@dataclass(frozen=True, slots=True)
class _Stopping:
    """When a request is done: after its draws, or once it is given up."""

    design: RecallDesign
    yardstick: Yardstick

    def is_over(self, samples: int, passable: int) -> bool:
        draws, beta = self.design.draws, self.design.beta
        most = _giving_up(draws, self.yardstick.hopeless(draws, beta))
        return samples >= draws or passable >= most[samples]

    def update_bounds(self, estimate: RateEstimate) -> RateEstimate:
        return estimate

    def is_reached(self, estimate: RateEstimate, scale: RadiusScale) -> bool:
        del scale
        return self.is_over(estimate.samples, estimate.harmless + estimate.missing)


def add_costs(a: float | None, b: float | None) -> float | None:
    """Of two costs, either of which may not be known."""
    return None if a is None or b is None else a + b
