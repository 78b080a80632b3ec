"""An upstream behind a limiter: its limits, its queue, its breaker.

Why the parts are written here: what matters is who is next. aiolimiter wakes those that wait in
the order of the amounts they asked for and lets a whole period's worth through at once;
asyncio.Semaphore knows only the order of arrival, by which 200 variants of one picture keep a
short question waiting; purgatory's breaker takes a cancelled call for a failed one, reads the wall
clock, and cannot hold back a queue while a single call tries.

Nothing is repeated here, whatever the fault: a `Retry-After` makes later calls wait, and that is
all. The engine alone knows which calls may be made again without a second draw.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from guardrail.errors import GuardrailError, UpstreamError
from guardrail.upstreams.base import (
    StreamingUpstream,
    is_deterministic,
    known_models,
    provider_model,
    undrawn_statuses,
)
from guardrail.upstreams.faults import REFUSALS_FOR_ALL
from guardrail.upstreams.limits.calls import CallEnd, Grant
from guardrail.upstreams.limits.limiter import Limiter
from guardrail.upstreams.picture_side import find_picture_side
from guardrail.upstreams.undrawn import TOO_MANY_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from guardrail.types import Answer, Chat, Pixels
    from guardrail.upstreams.base import Upstream, Watch
    from guardrail.upstreams.limits.call_limits import CallLimits
    from guardrail.upstreams.limits.limiter import Clock
    from guardrail.upstreams.picture_side import PictureSide

__all__ = ["LimitedUpstream", "Permit", "permit", "streams"]


class LimitedUpstream:
    """An upstream whose calls wait for their turn; name and revision are those of the model.

    A limiter that is given is shared with other ways to the same model, and closed by its owner.

    `complete` waits by itself, each chat taking turns with the others. A caller with many calls of
    one decision takes the turn first, by `turn`, so that waiting does not count as part of the
    call's time.
    """

    def __init__(
        self,
        upstream: Upstream,
        limits: CallLimits,
        *,
        clock: Clock | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        self.upstream = upstream
        self._owns_limiter = limiter is None
        self.limiter = limiter or Limiter(limits, clock=clock)

    def __repr__(self) -> str:
        return f"LimitedUpstream({self.upstream!r})"

    @property
    def name(self) -> str:
        return self.upstream.name

    @property
    def revision(self) -> str:
        return self.upstream.revision

    @property
    def deterministic(self) -> bool:
        return is_deterministic(self.upstream)

    @property
    def undrawn_statuses(self) -> frozenset[int]:
        return undrawn_statuses(self.upstream)

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        """One answer; see `Upstream.complete`. Raises UpstreamError, also where `enter` does."""
        # A caller of its own: nothing is known of further calls, so each counts by itself.
        async with permit(self, chat, chat.model, fault_of=object()) as way:
            return await way.complete(chat, pictures, seed=seed)

    @property
    def known_models(self) -> tuple[str, ...]:
        return known_models(self.upstream)

    def provider_model(self, model: str) -> str:
        return provider_model(self.upstream, model)

    def picture_side(self, model: str) -> PictureSide | None:
        return find_picture_side(self.upstream, model)

    def is_available(self, model: str, caller: str = "") -> bool:
        """Whether a new decision that asks this model could be served here soon."""
        return self.limiter.is_available(self.provider_model(model), caller)

    async def models(self) -> list[str]:
        """The upstream's; not counted, as the list is asked for to see whether it is up."""
        return await self.upstream.models()

    async def aclose(self) -> None:
        if self._owns_limiter:
            self.limiter.close()
        await self.upstream.aclose()


def streams(upstream: Upstream) -> bool:
    """Whether its answers can be watched, by way of `Permit.complete`."""
    return isinstance(_bare(upstream), StreamingUpstream)


def permit(
    upstream: Upstream,
    decision: object,
    model: str,
    order: int = 0,
    *,
    deadline: float = math.inf,
    fault_of: object = None,
    caller: str = "",
) -> Permit:
    """The way of one call, to be entered by `async with`; without a limiter it is always free.

    Args:
        upstream: what is asked.
        decision: what the call belongs to.
        model: as the client calls it.
        order: see `Limiter.enter`.
        deadline: likewise.
        fault_of: likewise.
        caller: likewise.
    """
    if not isinstance(upstream, LimitedUpstream):
        return Permit(None, upstream)
    limiter, asked = upstream.limiter, upstream.provider_model(model)

    def enter() -> Awaitable[Grant]:
        return limiter.enter(
            decision, order, model=asked, deadline=deadline, fault_of=fault_of, caller=caller
        )

    return Permit((limiter, enter), upstream.upstream)


class Permit:
    """One call: waits for its turn, and tells the limiter on leaving how it went.

    What is raised inside counts, not only what the upstream itself raises: a call that was cut off
    as too late is a fault of the upstream, one that was given up because the client left is not.
    """

    def __init__(
        self, line: tuple[Limiter, Callable[[], Awaitable[Grant]]] | None, upstream: Upstream
    ) -> None:
        self._line = line
        self._upstream = upstream
        self._start: Grant | None = None
        self._sent = False
        self._answer: Answer | None = None

    async def enter(self) -> None:
        """Waits for the turn, see `Limiter.enter`; then enter the context, which waits no more."""
        if self._line is not None and self._start is None:
            self._start = await self._line[1]()

    async def __aenter__(self) -> Permit:
        await self.enter()
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._line is not None and self._start is not None:
            self._line[0].leave(self._start, self._end(error))

    async def complete(
        self, chat: Chat, pictures: Sequence[Pixels], *, seed: int, watch: Watch | None = None
    ) -> Answer:
        """As `Upstream.complete`; with `watch`, which takes one that streams, it is watched."""
        self._sent = True
        if watch is not None and isinstance(self._upstream, StreamingUpstream):
            self._answer = await self._upstream.complete_watched(
                chat, pictures, seed=seed, watch=watch
            )
        else:
            self._answer = await self._upstream.complete(chat, pictures, seed=seed)
        return self._answer

    def _end(self, error: BaseException | None) -> CallEnd:
        if self._answer is not None:
            usage = self._answer.usage
            return CallEnd(alive=True, tokens=usage.prompt_tokens + usage.completion_tokens or None)
        if not self._sent:
            return CallEnd(tokens=0)
        if error is None or isinstance(error, asyncio.CancelledError):
            return CallEnd()
        return _fault_end(error)


def _bare(upstream: Upstream) -> Upstream:
    return upstream.upstream if isinstance(upstream, LimitedUpstream) else upstream


def _fault_end(error: BaseException) -> CallEnd:
    """What a fault says about the upstream: any refusal and any readable answer is a sign of life.

    Else a client whose request draws an answer that is of no use could take the model from all.
    """
    if not isinstance(error, UpstreamError):
        # Ours were raised before anything was sent; an unforeseen one counts as the upstream's.
        return CallEnd(alive=None if isinstance(error, GuardrailError) else False, tokens=0)
    status = error.upstream_status or error.status
    lives = error.in_answer or status < 500
    is_refused = status in REFUSALS_FOR_ALL or (status == TOO_MANY_REQUESTS and not error.transient)
    return CallEnd(
        alive=True if lives else False if error.transient else None,
        tokens=0,
        pause_s=error.retry_after_s,
        is_rate_limit=error.status == TOO_MANY_REQUESTS,
        refusal=error if is_refused and not (error.in_answer or error.transient) else None,
    )
