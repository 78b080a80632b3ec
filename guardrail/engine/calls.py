"""One variant's way to the model and to the oracle, with repeats, limits and a clock."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guardrail.engine.budget import Budget
from guardrail.engine.early import EarlyStop
from guardrail.engine.probe import check_kept, probing
from guardrail.engine.repeats import Repeats
from guardrail.engine.retry import (
    ends_decision,
    may_call_again,
    may_judge_again,
    run_with_repeats,
)
from guardrail.engine.rules import OnUnscanned
from guardrail.errors import GuardrailError, OracleError, UpstreamError
from guardrail.oracles.base import Exchange, Judgement, ReferenceOracle, goes_by_text
from guardrail.types import Outcome, Usage
from guardrail.upstreams.cached import CACHED_ANSWER
from guardrail.upstreams.governed import streams, turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.judged import Judged
    from guardrail.engine.rules import Rules
    from guardrail.oracles.base import Oracle, Reference
    from guardrail.types import Answer, Pixels
    from guardrail.upstreams.base import Upstream
    from guardrail.upstreams.governed import Turn

__all__ = ["BusyClock", "Caller", "Sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one noisy variant brought.

    Attributes:
        index: its number in the decision, from 0.
        outcome: how it counts.
        answer: the model's answer, None where none came.
        score: the oracle's, in [0, 1]; None where nothing could be judged.
        reason: the oracle's words or the kind of refusal, never the answer's own words.
        unscanned: parts of the answer that no text oracle can read.
        failure: why an outcome is missing.
        elapsed_s: time of call and judgement, repeats included.
    """

    index: int
    outcome: Outcome
    answer: Answer | None = None
    score: float | None = None
    reason: str = ""
    unscanned: tuple[str, ...] = ()
    failure: UpstreamError | OracleError | None = None
    elapsed_s: float = 0.0


class BusyClock:
    """Measures for how long at least one call is in flight."""

    def __init__(self) -> None:
        self.busy_s = 0.0
        self._running = 0
        self._since = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        if self._running == 0:
            self._since = time.monotonic()
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if self._running == 0:
                self.busy_s += time.monotonic() - self._since


class Caller:
    """Calls for one chat; `usage` adds up the tokens of the answers that came.

    Calls for a `variant` may be shortened and watched as the rules say; all others ask for the
    whole answer. Once `reference` is set, answers are compared with it instead of being judged
    alone.
    """

    def __init__(
        self,
        rules: Rules,
        upstream: Upstream,
        oracle: Oracle,
        chat: CanonicalChat,
        clock: BusyClock,
        budget: Budget | None = None,
    ) -> None:
        self.chat = chat
        self.probe = probing(chat, rules.probe_max_tokens)
        self.usage = Usage()
        self.budget = budget or Budget(rules, chat.model)
        self.reference: Reference | None = None
        self.repeats = Repeats()
        self._rules = rules
        self._upstream = upstream
        self._oracle = oracle
        self._clock = clock

    @cached_property
    def _compares(self) -> bool:
        return isinstance(self._oracle, ReferenceOracle)  # which takes long to find out

    @property
    def shortens(self) -> bool:
        """Whether variants answer with fewer tokens than the client asks for."""
        return self.probe is not self.chat

    async def sample(
        self, index: int, pictures: Sequence[Pixels], *, seed: int, variant: bool = False
    ) -> Sample:
        """Asks the model once and judges its answer; a fault that may pass becomes MISSING.

        A `variant` is one of the draws of a test: it may be shortened and watched, and must be
        drawn for this call.

        Raises:
            UpstreamError: the model refuses such calls for good (authentication, bad request), or
                for now, and nobody knows whether it drew an answer (429 of a gateway).
            GuardrailError: model or oracle are not set up rightly, or cannot take such requests.
            BudgetSpentError: the decision may make no further call.
        """
        started = time.monotonic()
        sample = await self._sample(index, pictures, seed, variant)
        return dataclasses.replace(sample, elapsed_s=time.monotonic() - started)

    async def _sample(
        self, index: int, pictures: Sequence[Pixels], seed: int, variant: bool
    ) -> Sample:
        stop = self._early_stop(tuple(pictures)) if variant else None
        try:
            answer = await self._paid(pictures, seed, variant, stop, order=index)
        except UpstreamError as error:
            if ends_decision(self._rules.retry, error):
                raise
            return Sample(index=index, outcome=Outcome.MISSING, failure=error)
        if stop is not None and stop.harmful is not None:
            return _broken_off(index, answer, stop.harmful)
        try:
            return await self._judged(index, answer, tuple(pictures))
        except OracleError as error:
            return Sample(index=index, outcome=Outcome.MISSING, answer=answer, failure=error)

    def _early_stop(self, pictures: tuple[Pixels, ...]) -> EarlyStop | None:
        """What watches a variant's answer, where the rules, the model and the oracle allow it.

        Half an answer says nothing about a reference, or about an action.
        """
        every = self._rules.judge_every_chars
        if every is None or not streams(self._upstream) or self._compares:
            return None

        async def judge(prefix: str) -> Judgement:
            return await self._judge(Exchange(self.chat.prompt, prefix, None, pictures))

        return EarlyStop(judge, every)

    async def answer(self, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        """One whole answer, outside the budget. Raises UpstreamError."""
        return await self._answered(lambda way: self._call(way, pictures, seed, self.chat, None))

    async def _paid(
        self,
        pictures: Sequence[Pixels],
        seed: int,
        variant: bool,
        stop: EarlyStop | None = None,
        *,
        order: int = 0,
    ) -> Answer:
        """One answer within the budget. Raises UpstreamError, BudgetSpentError."""

        async def call(way: Turn) -> Answer:
            self.budget.open()
            try:
                chat = self.probe if variant else self.chat
                answer = await self._call(way, pictures, seed, chat, stop)
            finally:
                self.budget.close()
            if variant and answer.cached:
                raise _cached_fault()
            if variant and self.shortens:
                check_kept(answer, self._rules.probe_max_tokens or 0)
            return answer

        return await self._answered(call, stop, order=order)

    async def _answered(
        self,
        call: Callable[[Turn], Awaitable[Answer]],
        stop: EarlyStop | None = None,
        *,
        order: int = 0,
    ) -> Answer:
        """An answer, its cost added up; calls that drew nothing are repeated with the same noise.

        Where calls wait for the upstream, those of one decision go by `order`. The wait is no part
        of a call's time; only the decision's deadline ends it.
        """

        async def timed() -> Answer:
            async with turn(self._upstream, self, order) as way:
                with self._clock.running():
                    return await call(way)

        def may_repeat(fault: Exception) -> bool:
            return may_call_again(self._rules.retry, self._upstream, fault)

        answer = await run_with_repeats(timed, may_repeat, repeats=self._rules.retries)
        self.usage = self.usage + answer.usage
        self.budget.charge(answer, broken_off=stop is not None and stop.harmful is not None)
        return answer

    async def _call(
        self,
        way: Turn,
        pictures: Sequence[Pixels],
        seed: int,
        chat: CanonicalChat,
        stop: EarlyStop | None,
    ) -> Answer:
        limit_s = self._rules.call_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                answer = await way.complete(chat, pictures, seed=seed, watch=stop)
            empty = (await self.repeats.judged(answer)).empty
        except GuardrailError:
            raise
        except TimeoutError:
            raise UpstreamError(
                f"the model did not answer within {limit_s:g} s; raise "
                "advanced.limits.call_timeout_s or ask for fewer tokens",
                status=504,
                transient=True,
            ) from None
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (other people's code)
            raise UpstreamError(f"the upstream {_crash(error)}", transient=True) from None
        if empty:
            raise UpstreamError("the model's answer is empty", transient=True)
        return answer

    async def drawn(self, pictures: Sequence[Pixels], *, seed: int) -> Exchange | UpstreamError:
        """One answer to choose a reference on, not judged, or why none came.

        Raises:
            UpstreamError: the model refuses such calls for good.
            BudgetSpentError: the decision may make no further call.
        """
        try:
            answer = await self._paid(pictures, seed, variant=True)
        except UpstreamError as error:
            if ends_decision(self._rules.retry, error):
                raise
            return error
        return self._exchange(answer, await self.repeats.judged(answer), tuple(pictures))

    def _exchange(self, answer: Answer, what: Judged, pictures: tuple[Pixels, ...]) -> Exchange:
        return Exchange(self.chat.prompt, what.text, answer.message, pictures)

    async def _judged(self, index: int, answer: Answer, pictures: tuple[Pixels, ...]) -> Sample:
        what = await self.repeats.judged(answer)
        early = self._without_oracle(what)
        if early is not None:
            outcome, reason = early
            return Sample(
                index=index,
                outcome=outcome,
                answer=answer,
                reason=reason,
                unscanned=what.unscanned,
            )
        exchange = self._exchange(answer, what, pictures)

        async def judge() -> Judgement:
            return await self._judge(exchange)

        def may_repeat(fault: Exception) -> bool:
            return may_judge_again(self._rules.retry, self._judge_now, fault)

        judgement = await run_with_repeats(judge, may_repeat, repeats=self._rules.retries)
        return Sample(
            index=index,
            outcome=self._with_unscanned(judgement),
            answer=answer,
            score=judgement.score,
            reason=judgement.reason,
            unscanned=(*what.unscanned, *judgement.unscanned),
        )

    def _without_oracle(self, what: Judged) -> tuple[Outcome, str] | None:
        """How an answer counts that no oracle needs to see, and why; None where one must."""
        if what.unscanned and self._rules.on_unscanned is OnUnscanned.BLOCK:
            return Outcome.HARMFUL, ""
        if what.refused and not self._rules.refusals_are_harmless:
            return Outcome.HARMFUL, "refusal"
        if what.text or self.reference is not None:
            return None
        if what.unscanned:
            return Outcome.HARMLESS, "unscanned"
        return Outcome.HARMLESS, "filtered"  # the provider's filter left nothing

    def _with_unscanned(self, judgement: Judgement) -> Outcome:
        """Nothing an oracle could not look into is harmless, unless the rules say so."""
        if judgement.unscanned and self._rules.on_unscanned is OnUnscanned.BLOCK:
            return Outcome.HARMFUL
        return judgement.outcome

    @property
    def _judge_now(self) -> Oracle:
        return self._oracle if self.reference is None else self.reference.oracle

    async def _judge(self, exchange: Exchange) -> Judgement:
        if self.reference is None and goes_by_text(self._oracle):
            return await self.repeats.judgement(exchange, self._judge_alone)
        return await self._judge_alone(exchange)

    async def _judge_alone(self, exchange: Exchange) -> Judgement:
        try:
            (judgement,) = await self._judge_now.judge([exchange])
            sound = _is_sound(judgement)
        except GuardrailError:
            raise
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (other people's code)
            raise OracleError(f"the oracle {_crash(error)}") from None
        if not sound:
            raise OracleError("the oracle's judgement has no outcome, or a score outside [0, 1]")
        return judgement


def _broken_off(index: int, answer: Answer, judgement: Judgement) -> Sample:
    return Sample(
        index=index,
        outcome=Outcome.HARMFUL,
        answer=answer,
        score=judgement.score,
        reason=judgement.reason,
    )


def _cached_fault() -> UpstreamError:
    return UpstreamError(
        "an answer to a variant came out of a cache and was not drawn for it; turn the cache of "
        "answers off at the upstream or at the gateway before it",
        transient=True,
        code=CACHED_ANSWER,
    )


def _is_sound(judgement: Any) -> bool:
    """Whether it is what its type says; NaN fails the comparison."""
    return isinstance(judgement.outcome, Outcome) and 0.0 <= judgement.score <= 1.0


def _crash(error: BaseException) -> str:
    """The class of an unforeseen fault alone: its text may quote the request.

    Raises:
        CancelledError: `error` is one and meant for this task; other ones are the callee's fault.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
    return f"crashed ({type(error).__name__})"
