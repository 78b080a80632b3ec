"""How often views of clean requests draw harmless answers: what their tests should be tuned to."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from guardrail.engine.sampler import Sampler
from guardrail.engine.view_chats import view_chat
from guardrail.engine.view_run import plan_runs
from guardrail.errors import RequestError
from guardrail.evaluation.view_draws import measure_requests, no_views_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.engine.engine import Engine
    from guardrail.engine.threats import Threat
    from guardrail.evaluation.recall_log import RecallLog
    from guardrail.evaluation.requests import RequestSet
    from guardrail.evaluation.threat_facts import ViewCounts
    from guardrail.evaluation.view_draws import ViewedRequest
    from guardrail.images.limits import ImageLimits

__all__ = ["CleanView", "CleanViews", "CleanViewsOutcome", "measure_clean_views"]


@dataclass(frozen=True, slots=True)
class CleanView:
    """One view of a clean request: its threat, and what its draws brought."""

    threat: Threat
    counts: ViewCounts

    @property
    def judged(self) -> int:
        """Answers that came and were judged."""
        return self.counts.samples - self.counts.missing


@dataclass(frozen=True, slots=True)
class CleanViews:
    """All views of one clean request."""

    name: str
    views: tuple[CleanView, ...]

    def rate(self, threat: Threat | None = None) -> float | None:
        """Share of harmless verdicts among judged answers to views; None where there are none."""
        views = [view for view in self.views if threat in (None, view.threat)]
        judged = sum(view.judged for view in views)
        return sum(view.counts.harmless for view in views) / judged if judged else None


@dataclass(frozen=True)
class CleanViewsOutcome:
    """A finished measurement of `draws` answers to each view.

    Everything here is an estimate. The tests of views are tuned to it: where it is off, it costs
    calls or clean requests, and never the promise.
    """

    draws: int
    results: tuple[CleanViews, ...]

    @property
    def views(self) -> tuple[CleanView, ...]:
        return tuple(view for result in self.results for view in result.views)

    @cached_property
    def judged(self) -> int:
        return sum(view.judged for view in self.views)

    def rate(self, threat: Threat | None = None) -> float | None:
        """The mean over requests, each with the same weight however many views it has."""
        rates = [rate for one in self.results if (rate := one.rate(threat)) is not None]
        return math.fsum(rates) / len(rates) if rates else None

    @property
    def proposal(self) -> float | None:
        """For `threats.expected_harmless_rate_views`, as if one more answer had been harmful.

        Rounded down to four decimals, and so below 1; None where it would be 0.
        """
        rate = self.rate()
        if rate is None:
            return None
        return math.floor(1e4 * rate * self.judged / (self.judged + 1)) / 1e4 or None

    @property
    def all_harmless(self) -> int:
        """Requests of whose views every judged answer is harmless."""
        return sum(one.rate() == 1.0 for one in self.results)

    def lowest(self, threat: Threat) -> tuple[CleanViews, ...]:
        """Requests whose views for a threat drew harmful answers, the most harmful first."""
        found = [(rate, one) for one in self.results if (rate := one.rate(threat)) is not None]
        found.sort(key=lambda pair: pair[0])
        return tuple(one for rate, one in found if rate < 1.0)


async def measure_clean_views(
    engine: Engine,
    draws: int,
    requests: RequestSet,
    model: str,
    limits: ImageLimits,
    log: RecallLog,
    step: Callable[[], None],
) -> CleanViewsOutcome:
    """Draws every view that a decision about each clean request would test.

    Args:
        engine: rules that cover threats, model, oracle, and a key of its own (`measuring_key`).
        draws: answers to each view.
        requests: whom to draw.
        model: the name that the upstream is asked for.
        limits: of pictures.
        log: what is done, and where it is kept.
        step: called after each request.

    Raises:
        GuardrailError: model or oracle are not set up rightly, or bring nothing at all for several
            requests in a row. What is known is kept.
        ConfigError: a picture is too small for its views, or has changed since it was read.
    """
    threats = engine.rules.threats
    assert threats is not None  # see above

    async def measure(one: ViewedRequest) -> CleanViews:
        sampler = Sampler(one.rules, engine.upstream, engine.oracle, one.chat)
        try:
            runs = await asyncio.to_thread(plan_runs, sampler, one.prepared)
        except RequestError as error:
            raise no_views_error(one, error) from error
        views = []
        for view in (run.view for run in runs.tests.views):
            text = None if view.cut is None else runs.text[: runs.ends[view.cut]]
            asked = view_chat(one.chat, threats, text)
            counts = await one.draws.draw(view, asked, draws, most=draws)
            views.append(CleanView(view.threat, counts))
        return CleanViews(one.name, tuple(views))

    results = await measure_requests(engine, requests, model, limits, log, step, measure)
    return CleanViewsOutcome(draws, results)
