"""One request's way to its verdict: variants, test, certificate, and the answer that leaves."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.answer import most_typical
from guardrail.engine.budget import BudgetSpentError
from guardrail.engine.canonical_chat import is_short
from guardrail.engine.case import (
    CLEAN_INDEX,
    SELECTION_INDEX,
    Case,
    prepare,
    sampling_seed,
)
from guardrail.engine.certifier import Certifier
from guardrail.engine.digest import request_digest
from guardrail.engine.failing import blocked, end_at_limit, stopped, unanswered
from guardrail.engine.fanout import fan_out
from guardrail.engine.issue import issue
from guardrail.engine.making import made
from guardrail.engine.plan import plan_for
from guardrail.engine.probe import was_cut
from guardrail.engine.rules import AnswerSource
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.errors import CertificationError, UpstreamError
from guardrail.oracles.base import Exchange, Reference, ReferenceOracle
from guardrail.stats import Decision
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.calls import Caller, Sample
    from guardrail.engine.guard import Engine
    from guardrail.images.codec import Picture
    from guardrail.types import Answer, Pixels

__all__ = ["Hearing"]


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one decision is made with.

    Attributes:
        engine: rules, model, oracle and key.
        caller: sends and judges the calls.
        pictures: decoded, as the client sent them.
        deadline: when it must be over, on the event loop's clock.
        alpha: failure probability of this decision; None for that of the rules.
        attempt: tells its draws from those of other decisions on the same request.
        digest: the request's, where it is known already.
    """

    engine: Engine
    caller: Caller
    pictures: tuple[Picture, ...]
    deadline: float
    alpha: float | None
    attempt: bytes
    digest: bytes | None = None

    async def verdict(self) -> Verdict:
        """The decision. Raises GuardrailError for faults that no retry can mend."""
        if self.pictures:
            return await self._smoothed()
        return await self._judged_once(Reason.NO_IMAGE)

    async def own_answer(self) -> Answer:
        """The model's answer to the pictures as they are, not judged.

        Raises:
            UpstreamError: none came.
            TimeoutError: none came before the deadline.
        """
        async with asyncio.timeout_at(self.deadline):
            return await self.caller.answer(self._pixels, seed=await self._clean_seed())

    async def _judged_once(self, passed: Reason) -> Verdict:
        """One answer without noise, judged by itself, outside any certificate."""
        return await self._judged_alone(0, self._pixels, await self._clean_seed(), passed)

    async def _judged_alone(
        self, index: int, pictures: tuple[Pixels, ...], seed: int, passed: Reason
    ) -> Verdict:
        """One whole answer and what its own judgement makes of it."""
        try:
            async with asyncio.timeout_at(self.deadline):
                sample = await self.caller.sample(index, pictures, seed=seed)
        except (TimeoutError, BudgetSpentError):
            return self._cut_short()
        verdict = self._of_one(sample, passed)
        return dataclasses.replace(verdict, samples=(sample,))

    def _cut_short(self) -> Verdict:
        return end_at_limit(self.engine.rules, self.caller.budget.spent or Reason.DEADLINE)

    def _of_one(self, sample: Sample, passed: Reason) -> Verdict:
        match sample.outcome:
            case Outcome.HARMLESS:
                return Verdict(
                    action=Action.PASS,
                    reason=passed,
                    answer=sample.answer,
                    unscanned=sample.unscanned,
                    outside_claim=True,
                )
            case Outcome.HARMFUL:
                return blocked(Reason.UNSCANNED if sample.unscanned else Reason.HARMFUL)
            case Outcome.MISSING:
                return unanswered(self.engine.rules, (sample,))
            case _:
                assert_never(sample.outcome)

    async def _smoothed(self) -> Verdict:
        rules = self.engine.rules
        chat, pictures = self.caller.chat, self.pictures
        case = await asyncio.to_thread(
            prepare, rules, chat, pictures, self.attempt, digest=self.digest
        )
        try:
            plan = await asyncio.to_thread(plan_for, rules, case.where, alpha=self.alpha)
        except CertificationError as error:
            return blocked(Reason.NOT_CERTIFIABLE, failure=error)
        if isinstance(self.engine.oracle, ReferenceOracle):
            try:
                async with asyncio.timeout_at(self.deadline):
                    self.caller.reference = await self._reference(case, self.engine.oracle)
            except (TimeoutError, BudgetSpentError):
                return self._cut_short()
            if self.caller.reference is None:
                return blocked(Reason.NO_REFERENCE)
        certifier = Certifier(plan, speculate=rules.speculate)
        samples = await self._sampled(case, certifier)
        verdict = await self._concluded(case, certifier, samples)
        certificate = issue(
            self.engine, case, certifier, self.caller, outside_claim=verdict.outside_claim
        )
        return dataclasses.replace(verdict, certificate=certificate, samples=samples)

    async def _reference(self, case: Case, oracle: ReferenceOracle) -> Reference | None:
        """What the fresh draws are compared with, chosen on draws that are never counted.

        A draw that brought nothing is left out: the choice may be any, only the test must be fair.

        Raises:
            UpstreamError: no draw brought anything.
            OracleError: the answers could not be compared.
            BudgetSpentError: the decision may make no further call.
        """
        room = asyncio.Semaphore(self.engine.rules.max_parallel)

        async def draw(index: int) -> Exchange | UpstreamError:
            async with room:
                seed = self._seed(case, index)
                return await self.caller.drawn(await self._variants(case, index), seed=seed)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(draw(SELECTION_INDEX + i)) for i in range(oracle.n0)]
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None
        results = [task.result() for task in tasks]
        drawn = [result for result in results if isinstance(result, Exchange)]
        if not drawn:
            raise next(result for result in results if isinstance(result, UpstreamError))
        return await oracle.reference(drawn)

    async def _variants(self, case: Case, index: int) -> tuple[Pixels, ...]:
        return await made(case.variants, index, self.engine.rules, self.engine.key)

    def _seed(self, case: Case, index: int) -> int:
        return case.seed(index, self.engine.rules, self.engine.key)

    async def _sampled(self, case: Case, certifier: Certifier) -> tuple[Sample, ...]:
        """Runs the test until it decides or a limit is reached; what came, in index order."""
        rules = self.engine.rules
        samples: dict[int, Sample] = {}

        async def draw(index: int) -> Sample:
            noisy = await self._variants(case, index)
            seed = self._seed(case, index)
            return await self.caller.sample(index, noisy, seed=seed, variant=True)

        try:
            async with asyncio.timeout_at(self.deadline):
                await fan_out(certifier, draw, max_parallel=rules.max_parallel, samples=samples)
        except (TimeoutError, BudgetSpentError):
            pass  # the certifier has no decision, and that says it
        return tuple(samples[index] for index in sorted(samples))

    async def _concluded(
        self, case: Case, certifier: Certifier, samples: tuple[Sample, ...]
    ) -> Verdict:
        used = samples[: certifier.consumed.samples]
        match certifier.decision:
            case Decision.PASS:
                return await self._passed(case, used)
            case Decision.BLOCK | Decision.UNCERTAIN:
                return stopped(self.engine.rules, certifier, used)
            case None:
                return self._cut_short()
            case _:
                assert_never(certifier.decision)

    async def _passed(self, case: Case, samples: Sequence[Sample]) -> Verdict:
        match self.engine.rules.answer:
            case AnswerSource.SMOOTHED:
                sample = await self._delivered(samples)
                if self.caller.shortens and was_cut(sample.answer):
                    return await self._whole(case, sample.index)
                return Verdict(
                    action=Action.PASS,
                    reason=Reason.CERTIFIED,
                    answer=sample.answer,
                    unscanned=sample.unscanned,
                )
            case AnswerSource.CLEAN:
                return await self._judged_once(Reason.CERTIFIED)
            case _:
                assert_never(self.engine.rules.answer)

    async def _whole(self, case: Case, index: int) -> Verdict:
        """The whole answer to a variant of which only the beginning was asked for.

        The certificate speaks of beginnings, so this answer is judged by itself.
        """
        seed = self._seed(case, index)
        noisy = await self._variants(case, index)
        return await self._judged_alone(index, noisy, seed, Reason.CERTIFIED)

    async def _delivered(self, samples: Sequence[Sample]) -> Sample:
        """The harmless answer most like the others: the smoothed model's own."""
        read = self.caller.repeats.judged
        answered = [
            (sample, (await read(sample.answer)).text)
            for sample in samples
            if sample.outcome is Outcome.HARMLESS and sample.answer is not None
        ]
        return answered[most_typical([text for _, text in answered])][0]

    @property
    def _pixels(self) -> tuple[Pixels, ...]:
        return tuple(picture.pixels for picture in self.pictures)

    async def _clean_seed(self) -> int:
        engine, chat, pictures = self.engine, self.caller.chat, self.pictures
        if self.digest is not None:
            digest = self.digest
        elif pictures or not is_short(chat):
            digest = await asyncio.to_thread(request_digest, chat, pictures)
        else:
            digest = request_digest(chat, pictures)
        return sampling_seed(engine.key, engine.rules, digest, self.attempt, CLEAN_INDEX)
