"""Recall per threat measured: views of forbidden requests, drawn and judged as in decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from guardrail.engine.suffixes import find_ends, last_user_text
from guardrail.engine.threat_recall import Against
from guardrail.engine.threats import Threat, View, plan_views
from guardrail.engine.view_chats import view_chat
from guardrail.errors import CertificationError
from guardrail.evaluation.threat_facts import (
    ThreatDesign,
    ThreatResult,
    ViewCounts,
    covering_masks,
)
from guardrail.evaluation.view_draws import measure_requests, no_views_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.engine import Engine
    from guardrail.evaluation.recall_log import RecallLog
    from guardrail.evaluation.requests import RequestSet
    from guardrail.evaluation.view_draws import ViewDraws, ViewedRequest
    from guardrail.images.limits import ImageLimits

__all__ = ["measure_threats"]


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

    async def measure(one: ViewedRequest) -> ThreatResult:
        sizes = [canvas.source_size for canvas in one.prepared.canvases]
        try:
            views = plan_views(design.threats, sizes, 0)
            covering = covering_masks(design, sizes, one.digest)
        except CertificationError as error:
            raise no_views_error(one, error) from error
        shown = await _OneRequest(design, one.chat, one.draws).measure(views, covering)
        return ThreatResult(one.digest, one.name, shown, tuple(one.draws.drawn))

    return await measure_requests(engine, requests, model, limits, log, step, measure)


class _OneRequest:
    """What one request is shown held against."""

    def __init__(self, design: ThreatDesign, chat: CanonicalChat, views: ViewDraws) -> None:
        self._design, self._chat, self._views = design, chat, views

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
        """The counts of one view of `views` of which one is enough.

        Given up once it can no longer show anything.
        """
        design = self._design
        chat = view_chat(self._chat, design.threats, text)
        return await self._views.draw(view, chat, design.draws, most=design.most(views))
