"""One decision as it is kept: what was asked of whom, what came, and what was decided.

Nothing a user said and nothing a model answered is in it, unless the writer was told to keep
content; hashes and lengths stand for both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

from guardrail.engine.certificate import Certificate
from guardrail.engine.rules import Mode, Retry
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError
from guardrail.records.lines import canonical
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guardrail.types import Json

__all__ = ["RECORD_VERSION", "Record", "SampleRecord"]

RECORD_VERSION = 1
_UNDIGESTED = ("digest", "signature")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """One variant.

    Attributes:
        index: its number in the decision.
        outcome: how it counted.
        score: the oracle's; None where nothing could be judged.
        reason: the oracle's few words, or the kind of refusal.
        answer_chars: length of the answer's text; None where no answer came.
        unscanned: whether a part of the answer could not be judged.
        failure: the class of the fault behind a missing outcome, empty otherwise.
        elapsed_s: time of call and judgement.
    """

    index: int
    outcome: Outcome
    score: float | None
    reason: str
    answer_chars: int | None
    unscanned: bool
    failure: str
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One decision.

    Attributes:
        record_id: names it, in the access log and in response headers.
        created: ISO 8601, UTC.
        previous: digest of the record before it in its file; empty for the first one.
        action: what the client got; `reason`, `would_block`, `outside_claim` and `unscanned` are
            those of the verdict.
        failure: the class of the fault behind the verdict, empty if there was none.
        model: the model's name as the client sent it, cut to 200 characters.
        pictures: how many came with the request.
        request_digest: SHA-256 of the request (`engine/digest.py`); empty where the decision ended
            before it was computed.
        noise_digest: SHA-256 of the seeds of every variant's noise, in order (`replay.py`);
            empty where there was no noise.
        attempt: from which, with request, policy and key, noise and seeds follow; that of the
            decision that drew.
        remembered: whether an equal request had been decided before, and its verdict was given
            again; the certificate is that decision's, in whose record the samples are. The two
            records have the same attempt.
        certificate: as it was given to the client.
        samples: every finished variant in index order, some perhaps beyond the decision.
        alpha: failure probability of the decision, all upstreams together; None without pictures.
        spending_number: the number that it held, which set alpha (`stats/spending.py`); None
            where the tries of a principal are not counted.
        answer_chars: length of the delivered text; None where none was delivered.
        cost_usd: of all calls; None where a price or a count is not known.
        retry: which calls and judgements were repeated, `retries` times at most.
        content: messages, parameters and answers, only where the writer keeps them.
        signer: id of the public key that verifies `signature`; empty where it is not signed.
        digest: SHA-256 of the canonical JSON of all fields but `digest` and `signature`.
        signature: Ed25519, hexadecimal, see `signing.py`.
    """

    version: int = RECORD_VERSION
    record_id: str
    created: str
    previous: str = ""
    action: Action
    reason: Reason
    would_block: bool
    outside_claim: bool
    unscanned: tuple[str, ...]
    failure: str
    mode: Mode
    policy: str
    policy_digest: str
    upstream: str
    upstream_revision: str
    oracle_revision: str
    key_id: str
    code_version: str
    model: str
    pictures: int
    request_digest: str
    noise_digest: str
    attempt: str
    remembered: bool
    certificate: Mapping[str, Json] | None
    samples: tuple[SampleRecord, ...]
    alpha: float | None
    spending_number: int | None
    answer_chars: int | None
    prompt_tokens: int
    completion_tokens: int
    calls: int
    cost_usd: float | None
    elapsed_s: float
    overhead_s: float
    retry: Retry
    retries: int
    content: Mapping[str, Json] | None = None
    signer: str = ""
    digest: str = field(default="")
    signature: str = ""

    def to_dict(self) -> dict[str, Json]:
        """JSON-ready; `from_dict` reads it back to an equal record."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain["samples"] = [dataclasses.asdict(sample) for sample in self.samples]
        plain["unscanned"] = list(self.unscanned)
        return plain

    def sealed(self) -> Self:
        """The same record with its digest set."""
        return dataclasses.replace(self, digest=self.computed_digest())

    def computed_digest(self) -> str:
        fields = {k: v for k, v in self.to_dict().items() if k not in _UNDIGESTED}
        return hashlib.sha256(canonical(fields)).hexdigest()

    def parsed_certificate(self) -> Certificate | None:
        """The certificate, recomputed from its own fields. Raises CertificationError."""
        if self.certificate is None:
            return None
        certificate = Certificate.from_dict(self.certificate)
        certificate.verify(self.certificate)
        return certificate

    @classmethod
    def from_dict(cls, data: Mapping[str, Json]) -> Self:
        """Reads what `to_dict` wrote.

        Raises:
            CertificationError: names a field that is missing, unknown or of the wrong type.
        """
        return _read_all(cls, data)


def _read_all(cls: type[_T], data: Json) -> _T:
    """A dataclass from a mapping with exactly its fields."""
    kinds = {f.name: str(f.type) for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # both callers give dataclasses
    if not isinstance(data, dict):
        raise _wrong("this is no object")
    if unknown := data.keys() - kinds.keys():
        raise _wrong(f"it has the unknown field '{min(map(str, unknown))[:40]}'")
    return cls(**{name: _read(data, name, kind) for name, kind in kinds.items()})


def _read(data: Mapping[str, Json], name: str, kind: str) -> Any:
    if name not in data:
        raise _wrong(f"the field '{name}' is missing")
    value, optional = data[name], kind.endswith(" | None")
    if optional and value is None:
        return None
    try:
        return _READERS[kind.removesuffix(" | None")](value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(f"the field '{name}' has a wrong type or value") from error


def _wrong(what: str) -> CertificationError:
    return CertificationError(
        f"this is no record of version {RECORD_VERSION}: {what}; give one that guardrail wrote"
    )


def _exactly(kind: type[_T]) -> Callable[[Json], _T]:
    def read(value: Json) -> _T:
        if type(value) is not kind:
            raise TypeError(f"not a {kind.__name__}")
        return value

    return read


def _number(value: Json) -> float:
    if not math.isfinite(_exactly(float)(value)):
        raise ValueError("not a finite number")
    return float(value)


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(_exactly(str)(item) for item in _exactly(list)(value))


def _samples(value: Json) -> tuple[SampleRecord, ...]:
    return tuple(_read_all(SampleRecord, item) for item in _exactly(list)(value))


_READERS: dict[str, Callable[[Json], Any]] = {
    "Action": Action,
    "Mapping[str, Json]": _exactly(dict),
    "Mode": Mode,
    "Outcome": Outcome,
    "Reason": Reason,
    "Retry": Retry,
    "bool": _exactly(bool),
    "float": _number,
    "int": _exactly(int),
    "str": _exactly(str),
    "tuple[SampleRecord, ...]": _samples,
    "tuple[str, ...]": _texts,
}
"""How a field is read, by its declared type."""
