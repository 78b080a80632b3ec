"""Makes a record of each verdict and keeps it, before the answer leaves."""

from __future__ import annotations

import base64
import dataclasses
import logging
import os
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Protocol

from guardrail.canonical import make_interoperable
from guardrail.engine.canonical_chat import request_digest
from guardrail.engine.certificate.codec import encode_certificate
from guardrail.errors import ConfigError, GuardrailError
from guardrail.oracles.base import cut_of
from guardrail.records.content import digest_content
from guardrail.records.kept_pictures import NewRecord, seal_pictures
from guardrail.records.origin import UNKNOWN_ORIGIN
from guardrail.records.record import Omission, Record, SampleRecord
from guardrail.records.replay import name_principal, name_request, noise_digest, rename_request
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.engine.engine import Engine
    from guardrail.engine.verdict import Sample, Verdict
    from guardrail.images.keys import NoiseKey
    from guardrail.records.content import ContentKeys
    from guardrail.records.origin import Origin
    from guardrail.records.sent_pictures import HeldPicture, PictureRoom, SentPictures
    from guardrail.types import Answer, Chat, Json

__all__ = ["NOT_RECORDED", "RecordSink", "Recorder", "RecordsMode", "build_record"]

NOT_RECORDED = "not recorded"
"""What stands for the name of a record where none could be kept, and the answer left all the same.
"""

_LONGEST_CHARS = 200
_LARGEST_CONTENT_BYTES = 4 * 1024 * 1024

_log = logging.getLogger(__name__)


class RecordsMode(StrEnum):
    """What becomes of an answer whose record cannot be kept.

    `required` withholds it. `best_effort` fails open: it leaves, marked as not recorded.
    """

    REQUIRED = "required"
    BEST_EFFORT = "best_effort"


class RecordSink(Protocol):
    """Where records go; `guardrail.records.writer.RecordWriter` is one."""

    async def keep(self, make: Callable[[], NewRecord]) -> Record:
        """Keeps a record that `make` makes in a thread. Raises GuardrailError where it is not."""

    def keep_soon(self, make: Callable[[], NewRecord]) -> None:
        """Keeps a record for which nobody waits."""

    async def check(self) -> None:
        """Raises GuardrailError where a record could not be kept now."""


class Recorder:
    """Keeps the decisions of one engine; fits `create_app(record=…)`.

    Args:
        writer: where they go.
        engine: whose rules, model, oracle and key they name.
        content_keys: seal what was asked and answered. None keeps none of it: a record holds
            hashes, counts and lengths only.
        picture_room: where pictures wait to be kept too, sealed by `content_keys`; None keeps none.
        mode: what becomes of an answer whose record cannot be kept.

    Attributes:
        picture_room: the same.
        unrecorded: how many decisions could not be kept.

    Raises:
        ConfigError: pictures are to be kept, and nothing seals them.
    """

    def __init__(
        self,
        writer: RecordSink,
        engine: Engine,
        *,
        content_keys: ContentKeys | None = None,
        picture_room: PictureRoom | None = None,
        mode: RecordsMode = RecordsMode.REQUIRED,
    ) -> None:
        if picture_room is not None and content_keys is None:
            raise ConfigError("pictures are kept sealed; give the keys of contents as well")
        self._writer = writer
        self._engine = engine
        self._content_keys = content_keys
        self.picture_room = picture_room
        self._mode = mode
        self.unrecorded = 0

    async def keep(
        self,
        verdict: Verdict,
        chat: Chat,
        origin: Origin = UNKNOWN_ORIGIN,
        sent: SentPictures | None = None,
    ) -> str:
        """Keeps a record, and returns its id when it is committed.

        Args:
            verdict: what was decided.
            chat: about what.
            origin: where that came from.
            sent: its pictures, which are taken out of it; None where they were not read.

        Returns:
            `NOT_RECORDED` where it could not be kept and need not be.

        Raises:
            GuardrailError: it was not kept, and must be.
        """
        try:
            record = await self._writer.keep(self._make(verdict, chat, origin, sent))
        except GuardrailError as error:
            self.unrecorded += 1
            if self._mode is RecordsMode.BEST_EFFORT:
                _log.error("a decision was not kept, and its answer leaves: %s", error)
                return NOT_RECORDED
            _log.error("a decision was not kept, and its answer is withheld: %s", error)
            raise
        return record.record_id

    def keep_soon(
        self,
        verdict: Verdict,
        chat: Chat,
        origin: Origin = UNKNOWN_ORIGIN,
        sent: SentPictures | None = None,
    ) -> None:
        """Keeps the record of a decision of which no answer leaves; nobody waits for it."""
        self._writer.keep_soon(self._make(verdict, chat, origin, sent))

    async def check(self) -> None:
        """Whether a decision that is made now could be kept, so that none is made in vain.

        Raises:
            GuardrailError: it could not, and must be.
        """
        if self._mode is RecordsMode.BEST_EFFORT:
            return
        try:
            await self._writer.check()
        except GuardrailError as error:
            _log.error("records cannot be kept, and no decision is made: %s", error)
            raise

    def _make(
        self, verdict: Verdict, chat: Chat, origin: Origin, sent: SentPictures | None
    ) -> partial[NewRecord]:
        pictures = () if sent is None else sent.take()
        return partial(self._build, verdict, chat, origin, pictures, datetime.now(UTC))

    def _build(
        self,
        verdict: Verdict,
        chat: Chat,
        origin: Origin,
        sent: Sequence[HeldPicture | Omission],
        created: datetime,
    ) -> NewRecord:
        record = build_record(
            verdict,
            chat,
            self._engine,
            content_keys=self._content_keys,
            origin=origin,
            created=created,
        )
        if self.picture_room is None:
            return NewRecord(record)
        assert self._content_keys is not None  # see above
        pictures = sent or (Omission.NOT_READ,) * chat.pictures
        told, kept = seal_pictures(pictures, self._content_keys, record.record_id)
        return NewRecord(dataclasses.replace(record, kept_pictures=told), kept)


def build_record(
    verdict: Verdict,
    chat: Chat,
    engine: Engine,
    *,
    content_keys: ContentKeys | None = None,
    origin: Origin = UNKNOWN_ORIGIN,
    created: datetime | None = None,
) -> Record:
    """The record of a verdict, not yet chained and sealed."""
    rules, certificate, usage = engine.rules, verdict.certificate, verdict.usage
    record_id = os.urandom(16).hex()
    sealed = _seal_content(verdict, chat, content_keys, record_id)
    if certificate is not None:
        certificate = rename_request(
            certificate, name_request(certificate.request_digest, engine.key)
        )
    return Record(
        record_id=record_id,
        created=(created or datetime.now(UTC)).isoformat(timespec="milliseconds"),
        route=origin.route,
        request_id=origin.request_id[:_LONGEST_CHARS],
        principal=name_principal(origin.principal, engine.key) if origin.principal else "",
        api_key_id=origin.api_key_id,
        action=verdict.action,
        reason=verdict.reason,
        would_block=verdict.would_block,
        outside_claim=verdict.outside_claim,
        stopped_by=verdict.stopped_by,
        observation=verdict.observation,
        models=tuple(model[:_LONGEST_CHARS] for model in verdict.models),
        unscanned=tuple(verdict.unscanned),
        unmeasured=verdict.unmeasured,
        failure=_class_of(verdict.failure),
        mode=rules.mode,
        policy=rules.name,
        policy_digest=rules.digest,
        policy_fields=rules.policy_fields,
        threshold=cut_of(engine.oracle),
        upstream=verdict.upstream or engine.upstream.name,
        upstream_revision=verdict.upstream_revision or engine.upstream.revision,
        oracle_revision=engine.oracle.revision,
        key_id=engine.key.key_id,
        code_version=__version__,
        model=chat.model[:_LONGEST_CHARS],
        pictures=chat.pictures,
        pictures_left_out=chat.left_out.pictures,
        request_digest=_request_name(verdict, chat, engine.key),
        noise_digest=_noise_digest(verdict, engine.key),
        override=verdict.override,
        known_picture=verdict.known_picture,
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
        content_digest="" if sealed is None else digest_content(sealed),
        content=None if sealed is None else base64.b64encode(sealed).decode(),
    )


def _request_name(verdict: Verdict, chat: Chat, key: NoiseKey) -> str:
    if verdict.certificate is not None:
        return name_request(verdict.certificate.request_digest, key)
    if verdict.request_digest:
        return name_request(verdict.request_digest, key)
    return "" if chat.pictures else name_request(request_digest(chat, ()).hex(), key)


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
        refused=sample.refused,
        withheld=sample.withheld,
        failure=_class_of(sample.failure),
        elapsed_s=float(sample.elapsed_s),
    )


def _seal_content(
    verdict: Verdict, chat: Chat, keys: ContentKeys | None, record_id: str
) -> bytes | None:
    """What was said, sealed; None where it is not kept, or is too long to be."""
    if keys is None:
        return None
    sealed = keys.seal(_content(verdict, chat), record_id)
    if len(sealed) <= _LARGEST_CONTENT_BYTES:
        return sealed
    _log.warning("the content of record %s is too long to be kept", record_id)
    return None


def _content(verdict: Verdict, chat: Chat) -> Json:
    answers = {s.index: _kept_answer(s.answer) for s in verdict.samples if s.answer is not None}
    return make_interoperable(
        {
            "messages": [dict(message) for message in chat.messages],
            "parameters": dict(chat.parameters),
            "answer": None if verdict.answer is None else dict(verdict.answer.message),
            "answers": {str(index): said for index, said in answers.items()},
        }
    )


def _kept_answer(answer: Answer) -> Json:
    """The text of an answer that is nothing else, as most are; else its whole message."""
    more = {name for name, value in answer.message.items() if value} - {"role", "content"}
    content = answer.message.get("content")
    is_plain = not more and (content is None or isinstance(content, str))
    return answer.text if is_plain else dict(answer.message)


def _class_of(error: Exception | None) -> str:
    """The class of an error alone, as its message may quote the request."""
    return "" if error is None else type(error).__name__
