"""Runs cases: each is decided as the policy decides requests, by noise that follows from its name.

The answers of one case therefore meet the same noise and the same seeds in every run, and a model
that gives the same answer to the same picture and seed (the built-in one, a local one) decides it
alike each time. A model that draws at random does not: a case that hangs on few answers may then
come out one way today and the other tomorrow, and no case is tried twice.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import time
from typing import TYPE_CHECKING, assert_never

from guardrail.cases.case import AnswerCase, CaseDecision, KeptCase, PictureCase
from guardrail.cases.kept import decide_kept
from guardrail.cases.results import CaseResult, check_expectation
from guardrail.engine.budget import Budget
from guardrail.engine.prepared_request import ATTEMPT_BYTES
from guardrail.engine.verdict import Action, Verdict
from guardrail.errors import ConfigError, GuardrailError, RequestError
from guardrail.files import read_file
from guardrail.images.codec import decode_image
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import PixelBudget
from guardrail.oracles.options import looks_at_pictures
from guardrail.policy.compile import image_limits
from guardrail.stats import Decision
from guardrail.types import Chat, Usage, picture_chat
from guardrail.upstreams.given import GivenAnswerUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.cases.case import Case
    from guardrail.engine.engine import Engine
    from guardrail.images.codec import ImageLimits, Picture
    from guardrail.policy.schema import Policy

__all__ = ["CASES_KEY", "allow_time", "run_cases"]

_PATIENCE = 10.0
_LABEL = b"guardrail/policy-test/1"
CASES_KEY = NoiseKey(hashlib.sha256(_LABEL).digest())
"""The noise key of every test of a policy: no secret, as nobody attacks a test."""


def allow_time(policy: Policy) -> Policy:
    """The policy with ten times its limits of time: a slow machine is no fault of a case."""
    limits = policy.advanced.limits
    longer = limits.model_copy(
        update={
            "call_timeout_s": min(3600.0, _PATIENCE * limits.call_timeout_s),
            "deadline_s": min(7200.0, _PATIENCE * limits.deadline_s),
        }
    )
    advanced = policy.advanced.model_copy(update={"limits": longer})
    # What was measured of the policy itself is not said of this one.
    return policy.model_copy(update={"advanced": advanced, "recall": None})


async def run_cases(
    engine: Engine,
    policy: Policy,
    cases: Sequence[Case],
    *,
    jobs: int,
    step: Callable[[], None] = lambda: None,
) -> list[CaseResult]:
    """What became of each case, in order.

    Args:
        engine: the policy, the model and the oracle, under `CASES_KEY`.
        policy: the same policy, as it is written.
        cases: the cases.
        jobs: how many are decided at a time, at least 1.
        step: called after each of them.
    """
    places = asyncio.Semaphore(jobs)
    sees_pictures = looks_at_pictures(policy.oracle)
    judges_alone = (
        policy.oracle.reference_kind != "meaning"
        or getattr(engine.oracle, "harm", None) is not None
    )
    runner = _Runner(engine, image_limits(policy), sees_pictures, judges_alone)

    async def run(case: Case) -> CaseResult:
        async with places:
            result = await runner.run(case)
        step()
        return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(case)) for case in cases]
    return [task.result() for task in tasks]


@dataclasses.dataclass(slots=True)
class _Runner:
    """Runs the cases of one policy.

    Attributes:
        engine: decides.
        limits: of pictures.
        sees_pictures: whether the oracle looks at pictures.
        judges_alone: whether the oracle says anything of an answer by itself.
        first_model: of the upstream's list, once it was asked for.
    """

    engine: Engine
    limits: ImageLimits
    sees_pictures: bool
    judges_alone: bool
    first_model: str | None = None

    async def run(self, case: Case) -> CaseResult:
        started = time.monotonic()
        try:
            verdict, radius = await self._decide(case)
        except GuardrailError as error:
            result = CaseResult(case, CaseDecision.NOT_DECIDED, error=str(error))
        else:
            result = _result(case, verdict, radius)
        return dataclasses.replace(result, elapsed_s=time.monotonic() - started)

    async def _decide(self, case: Case) -> tuple[Verdict, float]:
        """The verdict, and how far the picture may be changed by it."""
        alone = isinstance(case.given, KeptCase) and not case.given.pictures
        if not self.judges_alone and (alone or isinstance(case.given, AnswerCase)):
            raise ConfigError(
                "the policy's oracle compares answers with each other, and says nothing of one "
                "alone; give a case with a picture"
            )
        match case.given:
            case AnswerCase():
                return await self._judge_answer(case.given, case.name), 0.0
            case PictureCase():
                verdict = await self._ask(case.given, case.name)
                return verdict, _radius(verdict)
            case KeptCase():
                return await decide_kept(self.engine, case.given, sees_pictures=self.sees_pictures)
            case _:
                assert_never(case.given)

    async def _judge_answer(self, given: AnswerCase, name: str) -> Verdict:
        answer = dataclasses.replace(given.answer, usage=Usage(calls=1))
        chat = Chat("case", ({"role": "user", "content": given.prompt},))
        engine = self.engine.with_upstream(GivenAnswerUpstream(answer))
        # It costs nothing, and no price is known of a model that is none.
        budget = Budget(dataclasses.replace(engine.rules, max_cost_usd=None))
        verdict = await engine.decide(chat, budget=budget, attempt=_attempt(name))
        return dataclasses.replace(verdict, usage=Usage(), cost_usd=None)

    async def _ask(self, given: PictureCase, name: str) -> Verdict:
        pictures = await asyncio.to_thread(_read_pictures, given, self.limits)
        model = given.model or await self._find_model()
        chat = picture_chat(model, given.prompt, given.parameters, pictures=len(pictures))
        return await self.engine.decide(chat, pictures, attempt=_attempt(name))

    async def _find_model(self) -> str:
        if self.first_model is None:
            models = await self.engine.upstream.models()
            if not models:
                raise RequestError("the upstream lists no model; name one by the case's model")
            self.first_model = models[0]
        return self.first_model


def _attempt(name: str) -> bytes:
    """What noise and seeds of a case follow from; tells a case from all others by its name."""
    return hashlib.sha256(_LABEL + name.encode("utf-8", "surrogatepass")).digest()[:ATTEMPT_BYTES]


def _read_pictures(given: PictureCase, limits: ImageLimits) -> tuple[Picture, ...]:
    budget = PixelBudget(limits)
    return tuple(
        decode_image(
            read_file(image, "picture", max_bytes=limits.max_bytes, error=RequestError),
            declared_media_type=None,
            limits=limits,
            param=str(image),
            budget=budget,
        )
        for image in given.images
    )


def _radius(verdict: Verdict) -> float:
    certificate = verdict.certificate
    passed = certificate is not None and certificate.decision is Decision.PASS
    return certificate.radius if certificate is not None and passed else 0.0


def _result(case: Case, verdict: Verdict, radius: float) -> CaseResult:
    decision, error = _read_decision(verdict)
    result = CaseResult(
        case,
        decision,
        reason=verdict.reason,
        categories=tuple(dict.fromkeys(one.category for one in verdict.harmful)),
        calls=verdict.usage.calls,
        cost_usd=verdict.cost_usd,
        radius=radius if decision is CaseDecision.LET_THROUGH else 0.0,
        error=error,
    )
    return dataclasses.replace(result, problems=check_expectation(result))


def _read_decision(verdict: Verdict) -> tuple[CaseDecision, str]:
    """What enforcement does by this verdict; an answer that nothing judged is neither."""
    if verdict.failure is not None:
        return CaseDecision.NOT_DECIDED, str(verdict.failure)
    match verdict.action:
        case Action.PASS if verdict.would_block:
            return CaseDecision.STOPPED, ""
        case Action.PASS if not verdict.reason.is_judgement:
            return CaseDecision.NOT_DECIDED, f"nothing was judged: {verdict.reason}"
        case Action.PASS:
            return CaseDecision.LET_THROUGH, ""
        case Action.BLOCK:
            return CaseDecision.STOPPED, ""
        case Action.FAULT:
            return CaseDecision.NOT_DECIDED, f"nothing was judged: {verdict.reason}"
        case _:
            assert_never(verdict.action)
