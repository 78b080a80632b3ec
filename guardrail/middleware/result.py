"""One decision as its caller gets it: the verdict, its record, and the proxy's answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from guardrail.engine.verdict import Action
from guardrail.errors import CertificationError
from guardrail.middleware.blocked import ContentBlocked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.errors import Reply
    from guardrail.api.incoming import Incoming
    from guardrail.engine.certificate.claim import Certificate
    from guardrail.engine.verdict import Verdict
    from guardrail.types import Json

__all__ = ["OnBlock", "Result"]

OnBlock: TypeAlias = Literal["raise", "refusal"]
"""`raise`: a block is a ContentBlocked. `refusal`: it is the answer that the policy words."""


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """A decision.

    Attributes:
        verdict: what the engine says.
        record_id: names the decision's record; None where none are kept.
        incoming: the request as it was read.
        reply: status, body and headers with which the proxy answers it.
        words: the policy's words of this block.
    """

    verdict: Verdict
    record_id: str | None
    incoming: Incoming
    reply: Reply
    words: str

    def __repr__(self) -> str:
        return f"Result({self.verdict!r}, record: {self.record_id})"

    @property
    def certificate(self) -> Certificate | None:
        """None for requests without pictures."""
        return self.verdict.certificate

    @property
    def guardrail(self) -> Mapping[str, Json]:
        """The `guardrail` object of the answer, JSON-ready."""
        about: Mapping[str, Json] = self.reply.body["guardrail"]
        return about

    def body(self, on_block: OnBlock) -> dict[str, Json]:
        """The answer.

        Raises:
            ContentBlocked: it is withheld, and that is to be raised, or the policy's style of a
                block is an error.
            GuardrailError: the fault behind a decision that failed.
        """
        match self.verdict.action:
            case Action.PASS:
                return dict(self.reply.body)
            case Action.BLOCK:
                if on_block == "raise" or self.reply.is_error:
                    raise self._block_error()
                return dict(self.reply.body)
            case Action.FAULT:
                raise self.verdict.failure or CertificationError("the guard failed")
            case _:
                assert_never(self.verdict.action)

    def _block_error(self) -> ContentBlocked:
        return ContentBlocked(
            self.words, verdict=self.verdict, record_id=self.record_id, body=self.reply.body
        )
