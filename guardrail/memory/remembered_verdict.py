"""A verdict as it is remembered: what was delivered, if anything, and its certificate.

Kept as JSON, so that any store can hold it and its size is known. The answers to variants are not
kept; they are in the record of the decision that drew them.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from guardrail.engine.certificate.codec import (
    decode_certificate,
    encode_certificate,
    seal_certificate,
)
from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.verdict import Action, HarmfulAnswers, Reason, Verdict
from guardrail.errors import CertificationError
from guardrail.types import Answer, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["RememberedVerdict", "as_delivered_again"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class RememberedVerdict:
    """A verdict, and the alpha of its decision, all upstreams together."""

    verdict: Verdict
    alpha: float

    @classmethod
    def from_verdict(cls, verdict: Verdict) -> Self | None:
        """None where no answers decided, so that there is nothing to remember."""
        # What is on a list is found there each time, for as long as it is.
        listed = verdict.reason is Reason.KNOWN_PICTURE
        judged = verdict.failure is None and verdict.reason.is_judgement and not listed
        passed = verdict.action is Action.PASS
        if not judged or passed != (verdict.reason is Reason.CERTIFIED) or verdict.would_block:
            return None
        if verdict.alpha is None or (passed and verdict.certificate is None):
            return None
        return cls(as_delivered_again(verdict), verdict.alpha)

    def encode(self) -> bytes | None:
        """For a store; None where the answer is none that JSON can express."""
        verdict = self.verdict
        value = {
            "version": _VERSION,
            "alpha": self.alpha,
            "action": verdict.action.value,
            "reason": verdict.reason.value,
            "answer": None if verdict.answer is None else _encode_answer(verdict.answer),
            "harmful": [dataclasses.asdict(one) for one in verdict.harmful],
            "certificate": verdict.certificate and encode_certificate(verdict.certificate),
            "unscanned": list(verdict.unscanned),
            "unmeasured": verdict.unmeasured,
            "outside_claim": verdict.outside_claim,
            "models": list(verdict.models),
            "attempt": verdict.attempt,
            "upstream": verdict.upstream,
            "upstream_revision": verdict.upstream_revision,
            "stopped_by": verdict.stopped_by.value,
        }
        try:
            return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
        except (TypeError, ValueError, RecursionError):
            return None

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """What `encode` wrote; None for anything else, another version's included."""
        try:
            value = json.loads(data)
            if value["version"] != _VERSION:
                return None
            certificate = value["certificate"]
            verdict = Verdict(
                action=Action(value["action"]),
                reason=Reason(value["reason"]),
                answer=None if value["answer"] is None else _decode_answer(value["answer"]),
                harmful=tuple(HarmfulAnswers(**one) for one in value["harmful"]),
                certificate=None if certificate is None else decode_certificate(certificate),
                unscanned=tuple(value["unscanned"]),
                unmeasured=value["unmeasured"],
                outside_claim=value["outside_claim"],
                models=tuple(value["models"]),
                attempt=value["attempt"],
                remembered=True,
                alpha=value["alpha"],
                upstream=value["upstream"],
                upstream_revision=value["upstream_revision"],
                stopped_by=StoppedBy(value["stopped_by"]),
                cost_usd=0.0,
            )
            return cls(verdict, value["alpha"])
        except (KeyError, TypeError, ValueError, RecursionError, CertificationError):
            return None


def as_delivered_again(verdict: Verdict) -> Verdict:
    """A verdict as it is given to a request for which nothing was drawn.

    The certificate is that of the decision that drew. Delivering an answer again is outside its
    claim, which it then says; it stays the same where nothing is delivered.
    """
    certificate = verdict.certificate
    outside = verdict.outside_claim or verdict.action is Action.PASS
    if certificate is not None and outside and not certificate.outside_claim:
        certificate = seal_certificate(dataclasses.replace(certificate, outside_claim=True))
    return dataclasses.replace(
        verdict,
        remembered=True,
        outside_claim=outside,
        certificate=certificate,
        samples=(),
        spending_number=None,
        usage=Usage(),
        cost_usd=0.0,
        elapsed_s=0.0,
        overhead_s=0.0,
    )


def _encode_answer(answer: Answer) -> dict[str, Json]:
    return {
        "message": dict(answer.message),
        "finish_reason": answer.finish_reason,
        "model": answer.model,
        "usage": dataclasses.asdict(answer.usage),
        "extra": dict(answer.extra),
    }


def _decode_answer(value: Mapping[str, Json]) -> Answer:
    return Answer(**{**value, "usage": Usage(**value["usage"])})
