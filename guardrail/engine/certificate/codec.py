"""Certificates as JSON, and the digests over it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from guardrail.canonical import digest_json
from guardrail.dataclass_reader import DataclassReader, FieldError
from guardrail.engine.certificate.claim import CERTIFICATE_VERSION, Certificate
from guardrail.engine.certificate.threats import promise_of
from guardrail.engine.certifier import Count
from guardrail.errors import CertificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = [
    "decode_certificate",
    "digest_certificate",
    "digest_promise",
    "encode_certificate",
    "seal_certificate",
]

_DERIVED = frozenset(
    {"samples", "harmless", "statement", "recall_statement", "radius_in_words", "claims"}
)
"""Written for readers; computed from the other fields and not read back."""

_PROMISE = (
    "claim",
    "sigma",
    "floor",
    "alpha",
    "miss_rate_upper",
    "delta",
    "promised_radius",
    "norm",
    "pictures",
    "canvas_max_side_px",
    "canvas_side_source",
    "denoise",
    "operator_norm",
    "grid_slack",
    "sampler_error",
    "q_required",
    "plan_digest",
    "probe_max_tokens",
    "retry",
    "retries",
    "recall",
)
"""What the promise is for requests of these sizes; nothing of the outcome."""


def encode_certificate(certificate: Certificate) -> dict[str, Any]:
    """A dictionary for JSON; `decode_certificate` reads it back to an equal certificate."""
    return certificate.to_dict()


def decode_certificate(data: Mapping[str, Json]) -> Certificate:
    """Reads what `encode_certificate` wrote.

    Raises:
        CertificationError: names a field that is missing, unknown or of the wrong type.
    """
    try:
        # Left out where nothing but small changes of pixels is covered.
        return _READER.read({"threats": [], **data})
    except FieldError as error:
        raise CertificationError(
            f"not a certificate of version {CERTIFICATE_VERSION}: {error}; give one that "
            "guardrail wrote"
        ) from error


def seal_certificate(certificate: Certificate) -> Certificate:
    """The same certificate with its digest set."""
    return dataclasses.replace(certificate, digest=digest_certificate(certificate))


def digest_certificate(certificate: Certificate) -> str:
    """SHA-256 (hex) over all fields but `digest`."""
    fields = encode_certificate(certificate)
    return _digest({name: value for name, value in fields.items() if name != "digest"})


def digest_promise(certificate: Certificate) -> str:
    """SHA-256 (hex) over the fields of the promise. Raises CertificationError."""
    fields = dataclasses.asdict(certificate)
    promise = {name: fields[name] for name in _PROMISE}
    if certificate.threats:
        promise["threats"] = [promise_of(tested) for tested in certificate.threats]
    return _digest(promise)


def _digest(fields: Mapping[str, Any]) -> str:
    try:
        return digest_json(fields)
    except ValueError as error:
        raise CertificationError(
            "the certificate holds a number that no certificate has; give one that guardrail wrote"
        ) from error


def _read_count(value: Json) -> Count:
    """A count is written as an array of two numbers, `[samples, harmful]`."""
    if type(value) is not list or any(type(number) is not int for number in value):
        raise TypeError("not two whole numbers")
    samples, harmful = value
    return Count(samples, harmful)


_READER = DataclassReader(Certificate, special={Count: _read_count}, ignore=_DERIVED)
