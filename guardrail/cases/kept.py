"""Decides recorded requests anew by the answers that were kept of them; no model is called.

The answers are judged by the policy's oracle where their texts were kept, and count as they were
judged then where not, which says something only of the same oracle. They were given under some
noise, so a policy with another noise or canvas would have got other ones: that is an error of the
case, and so is a record that ends before the policy's test does.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from guardrail.engine.certifier import Certifier
from guardrail.engine.harmful_answers import count_harmful
from guardrail.engine.judge import Judge
from guardrail.engine.plan import earned_radius, harmless_lower, measure_geometry, plan_for
from guardrail.engine.preprocessing import may_be_filter
from guardrail.engine.rules import MODEL_SIDE, AnswerSource, TextInPictures
from guardrail.engine.verdict import Action, Reason, Sample, Verdict
from guardrail.engine.verdicts import from_sample, from_stopped_test
from guardrail.errors import CertificationError, UpstreamError
from guardrail.images.canvas import canvas_for
from guardrail.oracles.base import ReferenceOracle
from guardrail.stats import Decision
from guardrail.types import Chat, Outcome, Usage

if TYPE_CHECKING:
    from guardrail.cases.case import KeptAnswer, KeptCase
    from guardrail.engine.engine import Engine
    from guardrail.images.canvas import CanvasOperator

__all__ = ["decide_kept"]


async def decide_kept(
    engine: Engine, kept: KeptCase, *, sees_pictures: bool
) -> tuple[Verdict, float]:
    """The verdict by the answers that were kept, and how far the picture may be changed.

    The calls of the verdict are those that a decision would take. `sees_pictures` says whether the
    oracle looks at pictures, which records do not keep.

    Raises:
        CertificationError: these answers do not say how this policy decides.
        OracleError: they could not be judged.
    """
    judging = _Judging(engine, kept, sees_pictures=sees_pictures)
    if not engine.rules.tests(len(kept.pictures)):
        sample = await judging.judge(0)
        verdict = from_sample(engine.rules, sample, Reason.NO_IMAGE)
        return _complete(verdict, (sample,)), 0.0
    _check_policy(engine)
    canvases = _find_canvases(engine, kept)
    certifier = Certifier(plan_for(engine.rules, measure_geometry(canvases)))
    samples = await _run_test(certifier, judging)
    if certifier.decision is not Decision.PASS:
        return _complete(from_stopped_test(engine.rules, certifier, samples), samples), 0.0
    bound = harmless_lower(certifier.plan, certifier.consumed)
    radius = earned_radius(engine.rules, measure_geometry(canvases), bound)
    return _complete(Verdict(action=Action.PASS, reason=Reason.CERTIFIED), samples), radius


def _complete(verdict: Verdict, samples: tuple[Sample, ...]) -> Verdict:
    return dataclasses.replace(
        verdict,
        samples=samples,
        harmful=count_harmful(samples),
        usage=Usage(calls=len(samples)),
        cost_usd=None,
    )


def _check_policy(engine: Engine) -> None:
    """Raises CertificationError where more than the kept answers decides."""
    rules = engine.rules
    problems = {
        "asks about views of requests (threats), and records keep no answers to them": (
            rules.threats is not None
        ),
        "compares answers with a reference, which other answers chose": isinstance(
            engine.oracle, ReferenceOracle
        ),
        "delivers an answer without noise (answer: clean), which is judged by itself": (
            rules.answer is not AnswerSource.SMOOTHED
        ),
        "asks for beginnings of answers (probe_max_tokens)": rules.probe_max_tokens is not None,
        "reads the text in pictures, and records keep no pictures": (
            rules.text_in_pictures is not TextInPictures.OFF
        ),
    }
    for problem, holds in problems.items():
        if holds:
            raise _unknown(f"the policy {problem}")


def _find_canvases(engine: Engine, kept: KeptCase) -> tuple[CanvasOperator, ...]:
    rules = engine.rules
    if kept.sigma != rules.sigma:
        raise _unknown(f"they were given under noise {kept.sigma:g}, not {rules.sigma:g}")
    if not may_be_filter(rules, kept.denoise):
        raise _unknown(f"the pictures went through another filter ({kept.denoise})")
    most = rules.canvas_max_side_px
    if most == MODEL_SIDE:
        known = (kept.model_side_px, rules.canvas_limit_px)
        if known == (None, None):
            raise _unknown("their canvas was not that of the model, as this policy wants it")
        most = min(side for side in known if side is not None)
    canvases = tuple(
        canvas_for(*picture.client, max_side_px=most, min_side_px=rules.canvas_min_side_px)
        for picture in kept.pictures
    )
    if [canvas.size for canvas in canvases] != [picture.canvas for picture in kept.pictures]:
        raise _unknown("their pictures had another canvas than this policy's")
    return canvases


async def _run_test(certifier: Certifier, judging: _Judging) -> tuple[Sample, ...]:
    """Feeds the test until it decides. Raises CertificationError where the answers end before."""
    samples: list[Sample] = []
    while launched := certifier.launch(certifier.plan.max_samples):
        for index in launched:
            if certifier.decision is None:
                samples.append(await judging.judge(index))
                certifier.record(index, samples[-1].outcome)
    return tuple(samples)


class _Judging:
    """The kept answers, judged one by one."""

    def __init__(self, engine: Engine, kept: KeptCase, *, sees_pictures: bool) -> None:
        self._answers = kept.answers
        self._anew = all(
            one.answer is not None or one.outcome is Outcome.MISSING for one in kept.answers
        )
        chat = Chat("case", ({"role": "user", "content": kept.prompt},))
        self._judge = Judge(engine.rules, engine.oracle, chat)
        if self._anew and kept.pictures and sees_pictures:
            raise _unknown("the policy's oracle looks at pictures, which records do not keep")
        if not self._anew and kept.oracle != engine.oracle.revision:
            raise _unknown(
                "another oracle judged them, and their texts were not kept (--keep-content)"
            )

    async def judge(self, index: int) -> Sample:
        if index >= len(self._answers):
            raise _unknown(
                f"the record has {len(self._answers)} answers in a row, and this policy needs more"
            )
        one = self._answers[index]
        if one.outcome is Outcome.MISSING:
            fault = UpstreamError("the record has no answer in this place")
            return Sample(index=index, outcome=one.outcome, failure=fault)
        if self._anew and one.answer is not None:
            return await self._judge.judge(index, one.answer, ())
        return _sample_as_recorded(index, one)


def _sample_as_recorded(index: int, one: KeptAnswer) -> Sample:
    return Sample(
        index=index, outcome=one.outcome, score=one.score, reason=one.category, field=one.field
    )


def _unknown(why: str) -> CertificationError:
    return CertificationError(
        f"the kept answers do not say how this policy decides: {why}; ask the model again, by a "
        "case with the picture"
    )
