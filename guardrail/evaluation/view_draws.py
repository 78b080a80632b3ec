"""Draws of views of requests, without noise, judged as in decisions; for measurements."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from guardrail.engine.budget import Budget
from guardrail.engine.canonical_chat import canonical_chat
from guardrail.engine.fanout import fan_out
from guardrail.engine.prepared_request import ONLY_ATTEMPT, prepare_request
from guardrail.engine.sampler import Sampler
from guardrail.engine.verdict import Sample
from guardrail.errors import ConfigError, GuardrailError, UpstreamError
from guardrail.estimation.segment import Segment
from guardrail.estimation.stop_rule import RadiusScale, RateEstimate
from guardrail.evaluation.requests import read_same_pictures
from guardrail.evaluation.threat_facts import ViewCounts
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.engine import Engine
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.rules import Rules
    from guardrail.engine.threats import View
    from guardrail.evaluation.recall_log import RecallLog
    from guardrail.evaluation.requests import RequestSet
    from guardrail.images.codec import Picture
    from guardrail.images.limits import ImageLimits

__all__ = ["ViewDraws", "ViewedRequest", "measure_requests", "no_views_error"]

_Result = TypeVar("_Result")
_MOST_BARREN = 5
"""After so many requests in a row of whose views no answer came, the run stops."""


@dataclass(frozen=True, slots=True)
class ViewedRequest:
    """One request whose views are drawn.

    Attributes:
        digest: of the request (hex).
        name: what messages call it.
        rules: the engine's, without the limits of one decision.
        chat: what is asked; views have texts of their own.
        prepared: the request with its pictures.
        draws: draws its views.
    """

    digest: str
    name: str
    rules: Rules
    chat: CanonicalChat
    prepared: PreparedRequest
    draws: ViewDraws


async def measure_requests(
    engine: Engine,
    requests: RequestSet,
    model: str,
    limits: ImageLimits,
    log: RecallLog,
    step: Callable[[], None],
    measure: Callable[[ViewedRequest], Awaitable[_Result]],
) -> tuple[_Result, ...]:
    """What `measure` finds of each request, one after the other.

    Args:
        engine: rules, model, oracle, and a key of its own (`measuring_key`).
        requests: whom to draw.
        model: the name that the upstream is asked for.
        limits: of pictures.
        log: what is done, and where it is kept.
        step: called after each request.
        measure: draws the views of one request.

    Raises:
        GuardrailError: model or oracle are not set up rightly, or bring nothing at all for several
            requests in a row. What is known is kept.
        ConfigError: a picture has changed since it was read.
    """
    # A measurement is not a decision: the limits of one decision do not end it.
    rules = dataclasses.replace(engine.rules, max_calls=None, max_cost_usd=None)
    results: list[_Result] = []
    barren = 0
    for digest, request in requests.drawn:
        pictures = await asyncio.to_thread(read_same_pictures, request, limits, digest)
        chat = canonical_chat(request.chat(model))
        # Always the same attempt: a run that was stopped goes on with the draws it would have made.
        prepared = await asyncio.to_thread(
            prepare_request, engine.preprocessing(model), chat, pictures, ONLY_ATTEMPT
        )
        draws = ViewDraws(engine, rules, prepared, pictures, digest, log)
        one = ViewedRequest(digest, request.name, rules, chat, prepared, draws)
        results.append(await measure(one))
        barren = barren + 1 if draws.brought_nothing else 0
        if barren >= min(_MOST_BARREN, len(requests.drawn)):
            raise draws.failure or UpstreamError("the model gave no answer to any view")
        step()
    return tuple(results)


def no_views_error(one: ViewedRequest, error: GuardrailError) -> ConfigError:
    """What to raise where a policy's views do not fit the pictures of a request."""
    return ConfigError(
        f"the policy has no views for the picture sizes of '{one.name}' ({error}); "
        "leave the request out, or change the policy"
    )


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
