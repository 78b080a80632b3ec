"""What became of one row of a bulk job."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from guardrail.canonical import make_interoperable
from guardrail.engine.certificate.codec import encode_certificate
from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.verdict import Action
from guardrail.errors import GuardrailError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.bulk.rows import BulkRow
    from guardrail.engine.verdict import Verdict
    from guardrail.types import Json

__all__ = ["UNREADABLE", "RowDecision", "RowOutcome"]

UNREADABLE = "unreadable picture"
"""The reason of a row that has no picture, or one that cannot be read or decoded."""


class RowDecision(StrEnum):
    """What the policy says of a row; a fault is neither a pass nor a block."""

    PASS = "pass"  # noqa: S105 (a decision, not a password)
    BLOCK = "block"
    NOT_DECIDED = "not decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOutcome:
    """One row and what became of it.

    Attributes:
        name: of the row; `row` is its line or number in a table, 0 in a folder.
        identity: tells it from other rows of its source.
        decision: pass, block, or not decided.
        reason: why, in the words of verdicts, or `UNREADABLE`.
        stopped_by: which test ended the decision without a pass, in the words of `StoppedBy`.
        problem: what went wrong where nothing was decided; empty otherwise.
        key: the content key (`content_key.py`), hexadecimal; empty where the picture was not read.
        picture_sha256: of the encoded picture, hexadecimal; empty likewise.
        known_lists: digest of the lists of known pictures in which its own was looked for; empty
            where the policy names none.
        known_picture: the entry that it was found to be, and how near it is; empty where it is on
            no list.
        same_as: the row with the same picture and question whose decision this is; empty where it
            is its own.
        calls: to the model, made for this row in this attempt.
        cost_usd: of these calls; None where it is not known.
        decided_at: ISO 8601, UTC.
        harmful: categories of the harmful answers, the most frequent first.
        outside_claim: see `Verdict`.
        answer: the answer that passed, where answers are kept; else None.
        certificate: as `guardrail verify` takes it; None where there is none.
    """

    name: str
    row: int
    identity: str
    decision: RowDecision
    reason: str
    stopped_by: str = StoppedBy.NONE.value
    problem: str = ""
    key: str = ""
    picture_sha256: str = ""
    known_lists: str = ""
    known_picture: str = ""
    same_as: str = ""
    calls: int = 0
    cost_usd: float | None = 0.0
    decided_at: str = ""
    harmful: tuple[str, ...] = ()
    outside_claim: bool = False
    answer: str | None = None
    certificate: Mapping[str, Json] | None = None

    @property
    def is_decided(self) -> bool:
        return self.decision is not RowDecision.NOT_DECIDED

    @property
    def radius(self) -> float | None:
        """The certified ℓ2 radius of a pass, in client pixels; None where there is none."""
        passed = self.decision is RowDecision.PASS and not self.outside_claim
        return float(self.certificate["radius"]) if self.certificate and passed else None

    def to_dict(self) -> dict[str, Json]:
        """For JSON and tables; `from_dict` reads it back."""
        fields: dict[str, Any] = {
            one.name: getattr(self, one.name) for one in dataclasses.fields(self)
        }
        fields["decision"] = self.decision.value
        fields["harmful"] = list(self.harmful)
        plain: dict[str, Json] = make_interoperable(fields)
        return plain

    @classmethod
    def from_dict(cls, fields: Mapping[str, Json]) -> RowOutcome:
        """Raises KeyError, TypeError or ValueError where these are other fields."""
        known = {one.name: fields[one.name] for one in dataclasses.fields(cls)}
        known["decision"] = RowDecision(known["decision"])
        known["harmful"] = tuple(known["harmful"])
        return cls(**known)

    @classmethod
    def from_verdict(
        cls,
        row: BulkRow,
        verdict: Verdict,
        *,
        key: str,
        sha256: str,
        keep_answer: bool,
        known_lists: str = "",
    ) -> RowOutcome:
        decision, problem = _read_decision(verdict)
        certificate, answer = verdict.certificate, verdict.answer
        passes = decision is RowDecision.PASS and answer is not None
        return cls(
            name=row.name,
            row=row.number,
            identity=row.identity,
            decision=decision,
            reason=verdict.reason.value,
            stopped_by=verdict.stopped_by.value,
            problem=problem,
            key=key,
            picture_sha256=sha256,
            known_lists=known_lists,
            known_picture="" if verdict.known_picture is None else str(verdict.known_picture),
            calls=verdict.usage.calls,
            cost_usd=verdict.cost_usd,
            decided_at=_now(),
            harmful=tuple(dict.fromkeys(one.category for one in verdict.harmful)),
            outside_claim=verdict.outside_claim,
            answer=answer.text if keep_answer and passes and answer is not None else None,
            certificate=None if certificate is None else encode_certificate(certificate),
        )

    @classmethod
    def undecided(
        cls, row: BulkRow, error: Exception, reason: str, *, key: str = "", sha256: str = ""
    ) -> RowOutcome:
        return cls(
            name=row.name,
            row=row.number,
            identity=row.identity,
            decision=RowDecision.NOT_DECIDED,
            reason=reason,
            problem=_words_of(error),
            key=key,
            picture_sha256=sha256,
            decided_at=_now(),
        )

    def repeat_for(self, row: BulkRow) -> RowOutcome:
        """The same decision for another row with the same picture and question; nothing is paid."""
        return dataclasses.replace(
            self,
            name=row.name,
            row=row.number,
            identity=row.identity,
            same_as=self.same_as or self.name,
            calls=0,
            cost_usd=0.0,
            decided_at=_now(),
            answer=None,
            certificate=None,
        )


def _read_decision(verdict: Verdict) -> tuple[RowDecision, str]:
    """What enforcement does by this verdict; what nothing judged is neither pass nor block."""
    if verdict.failure is not None:
        return RowDecision.NOT_DECIDED, _words_of(verdict.failure)
    match verdict.action:
        case Action.PASS if verdict.would_block:
            return RowDecision.BLOCK, ""
        case Action.PASS if not verdict.reason.is_judgement:
            return RowDecision.NOT_DECIDED, f"nothing was judged: {verdict.reason}"
        case Action.PASS:
            return RowDecision.PASS, ""
        case Action.BLOCK:
            return RowDecision.BLOCK, ""
        case Action.FAULT:
            return RowDecision.NOT_DECIDED, f"nothing was judged: {verdict.reason}"
        case _:
            assert_never(verdict.action)


def _words_of(error: Exception) -> str:
    """Unknown exceptions may quote the picture's file, so only their names are kept."""
    known = isinstance(error, GuardrailError)
    return str(error) if known else f"the guard crashed ({type(error).__name__})"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
