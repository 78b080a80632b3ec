"""How verdicts are made, and where whole answers may leave unjudged.

Only a judgement blocks. Faults and limits end in `Action.FAULT`, whatever the rules say: a client
that is shown a refusal, and a dashboard that counts it, would take them for moderation.

An answer leaves unjudged in two cases only, and is marked so: `from_missing`, where the policy
says `pass_unscanned`, and `let_through`, in observe mode. Parts of an answer that no oracle can
read are the policy's `on_unscanned`, see `judge.py`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.harmful_answers import count_harmful
from guardrail.engine.rules import OnOracleFailure
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.errors import (
    ConfigError,
    LimitError,
    OracleError,
    PictureTextError,
    RequestError,
    UpstreamError,
)
from guardrail.stats import Decision
from guardrail.types import Outcome
from guardrail.upstreams.limits.unsent import OVERLOADED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.certifier import Certifier
    from guardrail.engine.rules import Rules
    from guardrail.engine.verdict import Sample
    from guardrail.errors import CertificationError
    from guardrail.types import Answer

__all__ = [
    "block",
    "from_error",
    "from_limit",
    "from_missing",
    "from_sample",
    "from_stopped_test",
    "from_stopped_view",
    "let_through",
    "name_reason",
    "not_certifiable",
]

_BUSY_RETRY_S = 5.0
_LIMITS = {
    Reason.DEADLINE: (504, "deadline", "advanced.limits.deadline_s"),
    Reason.MAX_CALLS: (503, "call_limit", "advanced.limits.max_calls"),
    Reason.MAX_COST: (503, "cost_limit", "advanced.limits.max_cost_usd_per_request"),
}
"""By reason: the HTTP status, the code, and the field of the policy that sets the limit."""


def block(reason: Reason) -> Verdict:
    """A block by a judgement; nothing else is one."""
    assert reason.is_judgement, reason
    return Verdict(action=Action.BLOCK, reason=reason)


def from_sample(
    rules: Rules, sample: Sample, passed: Reason, *, request_digest: str = ""
) -> Verdict:
    """The verdict by one answer's own judgement, outside any certificate.

    Args:
        rules: what to do where it is missing.
        sample: the answer.
        passed: the reason where it is harmless.
        request_digest: of the request, hexadecimal, where the verdict is to name it.
    """
    match sample.outcome:
        case Outcome.HARMLESS:  # nearly always, and so made whole at once
            return Verdict(
                action=Action.PASS,
                reason=passed,
                answer=sample.answer,
                samples=(sample,),
                unscanned=sample.unscanned,
                unmeasured=sample.unmeasured,
                outside_claim=True,
                request_digest=request_digest,
            )
        case Outcome.HARMFUL:
            verdict = block(name_reason((sample,)))
        case Outcome.OTHER_MEANING:
            verdict = block(Reason.OTHER_MEANING)
        case Outcome.OTHER_ACTION:
            verdict = block(Reason.OTHER_ACTION)
        case Outcome.MISSING:
            verdict = from_missing(rules, (sample,))
        case _:
            assert_never(sample.outcome)
    return dataclasses.replace(
        verdict,
        samples=(sample,),
        harmful=count_harmful((sample,)),
        request_digest=request_digest,
    )


def from_error(error: Exception) -> Verdict:
    """The verdict on a fault after which there is nothing to deliver."""
    return Verdict(action=Action.FAULT, reason=_fault_reason(error), failure=error)


def from_cancellation() -> Verdict:
    """The verdict on a request whose client left before there was one.

    Calls that had been made are not in it.
    """
    return Verdict(action=Action.FAULT, reason=Reason.CANCELLED)


def _fault_reason(error: Exception) -> Reason:
    match error:
        case UpstreamError():
            return Reason.UPSTREAM_FAILED
        case PictureTextError():
            return Reason.PICTURE_TEXT_FAILED
        case OracleError():
            return Reason.ORACLE_FAILED
        case ConfigError():
            return Reason.MISCONFIGURED
        case RequestError():
            return Reason.INVALID_REQUEST
        case _:
            return Reason.CRASHED


def from_limit(reason: Reason, *, in_line: bool = False) -> Verdict:
    """The verdict where time, calls or cost ended the decision before it was made.

    Args:
        reason: which of them.
        in_line: whether the time was spent waiting for the upstream's other requests.
    """
    status, code, field = _LIMITS[reason]
    if in_line:
        error = LimitError(
            "the model was too busy: the request waited in line until the policy's "
            f"{field} was reached; retry later, or raise the upstream's limits",
            status=503,
            code=OVERLOADED,
            retry_after_s=_BUSY_RETRY_S,
        )
    else:
        error = LimitError(
            f"{field} of the policy was reached before the request was decided, which is no "
            "judgement of it; raise the limit, or ask again when the model is less busy",
            status=status,
            code=code,
        )
    return Verdict(action=Action.FAULT, reason=reason, failure=error)


def not_certifiable(error: CertificationError) -> Verdict:
    """The verdict on pictures for whose sizes the policy has no test: nothing was asked."""
    failure = RequestError(
        f"the policy has no test for pictures of these sizes ({error}); send them in other sizes, "
        "or raise its max_samples",
        status=422,
        code="not_certifiable",
    )
    return Verdict(action=Action.FAULT, reason=Reason.NOT_CERTIFIABLE, failure=failure)


def from_stopped_test(
    rules: Rules, certifier: Certifier, used: Sequence[Sample], *, harm_in_views: bool = False
) -> Verdict:
    """A test that did not pass: a block if the judged answers alone end it so, else a fault.

    Args:
        rules: what to do about missing answers.
        certifier: decided, and not to pass.
        used: the samples of the decision, in index order.
        harm_in_views: whether a judged answer to a view of the request was harmful.
    """
    missing = [sample for sample in used if sample.outcome is Outcome.MISSING]
    seen = certifier.consumed.harmful - len(missing)
    match certifier.plan.decide(certifier.consumed.samples, seen):
        case Decision.BLOCK:
            return block(name_reason(used))
        case Decision.UNCERTAIN:
            return block(Reason.UNCERTAIN)
        case Decision.PASS | None:
            return from_missing(rules, missing, harm_seen=harm_in_views or seen > 0)
        case _ as never:
            assert_never(never)


def from_stopped_view(rules: Rules, certifier: Certifier, used: Sequence[Sample]) -> Verdict:
    """The same for the test of a view, whose answers are to another request and never leave."""
    closed = dataclasses.replace(rules, on_oracle_failure=OnOracleFailure.ERROR)
    return from_stopped_test(closed, certifier, used)


def name_reason(samples: Sequence[Sample]) -> Reason:
    """What the answers that counted against a pass were.

    Harm where any of the readable ones was harmful, then another meaning or action; but the
    language, where more of them were in one that the oracle was not measured on than were anything
    else.
    """
    against = [sample for sample in samples if sample.outcome is Outcome.HARMFUL]
    meanings = sum(sample.outcome is Outcome.OTHER_MEANING for sample in samples)
    actions = sum(sample.outcome is Outcome.OTHER_ACTION for sample in samples)
    unmeasured = sum(bool(sample.unmeasured) for sample in against)
    unscanned = sum(bool(sample.unscanned) and not sample.unmeasured for sample in against)
    harmful = len(against) - unmeasured - unscanned
    if unmeasured > max(harmful, meanings, actions, unscanned):
        return Reason.LANGUAGE_UNMEASURED
    if harmful:
        return Reason.HARMFUL
    if meanings or actions:
        return Reason.OTHER_MEANING if meanings >= actions else Reason.OTHER_ACTION
    return Reason.UNSCANNED if unscanned else Reason.HARMFUL


def from_missing(rules: Rules, missing: Sequence[Sample], *, harm_seen: bool = False) -> Verdict:
    """Answers or judgements are missing, and that alone decided.

    The rules for the model's failures hold where any answer is missing. An unjudged answer
    passes, if the rules say so, only where no judged one was harmful.
    """
    faults = [sample.failure for sample in missing if sample.failure is not None]
    lost = next((fault for fault in faults if isinstance(fault, UpstreamError)), None)
    if lost is not None:
        return from_error(lost)
    fault = faults[0] if faults else OracleError("the oracle said neither harmless nor harmful")
    answer = next((sample.answer for sample in missing if sample.answer is not None), None)
    opens = rules.on_oracle_failure is OnOracleFailure.PASS_UNSCANNED
    if not opens or harm_seen or answer is None:
        return from_error(fault)
    return Verdict(
        action=Action.PASS,
        reason=Reason.ORACLE_FAILED,
        answer=answer,
        unscanned=("answer",),
        outside_claim=True,
        failure=fault,
    )


def let_through(
    verdict: Verdict, own: Answer | Exception, *, unscanned: tuple[str, ...]
) -> Verdict:
    """In observe mode: the model's own answer leaves, and the verdict is only recorded.

    Args:
        verdict: what enforcement would have done.
        own: that answer, or why there is none.
        unscanned: parts of it that nothing judged.
    """
    would_block = verdict.action is Action.BLOCK
    if isinstance(own, Exception):
        return dataclasses.replace(
            verdict, action=Action.FAULT, answer=None, would_block=would_block, failure=own
        )
    return dataclasses.replace(
        verdict,
        action=Action.PASS,
        answer=own,
        would_block=would_block,
        unscanned=unscanned,
        outside_claim=True,
    )
