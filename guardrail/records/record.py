"""The record of one decision: what was asked of whom, what came, and what was decided.

It holds nothing that a user wrote or a model answered, unless the writer keeps content; hashes and
lengths stand for both.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from guardrail.canonical import canonical_text, digest_json
from guardrail.dataclass_reader import DataclassReader, FieldError
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.rules import Mode, Retry
from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.verdict import Action, Observation, Reason
from guardrail.errors import CertificationError
from guardrail.images.known_pictures import KnownPicture
from guardrail.types import Json, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guardrail.engine.certificate.claim import Certificate

__all__ = [
    "RECORD_VERSION",
    "Omission",
    "PictureRecord",
    "Record",
    "SampleRecord",
    "SealedRecord",
    "require_record",
    "seal_record",
]

RECORD_VERSION = 2
_UNDIGESTED = ("content", "digest", "signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """One variant.

    Attributes:
        index: its number in the decision.
        outcome: how it counted.
        score: the oracle's; None where nothing could be judged.
        reason: the oracle's category, or the kind of refusal.
        field: the part of the answer that was judged worst; empty where no oracle was asked.
        answer_chars: length of the answer's text; None where no answer came.
        unscanned: whether a part of the answer could not be judged.
        unmeasured: why its language is none that the oracle was measured on; empty where it is.
        refused: whether it is nothing but the provider's own refusal or content filter.
        withheld: whether it counts as harmful whatever its score: for its language, for a part
            that cannot be read, or as a refusal.
        failure: the class of the fault behind a missing outcome, empty otherwise.
        elapsed_s: time of call and judgement.
    """

    index: int
    outcome: Outcome
    score: float | None
    reason: str
    field: str
    answer_chars: int | None
    unscanned: bool
    unmeasured: str
    refused: bool = False
    withheld: bool = False
    failure: str
    elapsed_s: float


class Omission(StrEnum):
    """Why a picture was not kept though pictures are; a closed list."""

    NONE = ""
    TOO_LARGE = "too large"
    TOO_LARGE_TOGETHER = "too large together"
    NO_ROOM = "no room"
    NOT_READ = "not read"


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRecord:
    """One picture of the request, where pictures are kept.

    Attributes:
        digest: SHA-256 of the sealed picture, which stands in a table of its own; empty where it
            was not kept.
        omitted: why it was not.
    """

    digest: str = ""
    omitted: Omission = Omission.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One decision.

    Attributes:
        record_id: names it, in the access log and in response headers.
        created: ISO 8601, UTC.
        writer: in a database, names the process that wrote it, whose records are one chain;
            empty in a file, which is one chain itself.
        sequence: its number in the writer's chain, from 1; 0 in a file.
        previous: digest of the record before it in its chain; empty for the first one.
        route, request_id: by which route it was asked, and under which id it is in the logs;
            empty where a guard in process decided.
        principal: the end user that a trusted caller named, by a keyed digest (`name_principal`);
            empty where none was.
        api_key_id: the id of the caller's key, never the key; empty where there are no keys.
        action: what the client got; `reason`, `would_block`, `outside_claim`, `unscanned` and
            `unmeasured` are those of the verdict.
        stopped_by: which test ended the decision without a pass; of a remembered verdict, the one
            of the decision that drew.
        observation: what is watched of a request whose answer leaves before it is decided, and
            empty for all others; such a request has a record of its answer (`reason`: not
            decided), and where it is `followed` a second one, of its decision, with the same
            request digest.
        models: the models that the answers to variants name as theirs, each cut to 200 characters.
        failure: the class of the fault behind the verdict, empty if there was none.
        policy_fields: the policy's fields, those that have their defaults left out; the policy's
            digest follows from them (`guardrail.policy.content`).
        threshold: the score from which the oracle calls an answer harmful; None where its verdicts
            follow from more than one score (`guardrail.oracles.base.cut_of`).
        model: the model's name as the client sent it, cut to 200 characters.
        pictures: how many the model was asked about.
        pictures_left_out: how many older ones of the conversation were left out, by policy.
        request_digest: of the request, keyed by the noise key (`name_request`), so that nobody
            without the key can search records for a known picture; empty where the decision ended
            before it was computed.
        noise_digest: SHA-256 of the seeds of every variant's noise, in order (`replay.py`);
            empty where there was no noise.
        override: the entry of the list of overrides that decided in the guard's place
            (`overrides.py`); empty where the guard decided.
        known_picture: the entry of the policy's lists that a picture of the request was found to
            be; None for all reasons but that one.
        attempt: from which, with request, policy and key, noise and seeds follow; that of the
            decision that drew.
        remembered: whether an equal request had been decided before, and its verdict was given
            again; the certificate is that decision's, in whose record the samples are. The two
            records have the same attempt.
        certificate: as it was given to the client, but with the keyed digest of the request.
        samples: every finished variant in index order, some perhaps beyond the decision.
        alpha: failure probability of the decision, all upstreams together; None without pictures.
        spending_number: the number that it held, which set alpha (`stats/spending.py`); None
            where the tries of a principal are not counted.
        answer_chars: length of the delivered text; None where none was delivered.
        prompt_tokens, completion_tokens: of all calls; None where a call's are not known.
        cost_usd: of all calls; None where a price or a count is not known.
        retry: which calls and judgements were repeated, `retries` times at most.
        content_digest: SHA-256 of the sealed content (of the canonical JSON of an object); empty
            where none was kept.
        content: messages, parameters and answers: a text, sealed (`content.py`) and in Base64, or
            an object that has been opened. None where they were not kept, were erased, or stand in
            a table of their own. The record's digest covers `content_digest` only, and so stays
            what it is when they are erased.
        kept_pictures: the pictures of the request in its order, where pictures are kept; empty
            where nobody asked for that.
        signer: id of the public key that verifies `signature`; empty where it is not signed.
        digest: SHA-256 of the canonical JSON of all fields but `content`, `digest` and
            `signature`.
        signature: Ed25519, hexadecimal, see `signing.py`.
    """

    version: int = RECORD_VERSION
    record_id: str
    created: str
    writer: str = ""
    sequence: int = 0
    previous: str = ""
    route: str = ""
    request_id: str = ""
    principal: str = ""
    api_key_id: str = ""
    action: Action
    reason: Reason
    would_block: bool
    outside_claim: bool
    stopped_by: StoppedBy = StoppedBy.NONE
    observation: Observation = Observation.NONE
    models: tuple[str, ...]
    unscanned: tuple[str, ...]
    unmeasured: str
    failure: str
    mode: Mode
    policy: str
    policy_digest: str
    policy_fields: Mapping[str, Json] = field(default_factory=dict)
    threshold: float | None = None
    upstream: str
    upstream_revision: str
    oracle_revision: str
    key_id: str
    code_version: str
    model: str
    pictures: int
    pictures_left_out: int
    request_digest: str
    noise_digest: str
    override: str = ""
    known_picture: KnownPicture | None = None
    attempt: str
    remembered: bool
    certificate: Mapping[str, Json] | None
    samples: tuple[SampleRecord, ...]
    alpha: float | None
    spending_number: int | None
    answer_chars: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    calls: int
    cost_usd: float | None
    elapsed_s: float
    overhead_s: float
    retry: Retry
    retries: int
    content_digest: str = ""
    content: Json = None
    kept_pictures: tuple[PictureRecord, ...] = ()
    signer: str = ""
    digest: str = field(default="")
    signature: str = ""

    def to_dict(self) -> dict[str, Json]:
        """A dictionary for JSON; `from_dict` reads it back to an equal record."""
        return _plain({name: getattr(self, name) for name in _NAMES})

    @classmethod
    def from_dict(cls, data: Mapping[str, Json]) -> Record:
        """Reads what `to_dict` wrote.

        Raises:
            CertificationError: names a field that is missing, unknown or of the wrong type, or the
                version where it is another one.
        """
        given: object = data  # of a stranger's file
        version = given.get("version") if isinstance(given, dict) else None
        if type(version) is int and version != RECORD_VERSION:
            raise CertificationError(
                f"a record of version {version}, and this guardrail reads version "
                f"{RECORD_VERSION}; read it with the one that wrote it, and begin a new place"
            )
        try:
            return _READER.read(data)
        except FieldError as error:
            raise CertificationError(
                f"not a record of version {RECORD_VERSION}: {error}; give one that guardrail wrote"
            ) from error

    def seal(self) -> Record:
        """The same record with its digest set. Raises CertificationError."""
        return seal_record(self).record

    def compute_digest(self) -> str:
        """SHA-256 over all that the digest covers. Raises CertificationError."""
        fields = {k: v for k, v in self.to_dict().items() if k not in _UNDIGESTED}
        with _explaining_values():
            return digest_json(fields)

    def read_certificate(self) -> Certificate | None:
        """The certificate, verified. Raises CertificationError where it does not hold."""
        if self.certificate is None:
            return None
        certificate = decode_certificate(self.certificate)
        verify_certificate(certificate, self.certificate)
        return certificate


_READER = DataclassReader(Record)
_NAMES = tuple(field.name for field in dataclasses.fields(Record))
_SAMPLE_NAMES = tuple(field.name for field in dataclasses.fields(SampleRecord))
_PARTS = tuple(
    tuple((name, f'"{name}":') for name in sorted(_NAMES) if after < name < before)
    for after, before in pairwise(("", *_UNDIGESTED, "~"))
)
"""The names that the digest covers, in canonical order and as they begin their fields, cut where a
field stands that it does not cover."""


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record with its digest, and its canonical JSON, which was written for that digest."""

    record: Record
    _parts: tuple[str, ...]

    def to_json(self, *, with_content: bool = True) -> str:
        """The canonical JSON of `record.to_dict()`; without content it is null."""
        content = canonical_text(self.record.content if with_content else None)
        first, second, third, last = self._parts
        return (
            f'{{{first},"content":{content},{second},"digest":"{self.record.digest}",{third},'
            f'"signature":"{self.record.signature}",{last}}}'
        )


def seal_record(
    record: Record, *, sign: Callable[[str], str] | None = None, **changed: str | int
) -> SealedRecord:
    """The record with some fields changed, its digest, and its signature where one signs.

    Every value is written as JSON once: a digest over `to_dict()` and a document of it would be
    twice.

    Raises:
        CertificationError: it holds what JSON cannot carry.
    """
    fields: dict[str, Any] = {name: getattr(record, name) for name in _NAMES}
    fields |= changed
    plain = _plain(fields)
    with _explaining_values():
        texts = {"policy_fields": _text_of_policy(record.policy_fields)}
        parts = tuple(
            ",".join(
                [start + (texts.get(name) or canonical_text(plain[name])) for name, start in part]
            )
            for part in _PARTS
        )
        digest = hashlib.sha256(f"{{{','.join(parts)}}}".encode()).hexdigest()
    fields["digest"], fields["signature"] = digest, "" if sign is None else sign(digest)
    return SealedRecord(Record(**fields), parts)


class _PolicyText:
    """The canonical text of the last policy's fields.

    They are the largest part of a record, and one object for all records of a policy.
    """

    def __init__(self) -> None:
        self._last: tuple[Mapping[str, Json], str] = ({}, "{}")

    def __call__(self, fields: Mapping[str, Json]) -> str:
        known, text = self._last  # one reading: other threads may be writing it
        if known is not fields:
            text = canonical_text(fields)
            self._last = (fields, text)
        return text


_text_of_policy = _PolicyText()


def _plain(fields: dict[str, Any]) -> dict[str, Json]:
    """The fields of a record, for JSON."""
    samples = [
        {name: getattr(sample, name) for name in _SAMPLE_NAMES} for sample in fields["samples"]
    ]
    pictures = [{"digest": one.digest, "omitted": one.omitted} for one in fields["kept_pictures"]]
    known = fields["known_picture"]
    lists = {"samples": samples, "models": list(fields["models"]), "kept_pictures": pictures}
    others = {"known_picture": known and dataclasses.asdict(known)}
    return {**fields, **lists, **others, "unscanned": list(fields["unscanned"])}


@contextmanager
def _explaining_values() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CertificationError(
            "the record holds a number or a text that JSON cannot carry; give one that "
            "guardrail wrote"
        ) from error


def require_record(holds: bool, problem: str) -> None:
    """Raises CertificationError where something that every record fulfils does not hold."""
    if not holds:
        raise CertificationError(f"the record does not hold: {problem}")
