"""The outcome of one decision: what the client gets, why, and the samples behind it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from guardrail.engine.stopped_by import StoppedBy
from guardrail.notebook import html_table, one_line
from guardrail.types import Usage

if TYPE_CHECKING:
    from guardrail.engine.certificate.claim import Certificate
    from guardrail.errors import OracleError, UpstreamError
    from guardrail.images.known_pictures import KnownPicture
    from guardrail.types import Answer, Outcome

__all__ = ["Action", "HarmfulAnswers", "Observation", "Reason", "Sample", "Verdict"]


class Action(StrEnum):
    """What happens to the request; `FAULT` is answered with the fault, never with an answer.

    Only a judgement blocks, the guard's or that of a person (`Reason.OVERRIDE`): what was not
    judged, for whatever cause, is a fault.
    """

    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    BLOCK = "block"
    FAULT = "fault"


class Reason(StrEnum):
    """Why, for people and for dashboards; a closed list."""

    CERTIFIED = "certified"
    NO_IMAGE = "not certified: no image"
    HARMFUL = "harmful"
    OTHER_MEANING = "other meaning"
    OTHER_ACTION = "other action"
    UNCERTAIN = "uncertain"
    NO_REFERENCE = "nothing stable to certify"
    UNSCANNED = "unscanned"
    LANGUAGE_UNMEASURED = "language unmeasured"
    TEXT_IN_PICTURE = "harmful text in a picture"
    KNOWN_PICTURE = "known harmful picture"
    DEADLINE = "deadline"
    MAX_CALLS = "call limit"
    MAX_COST = "cost limit"
    UPSTREAM_FAILED = "upstream failed"
    ORACLE_FAILED = "oracle failed"
    PICTURE_TEXT_FAILED = "text in a picture not read"
    NOT_CERTIFIABLE = "not certifiable at this size"
    ATTEMPTS_SPENT = "attempts spent"
    INVALID_REQUEST = "invalid request"
    MISCONFIGURED = "misconfigured"
    CANCELLED = "cancelled"
    CRASHED = "guard failed"
    NOT_DECIDED = "not decided"
    OVERRIDE = "override"
    SHUT_DOWN = "server shut down"

    @property
    def is_judgement(self) -> bool:
        """Whether the request or answers to it were judged: no limit, no size, no fault, nobody.

        Of a known picture people have judged.
        """
        match self:
            case (
                Reason.CERTIFIED
                | Reason.NO_IMAGE
                | Reason.HARMFUL
                | Reason.OTHER_MEANING
                | Reason.OTHER_ACTION
                | Reason.UNCERTAIN
                | Reason.NO_REFERENCE
                | Reason.UNSCANNED
                | Reason.LANGUAGE_UNMEASURED
                | Reason.TEXT_IN_PICTURE
                | Reason.KNOWN_PICTURE
            ):
                return True
            case (
                Reason.DEADLINE
                | Reason.MAX_CALLS
                | Reason.MAX_COST
                | Reason.UPSTREAM_FAILED
                | Reason.ORACLE_FAILED
                | Reason.PICTURE_TEXT_FAILED
                | Reason.NOT_CERTIFIABLE
                | Reason.ATTEMPTS_SPENT
                | Reason.INVALID_REQUEST
                | Reason.MISCONFIGURED
                | Reason.CANCELLED
                | Reason.CRASHED
                | Reason.NOT_DECIDED
                | Reason.OVERRIDE
                | Reason.SHUT_DOWN
            ):
                return False
            case _:
                assert_never(self)


class Observation(StrEnum):
    """What is watched of a request whose answer leaves before it is decided; a closed list.

    For records alone: a client that knew would behave while it is watched.
    """

    NONE = ""
    """Decided before its answer leaves, or not at all."""
    LEFT_OUT = "left out"
    """It is not among the share that is decided."""
    SKIPPED = "skipped"
    """It is, but the line was full, or that it is could not be found out."""
    FOLLOWED = "followed"
    """Its decision follows, in a verdict of its own."""
    DECISION = "decision"
    """The decision that follows an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One answer of the model and how it counts.

    Attributes:
        index: the number of its variant in the decision, from 0.
        outcome: how it counts.
        answer: the model's answer, None where none came.
        score: the oracle's, in [0, 1]; None where nothing could be judged.
        reason: the oracle's category or the kind of refusal, never words of the answer.
        field: the part of the answer that was judged worst, as `FieldText` names it; empty where
            no oracle was asked.
        unscanned: parts of the answer that no text oracle can read.
        unmeasured: why the answer's language is none that the oracle was measured on: `script`,
            `language` or `unknown words`; empty where it is.
        refused: whether it is nothing but the provider's own refusal or content filter.
        withheld: whether it is harmful whatever its score: for its language, for a part that
            cannot be read, or as a refusal.
        failure: why an outcome is missing.
        elapsed_s: time of call and judgement, repeats included.
    """

    index: int
    outcome: Outcome
    answer: Answer | None = None
    score: float | None = None
    reason: str = ""
    field: str = ""
    unscanned: tuple[str, ...] = ()
    unmeasured: str = ""
    refused: bool = False
    withheld: bool = False
    failure: UpstreamError | OracleError | None = None
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class HarmfulAnswers:
    """Answers of one decision that are harmful for one reason in one field.

    Attributes:
        category: the oracle's category or the kind of refusal, as `Sample.reason` has it.
        field: where it was found, as `Sample.field` has it; empty where no oracle was asked.
        answers: how many there are, at least 1.
    """

    category: str
    field: str
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Verdict:
    """The outcome of one decision, with all that is recorded of it.

    Attributes:
        action: what the client gets.
        reason: why the guard decided as it did.
        answer: the answer that leaves; None unless `action` is pass.
        certificate: for requests with pictures, also when they are blocked.
        samples: every finished variant in index order, some perhaps beyond the decision; the one
            judged answer of a chat without pictures.
        harmful: of the answers that decided, the harmful ones by category and field, the most
            frequent first; those of the decision that drew where the verdict is remembered.
        would_block: in shadow mode, whether enforcement would have blocked: a fault is no block,
            and its reason says so.
        unscanned: parts of the delivered answer that nothing judged.
        unmeasured: why the delivered answer's language is none that the oracle was measured on,
            which fails open by the policy's choice; empty where it is one.
        outside_claim: True where the delivered answer is not the one the certificate speaks of.
        models: the models that the answers to variants name as theirs, in the order they were met;
            empty where they name none.
        attempt: 32 hexadecimal digits that tell its draws from those of other decisions on the
            same request; see `prepared_request.py`.
        remembered: whether nothing was drawn for this request because an equal one had been
            decided; certificate and attempt are those of that decision.
        upstream, upstream_revision: which of several models was asked, and gave all samples; empty
            where the engine has only one.
        alpha: probability, at most, of passing the request if it should not pass; None where
            nothing is claimed: chats without pictures.
        spending_number: the number k that the decision held and that set its alpha (see
            `spent_alpha`); None where tries are not counted.
        usage: tokens and calls of every answer that came from upstream.
        cost_usd: of all these calls, in US dollars; None where a price or a count is not known.
        elapsed_s: the whole decision; overhead_s: the part with no call to the model in flight.
        failure: the fault behind `FAULT`, or behind an answer that passed unjudged; fit for the
            client.
        observation: what is watched of a request whose answer leaves before it is decided.
        request_digest: of such a request, of a chat without pictures, or of one that was blocked
            before its test or overridden, hexadecimal; empty where a certificate names it, and
            where it was not computed.
        override: the entry of the list of overrides that decided in the guard's place; empty where
            the guard decided.
        stopped_by: which test ended the decision without a pass; of a remembered verdict, the one
            of the decision that drew.
        known_picture: the entry of a list of known pictures that one of the request's is, and how
            near it is; None where none is. For the operator: how near is a graded score.
    """

    action: Action
    reason: Reason
    answer: Answer | None = None
    certificate: Certificate | None = None
    samples: tuple[Sample, ...] = ()
    harmful: tuple[HarmfulAnswers, ...] = ()
    would_block: bool = False
    unscanned: tuple[str, ...] = ()
    unmeasured: str = ""
    outside_claim: bool = False
    models: tuple[str, ...] = ()
    attempt: str = ""
    remembered: bool = False
    upstream: str = ""
    upstream_revision: str = ""
    alpha: float | None = None
    spending_number: int | None = None
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    elapsed_s: float = 0.0
    overhead_s: float = 0.0
    failure: Exception | None = None
    observation: Observation = Observation.NONE
    request_digest: str = ""
    override: str = ""
    stopped_by: StoppedBy = StoppedBy.NONE
    known_picture: KnownPicture | None = None

    def __repr__(self) -> str:
        return one_line("Verdict", self._facts())

    def _repr_html_(self) -> str:
        return html_table("Verdict", self._facts())

    def _facts(self) -> dict[str, object]:
        certificate = self.certificate
        harmful = ", ".join(f"{one.answers} {one.category}" for one in self.harmful)
        return {
            "action": self.action.value,
            "reason": self.reason.value,
            "would_block": True if self.would_block else None,
            "harmful": harmful,
            "certificate": None if certificate is None else repr(certificate),
            "failure": None if self.failure is None else type(self.failure).__name__,
            "calls": self.usage.calls,
            "seconds": f"{self.elapsed_s:.3f}",
        }

    def to_dict(self) -> dict[str, Any]:
        """What was decided, for JSON and for rows of tables: no answers, nothing of the request."""
        return {
            "action": self.action.value,
            "reason": self.reason.value,
            "would_block": self.would_block,
            "stopped_by": self.stopped_by.value,
            "harmful": [dataclasses.asdict(one) for one in self.harmful],
            "unscanned": list(self.unscanned),
            "unmeasured": self.unmeasured,
            "outside_claim": self.outside_claim,
            "remembered": self.remembered,
            "override": self.override,
            "known_picture": self.known_picture and dataclasses.asdict(self.known_picture),
            "upstream": self.upstream,
            "alpha": self.alpha,
            "usage": dataclasses.asdict(self.usage),
            "cost_usd": self.cost_usd,
            "elapsed_s": self.elapsed_s,
            "overhead_s": self.overhead_s,
            "failure": None if self.failure is None else type(self.failure).__name__,
            "certificate": None if self.certificate is None else self.certificate.to_dict(),
        }
