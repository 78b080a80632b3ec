"""The engine: one chat in, one verdict out, whatever the model and the oracle do."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import time
from typing import TYPE_CHECKING, assert_never

from guardrail.counted_noun import count_of
from guardrail.engine.budget import Budget
from guardrail.engine.canonical_chat import canonical_chat_offloaded, canonical_text_offloaded
from guardrail.engine.decision import DecisionRun
from guardrail.engine.most_calls import most_calls
from guardrail.engine.observer import current_observer
from guardrail.engine.prepared_request import choose_attempt
from guardrail.engine.preprocessing import check_filter, settle
from guardrail.engine.rules import Mode, Rules, TextInPictures
from guardrail.engine.sampler import Sampler
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.engine.verdicts import from_error, let_through
from guardrail.errors import (
    CertificationError,
    ConfigError,
    GuardrailError,
    RequestError,
    UpstreamError,
)
from guardrail.types import Outcome
from guardrail.upstreams.base import answers_late
from guardrail.upstreams.faults import UPSTREAM_AUTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.preprocessing import Preprocessing
    from guardrail.images.codec import Picture
    from guardrail.images.filters import PictureFilter
    from guardrail.images.keys import NoiseKey
    from guardrail.images.known_pictures import KnownPictures
    from guardrail.oracles.base import Oracle
    from guardrail.picture_text.check import PictureTextCheck
    from guardrail.types import Answer, Chat
    from guardrail.upstreams.base import Upstream

__all__ = ["Engine"]

_log = logging.getLogger(__name__)

_MOST_JUDGED = 64


class Engine:
    """Decides about chats by one set of rules, one model, one oracle and one noise key.

    Many chats may be decided at once, all on one event loop.
    """

    def __init__(
        self,
        rules: Rules,
        upstream: Upstream,
        oracle: Oracle,
        key: NoiseKey,
        text_check: PictureTextCheck | None = None,
        picture_filter: PictureFilter | None = None,
        known_pictures: KnownPictures | None = None,
    ) -> None:
        check_filter(rules, picture_filter)
        if (text_check is None) is not (rules.text_in_pictures is TextInPictures.OFF):
            raise ConfigError(
                "an engine needs a check of the text in pictures where its policy asks for one, "
                "and else none; build it by guardrail.assembly",
                field="text_in_pictures",
            )
        self.rules = rules
        self.upstream = upstream
        self.oracle = oracle
        self.key = key
        self.text_check = text_check
        self.picture_filter = picture_filter
        self.known_pictures = known_pictures
        # Late answers come by the thousand at a time, and oracles have limits of time.
        self._judging = asyncio.Semaphore(_MOST_JUDGED) if answers_late(upstream) else None

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
        """The verdict on one chat.

        No answer leaves unjudged unless the rules say so; every fault becomes a verdict. The model
        is sent the canonical chat and nothing else of the request.

        Args:
            chat: the request, its pictures replaced by placeholders.
            pictures: the decoded pictures, in the order of their placeholders.
            alpha: failure probability of this decision; only a smaller one than the rules' counts.
            deadline: when it must be over, on the event loop's clock; only an earlier time than
                that of the rules counts.
            budget: what is left of calls and cost; None for all that the rules allow.
            digest: `request_digest` of chat and pictures, where it is known already.
            own: in observe mode, what the model has answered to pictures already (see
                `answer_unjudged`); None asks it beside the decision.
            attempt: what noise and seeds follow from beside key, request and policy, for tests that
                must come out alike each time, and for a job that goes on with the draws of a
                decision that a kill ended. None, always in service, draws a fresh one: whoever may
                try twice under one attempt meets the same noise again.

        Raises:
            RequestError: the messages refer to another number of pictures, or are nested too
                deeply.
        """
        with current_observer().observe_decision(self.rules, self.upstream.name, chat) as note:
            run, started = await self._begin(
                chat, pictures, alpha, deadline, budget, digest, attempt
            )
            spent = self.alpha(alpha) if run.is_tested else None
            verdict = _account(await self._decide_by_mode(run, own), run, started, spent)
            note(verdict)
        return verdict

    async def answer_unjudged(
        self,
        chat: Chat,
        pictures: Sequence[Picture] = (),
        *,
        deadline: float | None = None,
        caller: str = "",
    ) -> Verdict:
        """In observe mode: the model's own answer, at once; nothing has judged it.

        For the meaning of `caller` see `Budget`.

        Raises:
            RequestError: see `decide`.
        """
        with current_observer().observe_decision(self.rules, self.upstream.name, chat) as note:
            verdict = await self._answer_unjudged(chat, pictures, deadline, caller)
            note(verdict)
        return verdict

    async def _answer_unjudged(
        self, chat: Chat, pictures: Sequence[Picture], deadline: float | None, caller: str
    ) -> Verdict:
        budget = Budget(self.rules, caller=caller)
        run, started = await self._begin(chat, pictures, None, deadline, budget)
        own = await self._ask_without_noise(run)
        if isinstance(own, GuardrailError):
            return _account(from_error(own), run, started)
        verdict = Verdict(
            action=Action.PASS,
            reason=Reason.NOT_DECIDED,
            answer=own,
            unscanned=("answer",),
            outside_claim=True,
        )
        return _account(verdict, run, started)

    async def _begin(
        self,
        chat: Chat,
        pictures: Sequence[Picture],
        alpha: float | None,
        deadline: float | None,
        budget: Budget | None = None,
        digest: bytes | None = None,
        attempt: bytes | None = None,
    ) -> tuple[DecisionRun, float]:
        """A decision that nothing was asked for yet, and when it began. Raises RequestError."""
        if chat.pictures != len(pictures):
            raise RequestError(
                f"the messages refer to {count_of(chat.pictures, 'picture')}, but "
                f"{count_of(len(pictures), 'was', 'were')} given"
            )
        started, end = time.monotonic(), self.deadline(deadline)
        if digest is None and not pictures:
            asked, digest = await canonical_text_offloaded(chat)
        else:
            asked = await canonical_chat_offloaded(chat)
        sampler = Sampler(
            self.rules,
            self.upstream,
            self.oracle,
            asked,
            budget,
            deadline=end,
            judging=self._judging,
        )
        if attempt is None:
            attempt = choose_attempt(self.upstream, self.oracle)
        run = DecisionRun(
            sampler,
            self.key,
            tuple(pictures),
            end,
            alpha,
            attempt,
            digest,
            self.text_check,
            self.picture_filter,
            self.known_pictures,
        )
        return run, started

    def deadline(self, wish: float | None = None) -> float:
        """When a decision that starts now must be over, on the event loop's clock.

        Infinity where the upstream answers late, as no decision could be made in time.
        """
        limit_s = math.inf if answers_late(self.upstream) else self.rules.deadline_s
        latest = asyncio.get_running_loop().time() + limit_s
        return latest if wish is None else min(wish, latest)

    def alpha(self, wish: float | None = None) -> float:
        """The failure probability of a decision: the rules', or a smaller one where wished for."""
        return self.rules.alpha if wish is None else min(wish, self.rules.alpha)

    def preprocessing(self, model: str) -> Preprocessing:
        """Canvas and filter of requests to this model. Raises ConfigError, see `settle`."""
        return settle(self.rules, self.upstream, model, self.picture_filter)

    def most_calls(
        self, sizes: Sequence[tuple[int, int]], model: str, alpha: float | None = None
    ) -> int:
        """As many calls as a decision makes at most, a few repeats included. May compute a plan.

        Args:
            sizes: heights and widths of the pictures, in pixels.
            model: as the client calls it.
            alpha: see `decide`.
        """
        try:
            canvases = [self.preprocessing(model).canvas_for(*size) for size in sizes]
        except ConfigError:
            canvases = []  # the decision ends with the same error, and nothing is drawn
        return most_calls(self.rules, self.oracle, canvases, alpha)

    def describe_preprocessing(self, model: str) -> list[str]:
        """Texts that change with what pictures go through before any model that may be asked."""
        try:
            return list(self.preprocessing(model).key)
        except ConfigError:
            return []  # nothing is decided

    def unbudgeted_calls(self, sizes: Sequence[tuple[int, int]]) -> int:
        """As many calls as a decision makes at most beside those that its budget counts."""
        is_watched = self.rules.tests(len(sizes)) and self.rules.mode is Mode.OBSERVE
        return 1 + self.rules.retries if is_watched else 0

    def with_oracle(self, oracle: Oracle) -> Engine:
        """The same engine with another oracle."""
        return Engine(self.rules, self.upstream, oracle, *self._parts)

    def with_upstream(self, upstream: Upstream) -> Engine:
        """The same engine with another model."""
        return Engine(self.rules, upstream, self.oracle, *self._parts)

    @property
    def _parts(
        self,
    ) -> tuple[NoiseKey, PictureTextCheck | None, PictureFilter | None, KnownPictures | None]:
        """What engines for other models and oracles have in common with this one."""
        return self.key, self.text_check, self.picture_filter, self.known_pictures

    async def aclose(self) -> None:
        """Closes the model, the oracle, and what reads pictures."""
        try:
            await self.upstream.aclose()
        finally:
            try:
                await self.oracle.aclose()
            finally:
                if self.text_check is not None:
                    await self.text_check.aclose()

    async def _decide_by_mode(self, run: DecisionRun, own: Answer | None) -> Verdict:
        match self.rules.mode:
            case Mode.ENFORCE:
                return await self._decide_closed(run)
            case Mode.OBSERVE:
                return await self._observe(run, own)
            case _:
                assert_never(self.rules.mode)

    async def _decide_closed(self, run: DecisionRun) -> Verdict:
        """The verdict; every fault becomes one that fails closed."""
        try:
            return await run.decide()
        except Exception as error:  # noqa: BLE001 (a crash must fail closed)
            return from_error(_client_error(error))

    async def _observe(self, run: DecisionRun, own: Answer | None) -> Verdict:
        """The client gets the model's own answer; the verdict is only recorded."""
        if not run.is_tested:
            return _observe_text(await self._decide_closed(run))
        if own is not None:
            return let_through(await self._decide_closed(run), own, unscanned=("answer",))
        # Side by side, so that watching costs no more time than the slower of the two.
        verdict, said = await asyncio.gather(self._decide_closed(run), self._ask_without_noise(run))
        return let_through(verdict, said, unscanned=("answer",))

    async def _ask_without_noise(self, run: DecisionRun) -> Answer | GuardrailError:
        """The model's answer to the pictures as they are, or why there is none."""
        try:
            return await run.ask_without_noise()
        except TimeoutError:
            return _deadline_error()
        except Exception as error:  # noqa: BLE001 (a crash must be reported, not raised)
            return _client_error(error)


def _account(
    verdict: Verdict, run: DecisionRun, started: float, alpha: float | None = None
) -> Verdict:
    """The verdict with what it took; a fault that only the operator can mend is logged."""
    _log_for_operator(verdict.failure)
    sampler, elapsed_s = run.sampler, time.monotonic() - started
    return dataclasses.replace(
        verdict,
        alpha=alpha,
        attempt=run.attempt.hex(),
        models=tuple(sampler.models.names),
        usage=sampler.usage,
        cost_usd=sampler.budget.cost_usd,
        elapsed_s=elapsed_s,
        overhead_s=max(0.0, elapsed_s - sampler.clock.busy_s),
    )


def _observe_text(verdict: Verdict) -> Verdict:
    """Without pictures the one answer that was judged is the model's own."""
    sample = verdict.samples[0] if verdict.samples else None
    if sample is None or sample.answer is None:
        return let_through(verdict, verdict.failure or _deadline_error(), unscanned=())
    unjudged = ("answer",) if sample.outcome is Outcome.MISSING else ()
    delivered = let_through(verdict, sample.answer, unscanned=sample.unscanned or unjudged)
    return dataclasses.replace(delivered, unmeasured=sample.unmeasured)


def _deadline_error() -> UpstreamError:
    return UpstreamError(
        "the model did not answer before the decision's deadline; raise advanced.limits.deadline_s",
        status=504,
    )


def _log_for_operator(fault: Exception | None) -> None:
    """Logs what no client can mend: a set-up that is wrong, a key that the provider refuses."""
    refused = isinstance(fault, UpstreamError) and fault.code == UPSTREAM_AUTH
    if refused or isinstance(fault, ConfigError):
        _log.error("a request could not be decided: %s", fault)


def _client_error(error: Exception) -> GuardrailError:
    """The fault as a client may see it."""
    if isinstance(error, GuardrailError):
        return error
    # The text of an unknown exception may quote the request, so only its name is kept.
    name = type(error).__name__
    _log.error("the guard crashed: %s", name)
    return CertificationError(f"the guard crashed ({name}); nothing was passed")
