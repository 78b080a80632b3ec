"""One decision, step by step: variants, test, verdict, certificate, and the answer that leaves.

With pictures (`DecisionRun._decide_by_test`):

1. Prepare the request: canvases, digest, attempt (`prepared_request.py`).
2. Choose the test for its picture sizes (`plan.py`), and those of its views where the policy
   covers more than small changes of pixels (`threats.py`).
3. Where the oracle compares, choose the reference on draws that are never counted
   (`reference_choice.py`).
4. Run the test: `fanout.py` draws samples, `certifier.py` counts them until it decides. Tests of
   views run beside it (`view_run.py`), and all must pass.
5. Turn the outcome into a verdict (`verdicts.py`) and choose the answer that leaves.
6. Fill in the certificate (`certificate/building.py`).

Without pictures one answer is judged by itself, and nothing is certified; but where the policy
covers suffixes, requests without pictures are tested in the same way.

Where the policy says so, what is written in the pictures is judged before the first step
(`picture_text`). That is a check of the request, in front of the test and no part of it. So is the
search for its pictures on the policy's lists of known ones, which comes first.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.budget import BudgetSpentError
from guardrail.engine.canonical_chat import request_digest
from guardrail.engine.certificate.building import CertificateNames, build_certificate
from guardrail.engine.fanout import fan_out
from guardrail.engine.harmful_answers import count_harmful
from guardrail.engine.most_typical import most_typical
from guardrail.engine.observer import ObservedWaves
from guardrail.engine.prepared_request import (
    CLEAN_INDEX,
    derive_seed,
    prepare_request,
)
from guardrail.engine.preprocessing import WITHOUT_PICTURES, settle
from guardrail.engine.reference_choice import choose_reference
from guardrail.engine.rules import AnswerSource, Rules
from guardrail.engine.short_answers import was_cut
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.engine.verdicts import (
    block,
    from_limit,
    from_sample,
    from_stopped_test,
    from_stopped_view,
    not_certifiable,
)
from guardrail.engine.view_run import plan_runs, run_jointly
from guardrail.errors import CertificationError
from guardrail.stats import Decision
from guardrail.types import Outcome
from guardrail.upstreams.base import asks_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.certificate.claim import Certificate
    from guardrail.engine.certifier import Certifier
    from guardrail.engine.decision_tests import DecisionTests
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.sampler import Sampler
    from guardrail.engine.verdict import Sample
    from guardrail.engine.view_run import TestRuns
    from guardrail.images.codec import Picture
    from guardrail.images.filters import PictureFilter
    from guardrail.images.keys import NoiseKey
    from guardrail.images.known_pictures import KnownPictures
    from guardrail.picture_text.check import PictureTextCheck
    from guardrail.types import Answer, Pixels

__all__ = ["DecisionRun"]


@dataclass(frozen=True, slots=True)
class DecisionRun:
    """One decision in progress.

    Attributes:
        sampler: asks the model about the chat, and judges its answers.
        key: of noise and seeds.
        pictures: decoded, as the client sent them.
        deadline: when it must be over, on the event loop's clock.
        alpha: failure probability of this decision; None for that of the rules.
        attempt: tells its draws from those of other decisions on the same request.
        digest: the request's, where it is known already, as that of one without pictures is.
        text_check: judges what is written in the pictures; None where nothing is read.
        picture_filter: the user's own, between noise and model; None where the policy asks for
            none.
        known_pictures: what is blocked before any call; None where the policy names no list.
    """

    sampler: Sampler
    key: NoiseKey
    pictures: tuple[Picture, ...]
    deadline: float
    alpha: float | None
    attempt: bytes
    digest: bytes | None = None
    text_check: PictureTextCheck | None = None
    picture_filter: PictureFilter | None = None
    known_pictures: KnownPictures | None = None

    async def decide(self) -> Verdict:
        """The verdict. Raises GuardrailError for faults that repeating cannot fix."""
        if not self.is_tested:
            return await self._judge_clean_answer(Reason.NO_IMAGE)
        if self.pictures:
            checked = await self._block_known_picture() or await self._judge_text_in_pictures()
            if checked is not None:
                return checked
        return await self._decide_by_test()

    @property
    def is_tested(self) -> bool:
        """Whether a test decides, rather than the judgement of one answer.

        An answer that was there before was drawn once: given to every draw it would show nothing.
        """
        return asks_model(self.sampler.upstream) and self._rules.tests(len(self.pictures))

    async def ask_without_noise(self) -> Answer:
        """The model's answer to the pictures as they are, not judged.

        Raises:
            UpstreamError: none came.
            TimeoutError: none came before the deadline.
        """
        async with asyncio.timeout_at(self.deadline):
            digest = await self._find_digest()
            return await self.sampler.answer(self._pixels, seed=self._clean_seed(digest))

    @property
    def _rules(self) -> Rules:
        return self.sampler.rules

    async def _block_known_picture(self) -> Verdict | None:
        """The block of a picture on a list; None where none is on any."""
        if self.known_pictures is None:
            return None
        found = await asyncio.to_thread(self.known_pictures.find, self.pictures)
        if found is None:
            return None
        verdict = await self._block_untested(Reason.KNOWN_PICTURE)
        return dataclasses.replace(verdict, known_picture=found)

    async def _judge_text_in_pictures(self) -> Verdict | None:
        """The block of pictures with harmful words; None where there is no reason for one."""
        if self.text_check is None:
            return None
        try:
            async with asyncio.timeout_at(self.deadline):
                found = await self.text_check.judge(self._pixels, self.sampler.oracle)
        except TimeoutError:
            return self._end_at_limit()
        if found.outcome is Outcome.HARMLESS:
            return None
        unmeasured = bool(found.unmeasured)
        return await self._block_untested(
            Reason.LANGUAGE_UNMEASURED if unmeasured else Reason.TEXT_IN_PICTURE
        )

    async def _decide_by_test(self) -> Verdict:
        judge = self.sampler.judge
        request = await asyncio.to_thread(self._prepare)
        try:
            runs = await asyncio.to_thread(plan_runs, self.sampler, request, alpha=self.alpha)
        except CertificationError as error:
            return not_certifiable(error)
        if judge.reference_oracle is not None:
            try:
                async with asyncio.timeout_at(self.deadline):
                    judge.reference = await choose_reference(self.sampler, request, self.key)
            except (TimeoutError, BudgetSpentError):
                return self._end_at_limit()
            if judge.reference is None:
                return await self._block_untested(Reason.NO_REFERENCE)
        tests, certifier = runs.tests, runs.tests.whole
        decided: tuple[Sample, ...] = ()
        if tests.views:
            verdict, samples, decided = await self._run_with_views(request, runs)
        else:
            samples = await self._run_test(request, certifier)
            verdict = await self._conclude(request, certifier, samples)
        mixed = len(self.sampler.models.names) > 1 and verdict.action is Action.PASS
        outside_claim = verdict.outside_claim or mixed
        certificate = self._certify(request, tests, outside_claim=outside_claim)
        used = (*verdict.samples, *samples[: certifier.consumed.samples], *decided)
        return dataclasses.replace(
            verdict,
            certificate=certificate,
            samples=samples,
            harmful=count_harmful(used),
            outside_claim=outside_claim,
            stopped_by=tests.stopped_by,
        )

    def _prepare(self) -> PreparedRequest:
        """Slow. Raises ConfigError where the size of the model's pictures is not known."""
        sampler = self.sampler
        preprocessing = (
            settle(sampler.rules, sampler.upstream, sampler.chat.model, self.picture_filter)
            if self.pictures
            else WITHOUT_PICTURES
        )
        return prepare_request(
            preprocessing, sampler.chat, self.pictures, self.attempt, digest=self.digest
        )

    async def _block_untested(self, reason: Reason) -> Verdict:
        """A block without a certificate, which would name the request."""
        digest = await self._find_digest()
        return dataclasses.replace(block(reason), request_digest=digest.hex())

    async def _run_test(self, request: PreparedRequest, certifier: Certifier) -> tuple[Sample, ...]:
        """Draws until the certifier decides or a limit is reached; the samples in index order."""
        rules = self._rules
        samples: dict[int, Sample] = {}

        async def draw(index: int) -> Sample:
            noisy = await request.draw_variant(index, rules, self.key)
            seed = request.derive_seed(index, rules, self.key)
            return await self.sampler.sample(index, noisy, seed=seed, variant=True)

        waves = ObservedWaves(certifier)
        try:
            async with asyncio.timeout_at(self.deadline):
                await fan_out(waves, draw, max_parallel=rules.max_parallel, samples=samples)
        except (TimeoutError, BudgetSpentError):
            pass  # the certifier then has no decision
        finally:
            waves.close()
        return tuple(samples[index] for index in sorted(samples))

    async def _run_with_views(
        self, request: PreparedRequest, runs: TestRuns
    ) -> tuple[Verdict, tuple[Sample, ...], tuple[Sample, ...]]:
        """The verdict, the samples of the request itself, and those of a view that ended it."""
        found = await run_jointly(
            runs, request, self.pictures, self.sampler, self.key, self.deadline
        )
        stopped = found.stopped
        if stopped is not None:
            used = found.view_samples[: stopped.certifier.consumed.samples]
            return from_stopped_view(self._rules, stopped.certifier, used), found.samples, used
        if found.decision is None:
            return self._end_at_limit(), found.samples, ()
        verdict = await self._conclude(
            request, runs.tests.whole, found.samples, harm_in_views=found.harm_in_views
        )
        return verdict, found.samples, ()

    async def _conclude(
        self,
        request: PreparedRequest,
        certifier: Certifier,
        samples: tuple[Sample, ...],
        *,
        harm_in_views: bool = False,
    ) -> Verdict:
        used = samples[: certifier.consumed.samples]
        match certifier.decision:
            case Decision.PASS:
                return await self._deliver(request, used)
            case Decision.BLOCK | Decision.UNCERTAIN:
                return from_stopped_test(self._rules, certifier, used, harm_in_views=harm_in_views)
            case None:
                return self._end_at_limit()
            case _:
                assert_never(certifier.decision)

    async def _deliver(self, request: PreparedRequest, samples: Sequence[Sample]) -> Verdict:
        """After a pass: the answer that leaves."""
        match self._rules.answer:
            case AnswerSource.SMOOTHED:
                sample = await self._most_typical_sample(samples)
                if self.sampler.shortens and was_cut(sample.answer):
                    return await self._judge_whole_answer(request, sample.index)
                return Verdict(
                    action=Action.PASS,
                    reason=Reason.CERTIFIED,
                    answer=sample.answer,
                    unscanned=sample.unscanned,
                    unmeasured=sample.unmeasured,
                )
            case AnswerSource.CLEAN:
                return await self._judge_clean_answer(Reason.CERTIFIED)
            case _:
                assert_never(self._rules.answer)

    async def _most_typical_sample(self, samples: Sequence[Sample]) -> Sample:
        """The harmless answer most like the others: the smoothed model's own."""
        read = self.sampler.judge.read
        answered = [
            (sample, (await read(sample.answer)).text)
            for sample in samples
            if sample.outcome is Outcome.HARMLESS and sample.answer is not None
        ]
        return answered[most_typical([text for _, text in answered])][0]

    async def _judge_whole_answer(self, request: PreparedRequest, index: int) -> Verdict:
        """The whole answer to a variant of which only the beginning was asked for.

        The certificate speaks of beginnings, so this answer is judged by itself.
        """
        noisy = await request.draw_variant(index, self._rules, self.key)
        seed = request.derive_seed(index, self._rules, self.key)
        return await self._judge_alone(index, noisy, seed, Reason.CERTIFIED)

    async def _judge_clean_answer(self, passed: Reason) -> Verdict:
        """One answer without noise, judged by itself."""
        digest = await self._find_digest()
        named = "" if self.pictures else digest.hex()
        return await self._judge_alone(
            0, self._pixels, self._clean_seed(digest), passed, request_digest=named
        )

    async def _judge_alone(
        self,
        index: int,
        pictures: tuple[Pixels, ...],
        seed: int,
        passed: Reason,
        *,
        request_digest: str = "",
    ) -> Verdict:
        """One whole answer and the verdict by its own judgement, outside any certificate."""
        try:
            async with asyncio.timeout_at(self.deadline):
                sample = await self.sampler.sample(index, pictures, seed=seed)
        except (TimeoutError, BudgetSpentError):
            return self._end_at_limit()
        return from_sample(self._rules, sample, passed, request_digest=request_digest)

    def _end_at_limit(self) -> Verdict:
        spent = self.sampler.budget.spent
        if spent is not None:
            return from_limit(spent)
        return from_limit(Reason.DEADLINE, in_line=self.sampler.waited_in_line)

    def _certify(
        self, request: PreparedRequest, tests: DecisionTests, *, outside_claim: bool
    ) -> Certificate:
        """The certificate; names are read now, as a model may learn its revision while loading."""
        sampler = self.sampler
        names = CertificateNames(
            model=sampler.chat.model,
            upstream=sampler.upstream.name,
            upstream_revision=sampler.upstream.revision,
            oracle_revision=sampler.oracle.revision,
            key_id=self.key.key_id,
        )
        return build_certificate(
            self._rules,
            request,
            tests,
            names,
            reference=sampler.judge.reference,
            shortens=sampler.shortens,
            outside_claim=outside_claim,
        )

    @property
    def _pixels(self) -> tuple[Pixels, ...]:
        return tuple(picture.pixels for picture in self.pictures)

    async def _find_digest(self) -> bytes:
        """The request's digest; where it is not known yet, computed in a thread."""
        if self.digest is not None:
            return self.digest
        return await asyncio.to_thread(request_digest, self.sampler.chat, self.pictures)

    def _clean_seed(self, digest: bytes) -> int:
        """The seed of the one call without noise."""
        return derive_seed(self.key, self._rules, digest, self.attempt, CLEAN_INDEX)
