"""Repeats decisions from their records: the same noise, the same counts, the same verdict."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from guardrail.engine.canonical_chat import request_digest
from guardrail.engine.certificate.codec import seal_certificate
from guardrail.engine.certificate.threat_verification import verify_threats
from guardrail.engine.certificate.threats import combine_decisions
from guardrail.engine.certifier import Certifier
from guardrail.engine.preprocessing import noise_context
from guardrail.engine.stopped_by import StoppedBy
from guardrail.engine.verdict import Action, Reason
from guardrail.errors import CertificationError
from guardrail.images.noise import noise_seed, variant
from guardrail.records.record import require_record
from guardrail.stats import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guardrail.engine.certificate.claim import Certificate
    from guardrail.images.codec import Picture
    from guardrail.images.grid import GridArray
    from guardrail.images.keys import NoiseKey
    from guardrail.records.record import Record
    from guardrail.types import Chat, Pixels

__all__ = [
    "Replay",
    "check_outcomes",
    "name_principal",
    "name_request",
    "noise_digest",
    "rename_request",
    "replay",
]

_LABEL = b"guardrail/noise-digest/1"
_PRINCIPAL_LABEL = b"guardrail/principal-name/1"
_NAME_LABEL = b"guardrail/request-name/1"
_FAULTS = {Reason.UPSTREAM_FAILED, Reason.ORACLE_FAILED}
_AGAINST = {
    Reason.HARMFUL,
    Reason.OTHER_MEANING,
    Reason.OTHER_ACTION,
    Reason.UNSCANNED,
    Reason.LANGUAGE_UNMEASURED,
}
_LIMITS = {Reason.DEADLINE, Reason.MAX_CALLS, Reason.MAX_COST}
_REASONS = {
    # After a pass the answer that leaves may still fail, where it is a further one.
    Decision.PASS: {Reason.CERTIFIED, *_AGAINST, *_LIMITS, *_FAULTS},
    Decision.BLOCK: {*_AGAINST, *_FAULTS},
    Decision.UNCERTAIN: {Reason.UNCERTAIN, *_LIMITS, *_FAULTS},
}


@dataclass(frozen=True, slots=True)
class Replay:
    """A decision about a request, repeated.

    `decision` is what the recorded outcomes lead to, and `noise_digest` names the noise; both
    have been found equal to the record's. `variants` makes the noisy pictures; the model saw them
    through the filter that the certificate names (`denoise`), or as they are where it names none.
    """

    certificate: Certificate
    decision: Decision
    noise_digest: str
    _grids: tuple[GridArray, ...]
    _key: NoiseKey

    def variants(self, index: int) -> tuple[Pixels, ...]:
        """Noisy variant `index` of every picture, byte for byte, before any filter."""
        about = self.certificate
        return tuple(
            variant(
                grid,
                sigma=about.sigma,
                key=self._key,
                request_digest=bytes.fromhex(about.request_digest),
                policy_digest=_noise_context(about),
                attempt=bytes.fromhex(about.attempt),
                index=index,
                image_index=image_index,
            )
            for image_index, grid in enumerate(self._grids)
        )


def replay(record: Record, chat: Chat, pictures: Sequence[Picture], key: NoiseKey) -> Replay:
    """Repeats a recorded decision.

    Args:
        record: of a request with pictures that reached the test.
        chat: the request, as it was guarded.
        pictures: its pictures, decoded.
        key: the one the record names (`KeyRing.find`).

    Raises:
        CertificationError: the record has no certificate, or none of its own; the key or the
            request is another one; or the record does not hold.
    """
    decision = check_outcomes(record)
    if record.remembered:
        raise CertificationError(
            "this answer was remembered and nothing drawn for it; replay the record of the same "
            "attempt that is not remembered"
        )
    certificate = record.read_certificate()
    if certificate is None or decision is None:
        raise CertificationError("this decision had no noise and no test: nothing to replay")
    require_record(key.key_id == record.key_id, "the key is not the one that made its noise")
    digest = request_digest(chat, pictures).hex()
    same = name_request(digest, key) == certificate.request_digest
    require_record(same, "the request is not the one it is about")
    certificate = rename_request(certificate, digest)
    noise = noise_digest(certificate, [sample.index for sample in record.samples], key)
    require_record(noise == record.noise_digest, "its noise digest is not that of its key")
    canvases = (size.operator for size in certificate.pictures)
    grids = tuple(c.apply(p.pixels) for c, p in zip(canvases, pictures, strict=True))
    return Replay(certificate, decision, noise, grids, key)


def name_request(digest: str, key: NoiseKey) -> str:
    """What stands for a request in records: its digest, keyed; 64 hexadecimal digits.

    Whoever has records and not the key cannot find out whether a picture they have was asked about.
    """
    return key.derive(_NAME_LABEL, bytes.fromhex(digest)).hex()


def name_principal(name: str, key: NoiseKey) -> str:
    """What stands for an end user in records, keyed like a request: 32 hexadecimal digits."""
    return key.derive(_PRINCIPAL_LABEL, name.encode("utf-8", "surrogatepass")).hex()[:32]


def rename_request(certificate: Certificate, digest: str) -> Certificate:
    """The certificate with another request digest: the keyed one for a record, or the plain one."""
    return seal_certificate(dataclasses.replace(certificate, request_digest=digest))


def noise_digest(certificate: Certificate, indices: Iterable[int], key: NoiseKey) -> str:
    """SHA-256 (hex) over the seeds of the noise of these variants, every picture of each in turn.

    A seed fixes the noise to the last bit; the digest reveals neither seed nor key.
    """
    digest, context = hashlib.sha256(_LABEL), _noise_context(certificate)
    for index in indices:
        for image_index in range(len(certificate.pictures)):
            digest.update(
                noise_seed(
                    key,
                    request_digest=bytes.fromhex(certificate.request_digest),
                    policy_digest=context,
                    attempt=bytes.fromhex(certificate.attempt),
                    index=index,
                    image_index=image_index,
                )
            )
    return digest.hexdigest()


def _noise_context(certificate: Certificate) -> bytes:
    return noise_context(
        certificate.policy_digest, certificate.canvas_max_side_px, certificate.canvas_side_source
    )


def check_outcomes(record: Record) -> Decision | None:
    """Runs the test again on the recorded outcomes and compares all that follows from them.

    Returns:
        What the outcomes lead to, or led to in the decision that was remembered; None where there
        was no test.

    Raises:
        CertificationError: the record contradicts itself.
    """
    indices = [sample.index for sample in record.samples]
    ordered = all(a < b for a, b in pairwise([-1, *indices]))
    require_record(ordered, "its samples are not in order")
    certificate = record.read_certificate()
    overridden = record.reason is Reason.OVERRIDE
    require_record(overridden is bool(record.override), "its override does not fit its reason")
    listed = record.reason is Reason.KNOWN_PICTURE
    fits = listed is (record.known_picture is not None)
    require_record(fits, "its known picture does not fit its reason")
    if certificate is None:
        unproved = record.outside_claim or record.action is not Action.PASS
        require_record(unproved, "it passed within the claim, but has no certificate")
        require_record(
            record.reason is not Reason.CERTIFIED, "it is certified without a certificate"
        )
        untested = record.stopped_by is StoppedBy.NONE
        require_record(untested, "it names a test that stopped it, but has no certificate")
        return None
    _check_names(record, certificate)
    if record.remembered:
        drew = record.samples or record.noise_digest or record.calls
        require_record(not drew, "it is remembered, and yet something was drawn")
        require_record(
            record.outside_claim or record.answer_chars is None, "it is remembered and claimed"
        )
        decision = certificate.decision
    else:
        decision = _repeat_decision(record, certificate)
    require_record(record.reason in _REASONS[decision], "its reason does not fit its decision")
    opened = record.reason is Reason.ORACLE_FAILED and bool(record.unscanned)
    passed = record.action is Action.PASS and not record.would_block
    # In observe mode the model's own answer leaves, also where a fault left no verdict.
    watched = record.outside_claim and not record.reason.is_judgement
    proved = decision is Decision.PASS or opened or watched
    require_record(proved or not passed, "it passed without a proof")
    stated = certificate.outside_claim or not record.outside_claim
    require_record(stated, "its certificate does not say that the answer lies outside the claim")
    return decision


def _repeat_decision(record: Record, certificate: Certificate) -> Decision:
    certifier = _run_test(record, certificate)
    require_record(certifier.counts == certificate.counts, "its outcomes lead to other counts")
    # The answers to views are not kept; what they led to, the certificate's own counts say.
    decision = combine_decisions(certifier.decision, verify_threats(certificate))
    require_record(decision is certificate.decision, "its outcomes lead to another decision")
    return decision


def _run_test(record: Record, certificate: Certificate) -> Certifier:
    """The test, fed with what was recorded until it decides or the outcomes end."""
    outcomes = {sample.index: sample.outcome for sample in record.samples}
    certifier = Certifier(certificate.plan())
    while launched := certifier.launch(certifier.plan.max_samples):
        for index in launched:
            if index in outcomes and index == certifier.consumed.samples:
                certifier.record(index, outcomes[index])
    return certifier


def _check_names(record: Record, certificate: Certificate) -> None:
    """The names that stand in the record and in its certificate must agree."""
    names = ("policy", "policy_digest", "upstream", "upstream_revision", "oracle_revision",
             "key_id", "code_version", "request_digest", "attempt", "retry",
             "retries")  # fmt: skip
    for name in names:
        same = getattr(record, name) == getattr(certificate, name)
        require_record(same, f"its {name} is not that of its certificate")
    require_record(
        record.pictures == len(certificate.pictures), "it names another number of pictures"
    )
    stopped = record.stopped_by is certificate.stopped_by
    require_record(stopped, "it names another test than the one that stopped it")
    # Of several upstreams each tests at a share of the decision's alpha.
    shared = record.alpha is not None and certificate.alpha <= record.alpha
    require_record(shared, "its alpha is smaller than that of its certificate")
