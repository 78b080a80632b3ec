"""The guard's engine: one chat in, one verdict out, whatever the model and the oracle do."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.attempt import attempt_of
from guardrail.engine.calls import BusyClock, Caller
from guardrail.engine.canonical_chat import canonical_chat_aside
from guardrail.engine.failing import failed
from guardrail.engine.hearing import Hearing
from guardrail.engine.rules import Mode, Rules
from guardrail.engine.verdict import Action, Verdict
from guardrail.errors import CertificationError, GuardrailError, RequestError, UpstreamError
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.budget import Budget
    from guardrail.images.codec import Picture
    from guardrail.images.keys import NoiseKey
    from guardrail.oracles.base import Oracle
    from guardrail.types import Answer, Chat
    from guardrail.upstreams.base import Upstream

__all__ = ["Engine"]

_log = logging.getLogger(__name__)


class Engine:
    """Judges chats by one set of rules, one model, one oracle and one noise key.

    Many chats may be decided at once, all on one event loop.
    """

    def __init__(self, rules: Rules, upstream: Upstream, oracle: Oracle, key: NoiseKey) -> None:
        self.rules = rules
        self.upstream = upstream
        self.oracle = oracle
        self.key = key

    async def decide(
        self,
        chat: Chat,
        pictures: Sequence[Picture] = (),
        *,
        alpha: float | None = None,
        deadline: float | None = None,
        budget: Budget | None = None,
        digest: bytes | None = None,
    ) -> Verdict:
        """Guards one chat.

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

        Raises:
            RequestError: the messages refer to another number of pictures, or are nested too
                deeply.
        """
        if chat.pictures != len(pictures):
            raise RequestError(
                f"the messages refer to {chat.pictures} pictures, but {len(pictures)} were given"
            )
        started = time.monotonic()
        clock, end = BusyClock(), self.deadline(deadline)
        asked = await canonical_chat_aside(chat)
        caller = Caller(self.rules, self.upstream, self.oracle, asked, clock, budget)
        attempt = attempt_of(self.upstream, self.oracle)
        hearing = Hearing(self, caller, tuple(pictures), end, alpha, attempt, digest)
        verdict = await self._settled(hearing)
        elapsed_s = time.monotonic() - started
        return dataclasses.replace(
            verdict,
            alpha=self.alpha(alpha) if pictures else None,
            attempt=attempt.hex(),
            usage=caller.usage,
            cost_usd=caller.budget.cost_usd,
            elapsed_s=elapsed_s,
            overhead_s=max(0.0, elapsed_s - clock.busy_s),
        )

    def deadline(self, wish: float | None = None) -> float:
        """When a decision that starts now must be over, on the event loop's clock."""
        latest = asyncio.get_running_loop().time() + self.rules.deadline_s
        return latest if wish is None else min(wish, latest)

    def alpha(self, wish: float | None = None) -> float:
        """The failure probability of a decision: the rules', or a smaller one where wished for."""
        return self.rules.alpha if wish is None else min(wish, self.rules.alpha)

    def with_oracle(self, oracle: Oracle) -> Engine:
        """The same engine with another oracle."""
        return Engine(self.rules, self.upstream, oracle, self.key)

    async def aclose(self) -> None:
        """Closes the model and the oracle."""
        try:
            await self.upstream.aclose()
        finally:
            await self.oracle.aclose()

    async def _settled(self, hearing: Hearing) -> Verdict:
        match self.rules.mode:
            case Mode.ENFORCE:
                return await self._faultless(hearing)
            case Mode.OBSERVE:
                return await self._observed(hearing)
            case _:
                assert_never(self.rules.mode)

    async def _faultless(self, hearing: Hearing) -> Verdict:
        """The verdict, every fault turned into one."""
        try:
            return await hearing.verdict()
        except Exception as error:  # noqa: BLE001 (the guard's rim: a crash must fail closed)
            return failed(self.rules, _told(error))

    async def _observed(self, hearing: Hearing) -> Verdict:
        """Shadow mode: the client gets the model's own answer; the verdict is only recorded."""
        if not hearing.pictures:
            return _observed_text(await self._faultless(hearing))
        # Side by side, so that watching costs no more time than the slower of the two.
        verdict, own = await asyncio.gather(self._faultless(hearing), self._own(hearing))
        return _let_through(verdict, own, unscanned=("answer",))

    async def _own(self, hearing: Hearing) -> Answer | GuardrailError:
        """The model's answer to the pictures as they are, or why there is none."""
        try:
            return await hearing.own_answer()
        except TimeoutError:
            return _too_late()
        except Exception as error:  # noqa: BLE001 (the guard's rim)
            return _told(error)


def _observed_text(verdict: Verdict) -> Verdict:
    """Without pictures the one answer that was judged is the model's own."""
    sample = verdict.samples[0] if verdict.samples else None
    if sample is None or sample.answer is None:
        return _let_through(verdict, verdict.failure or _too_late(), unscanned=())
    unjudged = ("answer",) if sample.outcome is Outcome.MISSING else ()
    return _let_through(verdict, sample.answer, unscanned=sample.unscanned or unjudged)


def _let_through(
    verdict: Verdict, own: Answer | Exception, *, unscanned: tuple[str, ...]
) -> Verdict:
    would_block = verdict.action is not Action.PASS
    if isinstance(own, Exception):
        return dataclasses.replace(
            verdict, action=Action.FAIL, answer=None, would_block=would_block, failure=own
        )
    return dataclasses.replace(
        verdict,
        action=Action.PASS,
        answer=own,
        would_block=would_block,
        unscanned=unscanned,
        outside_claim=True,
    )


def _too_late() -> UpstreamError:
    return UpstreamError(
        "the model did not answer before the decision's deadline; raise advanced.limits.deadline_s",
        status=504,
    )


def _told(error: Exception) -> GuardrailError:
    """The fault as a client may see it."""
    if isinstance(error, GuardrailError):
        return error
    # The text of an unknown exception may quote the request, so only its name is kept.
    name = type(error).__name__
    _log.error("the guard crashed: %s", name)
    return CertificationError(f"the guard crashed ({name}); nothing was passed")
