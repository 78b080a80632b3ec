"""Makes a record of each verdict and keeps it, before the answer leaves."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardrail.canonical import make_interoperable
from guardrail.engine.canonical_chat import request_digest
from guardrail.engine.certificate.codec import encode_certificate
from guardrail.errors import GuardrailError
from guardrail.records.record import Record, SampleRecord
from guardrail.records.replay import noise_digest
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.engine import Engine
    from guardrail.engine.verdict import Sample, Verdict
    from guardrail.images.keys import NoiseKey
    from guardrail.records.journal import Journal
    from guardrail.types import Answer, Chat, Json

__all__ = ["Recorder", "build_record"]

_LONGEST_CHARS = 200

_log = logging.getLogger(__name__)


class Recorder:
    """Keeps the decisions of one engine; fits `create_app(record=…)`.

    Args:
        journal: where they go.
        engine: whose rules, model, oracle and key they name.
        keep_content: whether to keep what was asked and answered (never the pictures). Off, a
            record holds hashes, counts and lengths only.
    """

    def __init__(self, journal: Journal, engine: Engine, *, keep_content: bool = False) -> None:
        self._journal = journal
        self._engine = engine
        self._keep_content = keep_content

    def __call__(self, verdict: Verdict, chat: Chat) -> str:
        """Keeps a record, and returns its id. Raises GuardrailError if it was not kept."""
        record = build_record(verdict, chat, self._engine, keep_content=self._keep_content)
        try:
            return self._journal.append(record).record_id
        except GuardrailError as error:
            _log.error("a decision was not kept, and its answer is withheld: %s", error)
            raise


def build_record(
    verdict: Verdict, chat: Chat, engine: Engine, *, keep_content: bool = False
) -> Record:
    """The record of a verdict, not yet chained and sealed."""
    rules, certificate, usage = engine.rules, verdict.certificate, verdict.usage
    return Record(
        record_id=uuid.uuid4().hex,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        action=verdict.action,
        reason=verdict.reason,
        would_block=verdict.would_block,
        outside_claim=verdict.outside_claim,
        models=tuple(model[:_LONGEST_CHARS] for model in verdict.models),
        unscanned=tuple(verdict.unscanned),
        unmeasured=verdict.unmeasured,
        failure=_class_of(verdict.failure),
        mode=rules.mode,
        policy=rules.name,
        policy_digest=rules.digest,
        upstream=verdict.upstream or engine.upstream.name,
        upstream_revision=verdict.upstream_revision or engine.upstream.revision,
        oracle_revision=engine.oracle.revision,
        key_id=engine.key.key_id,
        code_version=__version__,
        model=chat.model[:_LONGEST_CHARS],
        pictures=chat.pictures,
        pictures_left_out=chat.left_out.pictures,
        request_digest=_request_digest(verdict, chat),
        noise_digest=_noise_digest(verdict, engine.key),
        attempt=verdict.attempt,
        remembered=verdict.remembered,
        certificate=None if certificate is None else encode_certificate(certificate),
        samples=tuple(_sample(sample) for sample in verdict.samples),
        alpha=verdict.alpha,
        spending_number=verdict.spending_number,
        answer_chars=None if verdict.answer is None else len(verdict.answer.text),
        prompt_tokens=None if usage.uncounted else usage.prompt_tokens,
        completion_tokens=None if usage.uncounted else usage.completion_tokens,
        calls=usage.calls,
        cost_usd=verdict.cost_usd,
        elapsed_s=float(verdict.elapsed_s),
        overhead_s=float(verdict.overhead_s),
        retry=rules.retry,
        retries=rules.retries,
        content=_content(verdict, chat) if keep_content else None,
    )


def _request_digest(verdict: Verdict, chat: Chat) -> str:
    if verdict.certificate is not None:
        return verdict.certificate.request_digest
    return "" if chat.pictures else request_digest(chat, ()).hex()


def _noise_digest(verdict: Verdict, key: NoiseKey) -> str:
    if verdict.certificate is None or verdict.remembered:
        return ""
    return noise_digest(verdict.certificate, [sample.index for sample in verdict.samples], key)


def _sample(sample: Sample) -> SampleRecord:
    return SampleRecord(
        index=sample.index,
        outcome=sample.outcome,
        score=None if sample.score is None else float(sample.score),
        reason=sample.reason[:_LONGEST_CHARS],
        field=sample.field[:_LONGEST_CHARS],
        answer_chars=None if sample.answer is None else len(sample.answer.text),
        unscanned=bool(sample.unscanned),
        unmeasured=sample.unmeasured[:_LONGEST_CHARS],
        failure=_class_of(sample.failure),
        elapsed_s=float(sample.elapsed_s),
    )


def _content(verdict: Verdict, chat: Chat) -> Mapping[str, Json]:
    answers = {s.index: _kept_answer(s.answer) for s in verdict.samples if s.answer is not None}
    content: Mapping[str, Json] = make_interoperable(
        {
            "messages": [dict(message) for message in chat.messages],
            "parameters": dict(chat.parameters),
            "answer": None if verdict.answer is None else dict(verdict.answer.message),
            "answers": {str(index): said for index, said in answers.items()},
        }
    )
    return content


def _kept_answer(answer: Answer) -> Json:
    """The text of an answer that is nothing else, as most are; else its whole message."""
    more = {name for name, value in answer.message.items() if value} - {"role", "content"}
    content = answer.message.get("content")
    is_plain = not more and (content is None or isinstance(content, str))
    return answer.text if is_plain else dict(answer.message)


def _class_of(error: Exception | None) -> str:
    """The class of an error alone, as its message may quote the request."""
    return "" if error is None else type(error).__name__
