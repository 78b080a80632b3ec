"""Several upstreams in order: where one fails, the decision is made again by the next one."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING

from guardrail.engine.budget import Budget
from guardrail.engine.engine import Engine
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.errors import UpstreamError
from guardrail.stats import failover_alpha
from guardrail.types import Usage
from guardrail.upstreams.chain import UpstreamChain
from guardrail.upstreams.limits.unsent import NOT_SENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.rules import Rules
    from guardrail.images.codec import Picture
    from guardrail.images.filters import PictureFilter
    from guardrail.images.keys import NoiseKey
    from guardrail.images.known_pictures import KnownPictures
    from guardrail.oracles.base import Oracle
    from guardrail.picture_text.check import PictureTextCheck
    from guardrail.types import Answer, Chat
    from guardrail.upstreams.base import Upstream

__all__ = ["FailoverEngine"]

_log = logging.getLogger(__name__)


class FailoverEngine(Engine):
    """Decides about each chat by one of several models.

    A decision is made by one upstream alone: its samples, its reference, its answer. Upstreams
    known to be down, or that asked for a long pause, are passed over. Where the upstream
    itself fails (a fault that might pass but did not, its breaker open, its queue full), the whole
    decision is made again by the next one, within the same deadline. Faults of the set-up (a wrong
    key, an unknown model) and of the request are reported, never hidden by another model. No
    verdict is asked for twice: what was blocked for harm, or as uncertain, stays blocked.

    Each upstream tests at its share of alpha; `failover_alpha` proves that they add up.
    """

    upstream: UpstreamChain

    def __init__(
        self,
        rules: Rules,
        upstreams: Sequence[Upstream],
        oracle: Oracle,
        key: NoiseKey,
        text_check: PictureTextCheck | None = None,
        picture_filter: PictureFilter | None = None,
        known_pictures: KnownPictures | None = None,
    ) -> None:
        chain = UpstreamChain(upstreams)
        super().__init__(rules, chain, oracle, key, text_check, picture_filter, known_pictures)
        self._engines = tuple(self.with_upstream(upstream) for upstream in upstreams)
        self._names = [(upstream.name, upstream.revision) for upstream in upstreams]

    def with_oracle(self, oracle: Oracle) -> FailoverEngine:
        return FailoverEngine(self.rules, self.upstream.members, oracle, *self._parts)

    def most_calls(
        self, sizes: Sequence[tuple[int, int]], model: str, alpha: float | None = None
    ) -> int:
        """Those of all upstreams, as each may have to decide anew."""
        alpha, members = self.alpha(alpha), len(self._engines)
        return sum(
            engine.most_calls(sizes, model, failover_alpha(alpha, position, members))
            for position, engine in enumerate(self._engines)
        )

    def describe_preprocessing(self, model: str) -> list[str]:
        return [text for engine in self._engines for text in engine.describe_preprocessing(model)]

    async def decide(
        self,
        chat: Chat,
        pictures: Sequence[Picture] = (),
        *,
        alpha: float | None = None,
        deadline: float | None = None,
        budget: Budget | None = None,
        digest: bytes | None = None,
        own: Answer | None = None,
        attempt: bytes | None = None,
    ) -> Verdict:
        """See `Engine.decide`. Usage, cost and times are those of all upstreams.

        The limits of calls and cost hold for all of them together.
        """
        end, budget = self.deadline(deadline), budget or Budget(self.rules)
        alpha = self.alpha(alpha)
        tried: list[Verdict] = []
        for position in self.upstream.ready(chat.model, budget.caller):
            if tried:
                self._log_failover(tried[-1], position)
            share = failover_alpha(alpha, position, len(self._engines))
            verdict = await self._engines[position].decide(
                chat,
                pictures,
                alpha=share,
                deadline=end,
                budget=budget,
                digest=digest,
                own=own,
                attempt=attempt,
            )
            tried.append(self._with_upstream(verdict, position))
            if not _upstream_failed(verdict) or asyncio.get_running_loop().time() >= end:
                break
        return _combine(tried, alpha if self.rules.tests(len(pictures)) else None)

    async def answer_unjudged(
        self,
        chat: Chat,
        pictures: Sequence[Picture] = (),
        *,
        deadline: float | None = None,
        caller: str = "",
    ) -> Verdict:
        """See `Engine.answer_unjudged`; by the first upstream that answers."""
        end = self.deadline(deadline)
        tried: list[Verdict] = []
        for position in self.upstream.ready(chat.model, caller):
            verdict = await self._engines[position].answer_unjudged(
                chat, pictures, deadline=end, caller=caller
            )
            tried.append(self._with_upstream(verdict, position))
            if not _upstream_failed(verdict) or asyncio.get_running_loop().time() >= end:
                break
        return _combine(tried, None)

    def _with_upstream(self, verdict: Verdict, position: int) -> Verdict:
        name, revision = self._names[position]
        return dataclasses.replace(verdict, upstream=name, upstream_revision=revision)

    def _log_failover(self, verdict: Verdict, position: int) -> None:
        _log.warning(
            "upstream %s failed (%s); the decision is made again by %s",
            verdict.upstream,
            verdict.failure,
            self._names[position][0],
        )


def _upstream_failed(verdict: Verdict) -> bool:
    """Whether the upstream itself, and nothing else, kept the request from being decided."""
    if verdict.action is not Action.FAULT:
        return False
    fault = verdict.failure
    return isinstance(fault, UpstreamError) and (fault.transient or fault.code in NOT_SENT)


def _combine(tried: Sequence[Verdict], alpha: float | None) -> Verdict:
    """The last verdict, with the alpha that all tests share and what all of them took.

    An upstream without a test at its share of alpha decides nothing; then the failure of the one
    before it is reported. The cost is that of the common budget already.
    """
    tested = [verdict for verdict in tried if verdict.reason is not Reason.NOT_CERTIFIABLE]
    return dataclasses.replace(
        (tested or tried)[-1],
        alpha=alpha,
        usage=sum((verdict.usage for verdict in tried), Usage()),
        elapsed_s=sum(verdict.elapsed_s for verdict in tried),
        overhead_s=sum(verdict.overhead_s for verdict in tried),
    )
