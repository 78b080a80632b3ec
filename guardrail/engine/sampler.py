"""One sample of a decision: ask the model, ask again where nothing was drawn, judge the answer.

1. Ask (`Sampler._ask`): one call within the limits of the upstream, the budget and the time.
2. Retry (`retry.py`): a call that drew nothing is made again, with the same noise and seed.
3. Judge (`judge.py`): what the answer counts as.
"""

from __future__ import annotations

import asyncio
import copy
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.causes import chain_cause
from guardrail.engine.answering_models import AnsweringModels
from guardrail.engine.budget import Budget
from guardrail.engine.judge import Judge, describe_crash
from guardrail.engine.observer import (
    NO_OBSERVER,
    DecisionObserver,
    ObservedCall,
    current_observer,
)
from guardrail.engine.retry import FirstWave, ends_decision, may_call_again, run_with_repeats
from guardrail.engine.short_answers import EarlyStop, check_token_limit, limit_tokens
from guardrail.engine.verdict import Sample
from guardrail.errors import GuardrailError, OracleError, UpstreamError
from guardrail.types import Answer, Outcome, Usage
from guardrail.upstreams.base import answers_late, asks_model, price_share, provider_model
from guardrail.upstreams.cached import CACHED_ANSWER
from guardrail.upstreams.faults import CONTENT_FILTER, is_refusal
from guardrail.upstreams.limited import permit, streams
from guardrail.upstreams.wire import EMPTY_ANSWER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.rules import Rules
    from guardrail.oracles.base import Exchange, Judgement, Oracle
    from guardrail.types import Pixels
    from guardrail.upstreams.base import Upstream
    from guardrail.upstreams.limited import Permit

__all__ = ["BusyClock", "Sampler"]


class BusyClock:
    """Measures for how long at least one call is in flight, or in line: each inside a `with`."""

    def __init__(self) -> None:
        self.busy_s = 0.0
        self._running = 0
        self._since = 0.0

    def __enter__(self) -> None:
        if self._running == 0:
            self._since = time.monotonic()
        self._running += 1

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        if self._running == 0:
            self.busy_s += time.monotonic() - self._since


@dataclass(frozen=True, slots=True)
class _Call:
    """What a call and its repeats have in common.

    Attributes:
        pictures: the model sees these.
        seed: of the model's own randomness.
        order: where calls wait for the upstream, those of one decision go by it.
        variant: whether it is a draw of a test, which may be shortened and must be fresh.
        stop: watches the answer while it is streamed.
        is_limited: whether the budget is asked before.
    """

    pictures: tuple[Pixels, ...]
    seed: int
    order: int = 0
    variant: bool = False
    stop: EarlyStop | None = None
    is_limited: bool = True

    @property
    def harmful(self) -> Judgement | None:
        """The judgement for which the answer was broken off."""
        return None if self.stop is None else self.stop.harmful


class _Drawn:
    """What all samplers of one decision have drawn."""

    def __init__(self) -> None:
        self.usage = Usage()


class Sampler:
    """Asks one model about one chat, and judges its answers.

    Attributes:
        rules, upstream, oracle, chat: what it was made with.
        judge: judges the answers.
        budget: limits the calls and adds up their cost.
        clock: how long calls were in flight.
        line: how long calls waited for their turn.
        judging: entered for each judgement; lets as many be made at a time as it has places.
        models: those that the answers to variants name as theirs.
    """

    def __init__(
        self,
        rules: Rules,
        upstream: Upstream,
        oracle: Oracle,
        chat: CanonicalChat,
        budget: Budget | None = None,
        *,
        deadline: float = math.inf,
        judging: AbstractAsyncContextManager[Any] | None = None,
    ) -> None:
        self.rules = rules
        self.upstream = upstream
        self.oracle = oracle
        self.set_chat(chat)
        self.budget = budget or Budget(rules)
        self._drawn = _Drawn()
        self.clock = BusyClock()
        self.models = AnsweringModels(rules)
        self.line = BusyClock()
        self.judging = judging or nullcontext()
        self._deadline = deadline
        self._turns = object()  # what its calls have in common in the line, which may keep it
        self._wave = FirstWave()
        self._names = (provider_model(upstream, chat.model), chat.model)

    @property
    def usage(self) -> Usage:
        """Tokens of all answers that came, to views as well."""
        return self._drawn.usage

    def of_view(self, chat: CanonicalChat) -> Sampler:
        """The same, asking about another chat; model, budget, times and tokens are shared.

        Model and oracle are shown this chat and nothing of the other one.
        """
        view = copy.copy(self)
        view.set_chat(chat)
        return view

    def set_chat(self, chat: CanonicalChat) -> None:
        """Says what is asked from now on, before anything is."""
        most = self.rules.probe_max_tokens
        self.chat = chat
        self.judge = Judge(self.rules, self.oracle, chat, shares=self.rules.tests(chat.pictures))
        self._variant_chat = chat if most is None else limit_tokens(chat, most)

    @property
    def waited_in_line(self) -> bool:
        """Whether its time went by in line rather than in calls."""
        return self.line.busy_s > 2.0 * self.clock.busy_s

    @property
    def shortens(self) -> bool:
        """Whether variants answer with fewer tokens than the client asks for."""
        return self._variant_chat is not self.chat

    async def sample(
        self,
        index: int,
        pictures: Sequence[Pixels],
        *,
        seed: int,
        variant: bool = False,
        order: int | None = None,
    ) -> Sample:
        """One sample; a fault that may pass makes its outcome MISSING.

        Args:
            index: of the sample in its decision.
            pictures: the model sees these.
            seed: of the model's own randomness.
            variant: whether it is one of the draws of a test: it may be shortened and watched, and
                must be drawn for this call.
            order: its place in the line of the decision's calls; None for its index.

        Raises:
            UpstreamError: the model refuses such calls for good (authentication, bad request), or
                for now, and it is not known whether it drew an answer (429 of a gateway).
            GuardrailError: model or oracle are not set up rightly, or cannot take such requests.
            BudgetSpentError: the decision may make no further call.
        """
        started = time.monotonic()
        stop = self._early_stop(tuple(pictures)) if variant else None
        order = index if order is None else order
        call = _Call(tuple(pictures), seed, order=order, variant=variant, stop=stop)
        try:
            answer = await self._ask_with_retries(call)
        except UpstreamError as error:
            if ends_decision(self.rules.retry, error):
                raise
            elapsed_s = time.monotonic() - started
            return Sample(index=index, outcome=Outcome.MISSING, failure=error, elapsed_s=elapsed_s)
        return await self._judge(index, answer, call, started)

    async def answer(self, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        """One whole answer, not limited by the budget. Raises UpstreamError."""
        return await self._ask_with_retries(_Call(tuple(pictures), seed, is_limited=False))

    async def draw_exchange(
        self, pictures: Sequence[Pixels], *, seed: int
    ) -> Exchange | UpstreamError:
        """One answer to choose a reference on, not judged, or why none came.

        Raises:
            UpstreamError: the model refuses such calls for good.
            BudgetSpentError: the decision may make no further call.
        """
        call = _Call(tuple(pictures), seed, variant=True)
        try:
            answer = await self._ask_with_retries(call)
        except UpstreamError as error:
            if ends_decision(self.rules.retry, error):
                raise
            return error
        return await self.judge.exchange(answer, call.pictures)

    async def _ask_with_retries(self, call: _Call) -> Answer:
        """An answer, its tokens and cost added up. Raises what `_ask` raises.

        A provider whose filter refuses the request has answered it: with a refusal, which counts
        as the rules count refusals, and which is not paid for. An error inside an answer is no such
        refusal, whatever it names: there words may have come before it, and nobody judged them.
        """
        try:
            answer = await run_with_repeats(
                lambda: self._wave.watch(call.seed, self._ask(call)),
                self._may_repeat,
                repeats=self.rules.retries,
            )
        except UpstreamError as fault:
            if fault.in_answer or not is_refusal(fault):
                raise
            refused = Answer(
                {"role": "assistant", "content": None}, CONTENT_FILTER, usage=Usage(calls=1)
            )
            self._drawn.usage = self._drawn.usage + refused.usage
            return refused
        self._drawn.usage = self._drawn.usage + answer.usage
        cost = self.budget.charge(
            answer,
            *self._names,
            broken_off=call.harmful is not None,
            share=price_share(self.upstream),
        )
        self._call_observer.note_cost(self._describe(call), cost)
        if call.variant or (call.is_limited and self.models.names):
            self.models.note(answer.model)
        return answer

    def _may_repeat(self, fault: Exception) -> bool:
        return may_call_again(self.rules.retry, self.upstream, fault) and not (
            self._wave.has_failed_alike(fault)
        )

    async def _ask(self, call: _Call) -> Answer:
        """One call. Waiting for the upstream does not count for its time limit.

        Raises:
            UpstreamError: whatever went wrong, a crash of the upstream's code included.
            BudgetSpentError: it must not be made.
        """
        budget = self.budget.slot(*self._names) if call.is_limited else nullcontext()
        way = permit(
            self.upstream,
            self._turns,
            self.chat.model,
            call.order,
            deadline=self._deadline,
            caller=self.budget.caller,
        )
        observer = self._call_observer
        with self.line, observer.observe_line():
            await way.enter()
        async with way:
            seen = observer.observe_call(self._describe(call))
            with self.clock, budget, seen as note_answer:
                answer = await self._complete(way, call)
                note_answer(answer)
            if call.variant:
                self._check_variant(answer)
        return answer

    @property
    def _call_observer(self) -> DecisionObserver:
        """Who is told of calls: nobody where the answer is there and no model is asked."""
        return current_observer() if asks_model(self.upstream) else NO_OBSERVER

    def _describe(self, call: _Call) -> ObservedCall:
        provider_name, model = self._names
        return ObservedCall(self.upstream.name, model, provider_name, call.order, call.variant)

    async def _complete(self, way: Permit, call: _Call) -> Answer:
        """What the model says within the time of a call. Raises UpstreamError."""
        limit_s = None if answers_late(self.upstream) else self.rules.call_timeout_s
        chat = self._variant_chat if call.variant else self.chat
        try:
            async with asyncio.timeout(limit_s):
                answer = await way.complete(chat, call.pictures, seed=call.seed, watch=call.stop)
            is_empty = (await self.judge.read(answer)).is_empty
        except GuardrailError:
            raise
        except TimeoutError:
            raise _timeout_error(self.rules.call_timeout_s) from None
        except (Exception, asyncio.CancelledError) as error:
            crash = f"the upstream {describe_crash(error)}"
            fault = UpstreamError(crash, transient=True)
            chain_cause(fault, error)
            raise fault from error
        if is_empty:
            raise _empty_error()
        return answer

    def _check_variant(self, answer: Answer) -> None:
        """Raises UpstreamError where an answer is not the fresh, short one that was asked for."""
        if answer.cached:
            raise UpstreamError(
                "an answer to a variant came out of a cache and was not drawn for it; turn the "
                "cache of answers off at the upstream or at the gateway before it",
                transient=True,
                code=CACHED_ANSWER,
            )
        if self.shortens:
            check_token_limit(answer, self.rules.probe_max_tokens or 0)

    async def _judge(self, index: int, answer: Answer, call: _Call, started: float) -> Sample:
        if call.harmful is not None:
            return Sample(
                index=index,
                outcome=Outcome.HARMFUL,
                answer=answer,
                score=call.harmful.score,
                reason=call.harmful.reason,
                field=call.harmful.field,
                unmeasured=call.harmful.unmeasured,
                elapsed_s=time.monotonic() - started,
            )
        try:
            async with self.judging:
                return await self.judge.judge(index, answer, call.pictures, started=started)
        except OracleError as error:
            return Sample(
                index=index,
                outcome=Outcome.MISSING,
                answer=answer,
                failure=error,
                elapsed_s=time.monotonic() - started,
            )

    def _early_stop(self, pictures: tuple[Pixels, ...]) -> EarlyStop | None:
        """The watcher of a variant's answer; None where rules, model or oracle allow none.

        Half an answer says nothing about a reference or an action, so there is none for those.
        """
        every_chars = self.rules.judge_every_chars
        if every_chars is None or not streams(self.upstream) or self.judge.compares:
            return None
        return EarlyStop(lambda prefix: self.judge.judge_prefix(prefix, pictures), every_chars)


def _empty_error() -> UpstreamError:
    return UpstreamError(
        "the model's answer is empty; see the upstream's own log",
        transient=True,
        code=EMPTY_ANSWER,
        in_answer=True,
    )


def _timeout_error(limit_s: float) -> UpstreamError:
    return UpstreamError(
        f"the model did not answer within {limit_s:g} s; raise "
        "advanced.limits.call_timeout_s or ask for "
        "fewer tokens",
        status=504,
        transient=True,
    )
