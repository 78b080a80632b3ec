"""A case made of a record, so that what was decided once is asked of every later policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.cases.case import (
    AnswerCase,
    Case,
    CaseDecision,
    Expectation,
    KeptAnswer,
    KeptCase,
    KeptPicture,
)
from guardrail.cases.reading import read_answer
from guardrail.engine.preprocessing import NO_FILTER, SIDE_FROM_POLICY
from guardrail.engine.verdict import Action
from guardrail.errors import ConfigError
from guardrail.records.content import open_content
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.cases.case import Given
    from guardrail.engine.certificate.claim import Certificate
    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record, SampleRecord
    from guardrail.types import Answer, Json

__all__ = ["case_from_record", "recorded_decision"]


def case_from_record(
    record: Record, expect: CaseDecision | None = None, *, keys: ContentKeys | None = None
) -> Case:
    """The case of a recorded request.

    It holds the question and the answers where they were kept and can be read, so that another
    oracle can judge them; else the outcomes as they were judged then. Pictures are in no record.

    Args:
        record: of a decision of its own, not one that was remembered.
        expect: what must come of it; None for what was decided.
        keys: open the content; None where it was opened already, or is not wanted.

    Raises:
        ConfigError: nothing was judged, or not enough is kept to decide it again.
        CertificationError: the record's certificate or content was changed.
    """
    content = open_content(record, keys) if keys or isinstance(record.content, dict) else {}
    return Case(
        name=f"record {record.record_id}",
        given=_read_given(record, content),
        expect=Expectation(expect or recorded_decision(record)),
        tags=("record",),
    )


def recorded_decision(record: Record) -> CaseDecision:
    """What the policy did, or would have done if it were enforced.

    Raises:
        ConfigError: nothing was judged.
    """
    if not record.reason.is_judgement or record.action is Action.FAULT:
        raise _unusable(record, f"nothing was judged ({record.reason}), so there is no decision")
    stopped = record.action is Action.BLOCK or record.would_block
    return CaseDecision.STOPPED if stopped else CaseDecision.LET_THROUGH


def _read_given(record: Record, content: Mapping[str, Json]) -> Given:
    if record.remembered:
        raise _unusable(
            record,
            "its verdict was remembered, and its answers stand in the record of the same attempt",
        )
    if not record.samples:
        raise _unusable(record, "it keeps no answer of the model")
    certificate = record.read_certificate()
    if record.pictures and certificate is None:
        raise _unusable(record, "its pictures led to no test")
    if certificate is not None:
        _check_certificate(record, certificate)
    prompt = _read_prompt(content)
    answers = _read_answers(record, content)
    if certificate is None and answers[0].answer is not None:
        return AnswerCase(answers[0].answer, prompt)
    return KeptCase(
        record_id=record.record_id,
        oracle=record.oracle_revision,
        sigma=None if certificate is None else certificate.sigma,
        pictures=tuple(
            KeptPicture(size.client, size.canvas)
            for size in (() if certificate is None else certificate.pictures)
        ),
        answers=answers,
        prompt=prompt,
        model_side_px=None if certificate is None else _model_side(certificate),
        denoise=NO_FILTER if certificate is None else certificate.denoise,
    )


def _model_side(certificate: Certificate) -> int | None:
    by_policy = certificate.canvas_side_source == SIDE_FROM_POLICY
    return None if by_policy else certificate.canvas_max_side_px


def _check_certificate(record: Record, certificate: Certificate) -> None:
    if certificate.probe_max_tokens is not None:
        raise _unusable(record, "only beginnings of answers were judged (probe_max_tokens)")
    if certificate.threats:
        raise _unusable(record, "views of the request were judged, and their answers are not kept")
    if certificate.reference_kind:
        raise _unusable(record, "its answers were compared with a reference that is not kept")


def _read_answers(record: Record, content: Mapping[str, Json]) -> tuple[KeptAnswer, ...]:
    """The answers from the first on, up to the first that is not there."""
    said = content.get("answers")
    kept = said if isinstance(said, dict) else {}
    in_a_row = [one for place, one in enumerate(record.samples) if one.index == place]
    if not in_a_row:
        raise _unusable(record, "its first answer is missing")
    return tuple(_read_answer(one, kept.get(str(one.index))) for one in in_a_row)


def _read_answer(one: SampleRecord, said: Json) -> KeptAnswer:
    answer: Answer | None = None
    if isinstance(said, str | dict):
        answer = read_answer(said, may_be_empty=True)
    return KeptAnswer(one.outcome, one.score, one.reason, one.field, answer)


def _read_prompt(content: Mapping[str, Json]) -> str:
    messages = content.get("messages")
    found = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    return Chat("", tuple(found)).prompt


def _unusable(record: Record, why: str) -> ConfigError:
    return ConfigError(f"no case can be made of record {record.record_id}: {why}")
