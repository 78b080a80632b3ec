"""Recall per threat measured: views of forbidden requests, drawn and judged as in decisions."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.budget import Budget
from guardrail.engine.canonical_chat import canonical_chat
from guardrail.engine.fanout import fan_out
from guardrail.engine.prepared_request import ONLY_ATTEMPT, prepare_request
from guardrail.engine.sampler import Sampler
from guardrail.engine.suffixes import find_ends, last_user_text
from guardrail.engine.threat_recall import Against
from guardrail.engine.threats import Threat, View, plan_views
from guardrail.engine.verdict import Sample
from guardrail.engine.view_chats import view_chat
from guardrail.errors import CertificationError, ConfigError, GuardrailError, UpstreamError
from guardrail.estimation.segment import Segment
from guardrail.estimation.stop_rule import RadiusScale, RateEstimate
from guardrail.evaluation.requests import read_same_pictures
from guardrail.evaluation.threat_facts import (
    ThreatDesign,
    ThreatResult,
    ViewCounts,
    covering_masks,
)
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.engine import Engine
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.rules import Rules
    from guardrail.evaluation.recall_log import RecallLog
    from guardrail.evaluation.requests import RequestSet
    from guardrail.images.codec import Picture
    from guardrail.images.limits import ImageLimits

__all__ = ["measure_threats"]

_MOST_BARREN = 5
"""After so many requests in a row of whose views no answer came, the run stops."""


async def measure_threats(
    engine: Engine,
    design: ThreatDesign,
    requests: RequestSet,
    model: str,
    limits: ImageLimits,
    log: RecallLog,
    step: Callable[[], None],
) -> tuple[ThreatResult, ...]:
    """Draws the views of every request that the log does not have yet.

    Args:
        engine: rules, model, oracle, and a key of its own (`measuring_key`).
        design: how much to draw, and what is said.
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
    # A measurement is not a decision: the limits of one decision do not end it.
    rules = dataclasses.replace(engine.rules, max_calls=None, max_cost_usd=None)
    results: list[ThreatResult] = []
    barren = 0
    for digest, request in requests.drawn:
        pictures = await asyncio.to_thread(read_same_pictures, request, limits, digest)
        chat = canonical_chat(request.chat(model))
        # Always the same attempt: a run that was stopped goes on with the draws it would have made.
        prepared = await asyncio.to_thread(
            prepare_request, engine.preprocessing(model), chat, pictures, ONLY_ATTEMPT
        )
        one = _OneRequest(engine, rules, design, chat, prepared, pictures, digest, log)
        sizes = [canvas.source_size for canvas in prepared.canvases]
        try:
            views = plan_views(design.threats, sizes, 0)
            covering = covering_masks(design, sizes, digest)
        except CertificationError as error:
            raise ConfigError(
                f"the policy has no views for the picture sizes of '{request.name}' ({error}); "
                "leave the request out, or change the policy"
            ) from error
        shown = await one.measure(views, covering)
        results.append(ThreatResult(digest, request.name, shown, tuple(one.drawn)))
        nothing = all(view.missing == view.samples for view in one.drawn)
        barren = barren + 1 if one.drawn and nothing else 0
        if barren and barren >= min(_MOST_BARREN, len(requests.drawn)):
            raise one.failure or UpstreamError("the model gave no answer to any view")
        step()
    return tuple(results)


class _OneRequest:
    """The views of one request; `failure` is why an outcome was missing."""

    def __init__(
        self,
        engine: Engine,
        rules: Rules,
        design: ThreatDesign,
        chat: CanonicalChat,
        prepared: PreparedRequest,
        pictures: Sequence[Picture],
        digest: str,
        log: RecallLog,
    ) -> None:
        self._engine, self._rules, self._design = engine, rules, design
        self._chat, self._prepared, self._pictures = chat, prepared, pictures
        self._digest, self._log = digest, log
        self.drawn: list[ViewCounts] = []
        self.failure: GuardrailError | None = None

    async def measure(self, views: Sequence[View], covering: Sequence[View]) -> dict[Against, bool]:
        """What the request is shown held against.

        Args:
            views: of its pictures.
            covering: the masks over the place that was drawn for it.
        """
        shown: dict[Against, bool] = {}
        for threat in self._design.threats.settings:
            match threat:
                case Threat.CROPS:
                    windows = [view for view in views if view.threat is threat]
                    shown[Against.CROPS] = await self._draw_until_shown(windows)
                case Threat.STICKERS:
                    others = [v for v in views if v.threat is threat and v not in covering]
                    shown |= await self._draw_masks(covering, others)
                case Threat.SUFFIX:
                    shown[Against.SUFFIX] = await self._draw_suffix()
                case _:
                    assert_never(threat)
        return shown

    async def _draw_until_shown(self, windows: Sequence[View]) -> bool:
        """Whether some window shows it; those after the first that does are not drawn."""
        counts: list[ViewCounts | None] = [None] * len(windows)
        for number, view in enumerate(windows):
            counts[number] = await self._draw(view, views=len(windows))
            if self._design.shows(Against.CROPS, counts):
                return True
        return False

    async def _draw_masks(
        self, covering: Sequence[View], others: Sequence[View]
    ) -> dict[Against, bool]:
        """Those over the drawn place first, and the others while every one shows it."""
        at_place = [await self._draw(view, views=1) for view in covering]
        every: list[ViewCounts | None] = [*at_place, *[None] * len(others)]
        for number, view in enumerate(others, len(at_place)):
            if not all(self._design.shows(Against.STICKERS, [one]) for one in every[:number]):
                break
            every[number] = await self._draw(view, views=1)
        return {
            Against.STICKERS: self._design.shows(Against.STICKERS, every),
            Against.STICKER_PLACE: self._design.shows(Against.STICKER_PLACE, at_place),
        }

    async def _draw_suffix(self) -> bool:
        """Whether the request itself shows it, white space at its end off: view 0."""
        suffix = self._design.threats.suffix
        text = None if suffix is None else last_user_text(self._chat, suffix.unit)
        if suffix is None or text is None:
            return False  # a request without a word has no view, and is not held
        held = text[: find_ends(text, suffix)[0]]
        counts = await self._draw(View(Threat.SUFFIX, cut=0), views=1, text=held)
        return self._design.shows(Against.SUFFIX, [counts])

    async def _draw(self, view: View, *, views: int, text: str | None = None) -> ViewCounts:
        """The counts of one view of `views` of which one is enough, from the log where it has them.

        Given up once it can no longer show anything.
        """
        draws = self._design.draws
        counts = self._log.view(self._digest, view.key.decode(), draws)
        if counts is None:
            chat = view_chat(self._chat, self._design.threats, text)
            counts = await self._draw_anew(view, chat, _Stopping(draws, self._design.most(views)))
            if counts.missing < counts.samples:
                self._log.keep_view(self._digest, view.key.decode(), draws, counts)
        self.drawn.append(counts)
        return counts

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
    """When a view is done: after its draws, or once more of them are passable than show it."""

    draws: int
    most: int

    def update_bounds(self, estimate: RateEstimate) -> RateEstimate:
        return estimate

    def is_reached(self, estimate: RateEstimate, scale: RadiusScale) -> bool:
        del scale
        return estimate.harmless + estimate.missing > self.most
