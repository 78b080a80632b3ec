"""Draws of one view of a request, without noise, judged as in decisions; for measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.budget import Budget
from guardrail.engine.fanout import fan_out
from guardrail.engine.sampler import Sampler
from guardrail.engine.verdict import Sample
from guardrail.errors import GuardrailError, UpstreamError
from guardrail.estimation.segment import Segment
from guardrail.estimation.stop_rule import RadiusScale, RateEstimate
from guardrail.evaluation.threat_facts import ViewCounts
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.engine import Engine
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.rules import Rules
    from guardrail.engine.threats import View
    from guardrail.evaluation.recall_log import RecallLog
    from guardrail.images.codec import Picture

__all__ = ["ViewDraws"]


class ViewDraws:
    """Draws views of one request, those that the log does not have yet.

    Args:
        engine: model, oracle, and a key of its own (`measuring_key`).
        rules: the engine's, without the limits of one decision.
        prepared: the request.
        pictures: its own.
        digest: of the request (hex).
        log: what is done, and where it is kept.

    Attributes:
        drawn: what each view brought, in the order in which they were asked for.
        failure: why an outcome was missing; None where none was.
    """

    def __init__(
        self,
        engine: Engine,
        rules: Rules,
        prepared: PreparedRequest,
        pictures: Sequence[Picture],
        digest: str,
        log: RecallLog,
    ) -> None:
        self._engine, self._rules, self._prepared = engine, rules, prepared
        self._pictures, self._digest, self._log = pictures, digest, log
        self.drawn: list[ViewCounts] = []
        self.failure: GuardrailError | None = None

    async def draw(self, view: View, chat: CanonicalChat, draws: int, *, most: int) -> ViewCounts:
        """The counts of one view; a view of which nothing came is not kept.

        Args:
            view: which.
            chat: what is asked, with the view's own text.
            draws: of it.
            most: the view is given up once more than so many are harmless or missing.
        """
        counts = self._log.view(self._digest, view.key.decode(), draws)
        if counts is None:
            counts = await self._draw_anew(view, chat, _Stopping(draws, most))
            if counts.missing < counts.samples:
                self._log.keep_view(self._digest, view.key.decode(), draws, counts)
        self.drawn.append(counts)
        return counts

    @property
    def brought_nothing(self) -> bool:
        """Whether there were draws, and no answer to any that could be judged."""
        return bool(self.drawn) and all(view.missing == view.samples for view in self.drawn)

    async def _draw_anew(self, view: View, chat: CanonicalChat, stopping: _Stopping) -> ViewCounts:
        engine, rules, prepared = self._engine, self._rules, self._prepared
        budget = Budget(rules)
        sampler = Sampler(rules, engine.upstream, engine.oracle, chat, budget)
        shown = await prepared.draw_view(view, self._pictures)

        async def sample(index: int) -> Sample:
            seed = prepared.derive_seed(index, rules, engine.key, view)
            try:
                found = await sampler.sample(index, shown, seed=seed, variant=True)
            except UpstreamError as error:
                found = Sample(index=index, outcome=Outcome.MISSING, failure=error)
            self.failure = found.failure or self.failure
            return found

        scale = RadiusScale(rules, prepared.geometry)
        segment = Segment(RateEstimate(0, 0, 0), stopping.draws, stopping, scale)
        await fan_out(segment, sample, max_parallel=rules.max_parallel, samples={})
        estimate = segment.estimate
        return ViewCounts(
            samples=estimate.samples,
            harmless=estimate.harmless,
            missing=estimate.missing,
            calls=sampler.usage.calls,
            cost_usd=budget.cost_usd,
        )


@dataclass(frozen=True, slots=True)
class _Stopping:
    """When a view is done: after its draws, or once more than `most` are harmless or missing."""

    draws: int
    most: int

    def update_bounds(self, estimate: RateEstimate) -> RateEstimate:
        return estimate

    def is_reached(self, estimate: RateEstimate, scale: RadiusScale) -> bool:
        del scale
        return estimate.harmless + estimate.missing > self.most
