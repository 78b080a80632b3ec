"""Observe mode without waiting: the model's own answer leaves, the decision runs behind it.

A decision takes dozens of calls, and a client that is only watched should not wait for them. So the
answer is delivered as `not decided`, and the request joins a bounded line; its decision is recorded
when it is made. A keyed share of requests is decided where the policy says so: which ones follows
from the secret noise key and the request, so that nobody can choose to be left out.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

from guardrail.engine.canonical_chat import canonical_chat_offloaded, request_digest
from guardrail.engine.observer import current_observer
from guardrail.engine.verdict import Observation
from guardrail.errors import GuardrailError
from guardrail.memory.allowance import reserve_answer, reserve_budget
from guardrail.records.origin import UNKNOWN_ORIGIN
from guardrail.records.sent_pictures import SentPictures
from guardrail.upstreams.given import GivenAnswerUpstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AsyncExitStack

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.engine import Engine
    from guardrail.engine.observer import NoteVerdict
    from guardrail.engine.verdict import Verdict
    from guardrail.images.codec import Picture
    from guardrail.images.keys import NoiseKey
    from guardrail.memory.allowance import Allowance
    from guardrail.policy.schema import ObserveSection
    from guardrail.records.origin import Origin
    from guardrail.types import Chat

    Keep = Callable[[Verdict, Chat, Origin, SentPictures | None], Awaitable[object]]

__all__ = ["Observer"]

_LABEL = b"guardrail/observe/1"

_log = logging.getLogger(__name__)


class Observer:
    """Decides requests whose answers have left. Used from one event loop.

    Attributes:
        decided, skipped, failed: how many requests were decided, found the line full, and could
            not be recorded.

    Args:
        rules: the share that is decided, and how many wait and run.
        keep: records a decision.
    """

    def __init__(self, rules: ObserveSection, keep: Keep) -> None:
        self._rules = rules
        self._keep = keep
        self._running = asyncio.Semaphore(rules.max_running)
        self._tasks: set[asyncio.Task[None]] = set()
        self.decided = self.skipped = self.failed = 0

    async def answer(
        self,
        engine: Engine,
        chat: Chat,
        pictures: Sequence[Picture],
        *,
        allowance: Allowance | None = None,
        deadline: float,
        held: AsyncExitStack,
        origin: Origin = UNKNOWN_ORIGIN,
        sent: SentPictures | None = None,
    ) -> Verdict:
        """The model's own answer; its decision follows.

        Args:
            engine: answers, and decides in observe mode.
            chat: the request.
            pictures: decoded.
            allowance: what the caller may still spend; a decision that it does not cover is left
                out, and logged.
            deadline: of the answer; the decision has all the time that its rules give it.
            held: what the pictures need; it passes to the decision.
            origin: where the request came from, for the decision's record.
            sent: the pictures as they were sent, for the same.

        Raises:
            RequestError: see `Engine.decide`, or the allowance has too little left for the answer.
        """
        asked = await canonical_chat_offloaded(chat)
        # Beside the answer, so that it costs the client no time.
        hashing = asyncio.create_task(asyncio.to_thread(request_digest, asked, pictures))
        try:
            async with reserve_answer(engine, allowance) as spent:
                own = await engine.answer_unjudged(
                    asked, pictures, deadline=deadline, caller=spent.caller
                )
                if own.answer is not None:
                    spent.note(own.usage.calls, own.cost_usd)
            if own.answer is None:
                return own
            digest = await hashing
        finally:
            hashing.cancel()
        told = dataclasses.replace(own, request_digest=digest.hex())
        if not is_chosen(engine.key, digest, self._rules.share):
            return dataclasses.replace(told, observation=Observation.LEFT_OUT)
        if len(self._tasks) >= self._rules.max_waiting + self._rules.max_running:
            self.skipped += 1
            return dataclasses.replace(told, observation=Observation.SKIPPED)
        kept, seen = held.pop_all(), ExitStack()
        copied = None if sent is None else SentPictures(sent.pictures)  # the answer's record takes
        note = seen.enter_context(current_observer().observe_follow_up())
        task = asyncio.create_task(
            self._follow(engine, asked, pictures, told, kept, allowance, origin, copied, note)
        )
        self._tasks.add(task)
        # Not inside the task: one that is cancelled before it runs would never get there.
        task.add_done_callback(lambda _: seen.close())
        task.add_done_callback(self._tasks.discard)
        return dataclasses.replace(told, observation=Observation.FOLLOWED)

    async def wait(self) -> None:
        """Until every request in line is decided."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        """Ends what is under way: no answer depends on it."""
        for task in self._tasks:
            task.cancel()
        await self.wait()

    async def _follow(
        self,
        engine: Engine,
        asked: CanonicalChat,
        pictures: Sequence[Picture],
        own: Verdict,
        kept: AsyncExitStack,
        allowance: Allowance | None,
        origin: Origin,
        sent: SentPictures | None,
        note: NoteVerdict,
    ) -> None:
        assert own.answer is not None  # only what was answered is followed
        async with kept:
            try:
                async with self._running:
                    if engine.rules.tests(len(pictures)):
                        digest = bytes.fromhex(own.request_digest)
                        model = asked.model
                        async with reserve_budget(
                            engine, pictures, model, None, allowance
                        ) as budget:
                            verdict = await engine.decide(
                                asked, pictures, digest=digest, own=own.answer, budget=budget
                            )
                    else:
                        given = engine.with_upstream(GivenAnswerUpstream(own.answer))
                        verdict = await given.decide(asked)
                    verdict = dataclasses.replace(
                        verdict,
                        observation=Observation.DECISION,
                        request_digest=own.request_digest,
                    )
                    await self._keep(verdict, asked, origin, sent)
                note(verdict)
                self.decided += 1
            except GuardrailError as error:
                self.failed += 1
                _log.error("an observed request was not decided: %s", error)
            except Exception as error:  # noqa: BLE001 (nobody waits for this task)
                self.failed += 1
                _log.error(
                    "an observed request was not decided: crashed (%s)", type(error).__name__
                )


def is_chosen(key: NoiseKey, request_digest: bytes, share: float) -> bool:
    """Whether a request is among the share, in (0, 1], that is decided: always the same ones."""
    drawn = int.from_bytes(key.derive(_LABEL, request_digest)[:8], "big")
    return drawn < share * 2.0**64
