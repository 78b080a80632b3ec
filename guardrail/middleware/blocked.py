"""A block as an exception, for callers that have no other way to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.errors import GuardrailError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.certificate.claim import Certificate
    from guardrail.engine.verdict import Verdict
    from guardrail.types import Json

__all__ = ["ContentBlocked"]


class ContentBlocked(GuardrailError):  # noqa: N818 (a block is not an error)
    """The guard withheld an answer; the message is the policy's own words of a block.

    Attributes:
        verdict: why.
        record_id: names the decision's record; None where none are kept.
        body: what the proxy answers instead: a refusal as a chat completion, or an error.
    """

    status = 400

    def __init__(
        self, message: str, *, verdict: Verdict, record_id: str | None, body: Mapping[str, Json]
    ) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.record_id = record_id
        self.body = body

    @property
    def certificate(self) -> Certificate | None:
        """What was counted; None for requests without pictures."""
        return self.verdict.certificate

    @property
    def guardrail(self) -> Mapping[str, Json]:
        """The `guardrail` object of the answer, JSON-ready."""
        about: Mapping[str, Json] = self.body["guardrail"]
        return about
