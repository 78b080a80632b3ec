"""Reads certificates from files, and verifies each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.canonical import parse_strict
from guardrail.counted_noun import count_of
from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.certificate.verification import verify_certificate
from guardrail.engine.harmful_answers import tally_harmful
from guardrail.engine.verdict import HarmfulAnswers
from guardrail.errors import CertificationError
from guardrail.files import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.engine.certificate.claim import Certificate
    from guardrail.types import Json

__all__ = ["CertificateFile", "read_certificates", "verify_file"]

_LARGEST_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """The certificates in a file, each of them verified, in order.

    Attributes:
        certificates: as they were read.
        harmful: for each of them, what the file says of its harmful answers; nothing where it is
            a certificate alone. It is not part of what was verified.
        skipped: decisions without one: requests without a picture, and failed ones, get none.
    """

    certificates: tuple[Certificate, ...]
    harmful: tuple[tuple[HarmfulAnswers, ...], ...]
    skipped: int


def read_certificates(path: str | Path, *, record_id: str | None = None) -> CertificateFile:
    """The certificates in a file some of whose decisions may have none.

    Args:
        path: what `verify_file` takes, or a file of records.
        record_id: of the only decision that is looked at; None for all.

    Raises:
        CertificationError: the file holds no certificate, or one that does not hold, or something
            that is not a decision; or it has no such decision, or one without a certificate. The
            message names the file, the line and what fails.
    """
    file = Path(path)
    certificates, harmful, skipped = [], [], 0
    decisions = list(_read_values(file))
    if record_id is not None:
        decisions = [one for one in decisions if _find_record_id(one[1]) == record_id]
        if not decisions:
            raise CertificationError(
                f"{file}: it has no decision with the id '{record_id}'; the id stands in the "
                "response's header x-guardrail-record-id"
            )
    for where, value in decisions:
        if _lacks_certificate(value):
            skipped += 1
        else:
            certificate = _verify(value, where)
            certificates.append(certificate)
            harmful.append(_find_harmful(value, certificate.samples))
    if not certificates:
        where, which = str(file), f"{count_of(skipped, 'decision')}, and none with a certificate"
        if record_id is not None:
            where, which = decisions[0][0], "this decision has no certificate"
        raise CertificationError(
            f"{where}: {which}; requests without a picture, and failed ones, get none"
        )
    return CertificateFile(tuple(certificates), tuple(harmful), skipped)


def verify_file(path: str | Path) -> list[Certificate]:
    """The certificates in a file, in order, each of them verified.

    Args:
        path: a certificate as JSON, a response body that holds one as `guardrail.certificate`,
            or JSON lines of either.

    Raises:
        CertificationError: the file holds no certificate, or one that does not hold; the message
            names the file, the line and what fails.
    """
    file = Path(path)
    return [_verify(value, where) for where, value in _read_values(file)]


def _read_values(file: Path) -> Iterator[tuple[str, Json]]:
    """Every JSON value with its place: the whole file, or else each line of it."""
    text = _read_text(file)
    whole = _parse(text)
    if whole is not _BROKEN:
        yield str(file), whole
        return
    if not text.strip():
        raise CertificationError(f"{file}: it is empty, which proves nothing")
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if len(lines) < 2:
        raise CertificationError(f"{file}: not valid JSON; give a certificate or a response body")
    for number, line in lines:
        value = _parse(line)
        if value is _BROKEN:
            raise CertificationError(f"{file}:{number}: this line is not valid JSON")
        yield f"{file}:{number}", value


def _read_text(file: Path) -> str:
    data = read_file(
        file, "file of certificates", max_bytes=_LARGEST_BYTES, error=CertificationError
    )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CertificationError(f"{file}: not UTF-8 text") from error


def _verify(value: Json, where: str) -> Certificate:
    try:
        data = _find_certificate(value)
        certificate = decode_certificate(data)
        verify_certificate(certificate, data)
    except CertificationError as error:
        raise CertificationError(f"{where}: {error}") from error
    return certificate


def _find_record_id(value: Json) -> Json:
    """Of a record, or of a response."""
    about = value.get("guardrail", value) if isinstance(value, dict) else None
    return about.get("record_id") if isinstance(about, dict) else None


def _lacks_certificate(value: Json) -> bool:
    """Whether this is a decision, in a response or a record, that says itself that it has none."""
    about = value.get("guardrail", value) if isinstance(value, dict) else None
    return isinstance(about, dict) and about.get("certificate", about) is None


def _find_certificate(value: Json) -> dict[str, Json]:
    """The certificate itself, or the one in a response."""
    about = value.get("guardrail", value) if isinstance(value, dict) else None
    found = about.get("certificate", about) if isinstance(about, dict) else None
    if not isinstance(found, dict):
        raise CertificationError(
            "it holds no certificate; requests without a picture, and failed ones, get none"
        )
    return found


def _find_harmful(value: Json, used: int) -> tuple[HarmfulAnswers, ...]:
    """The harmful ones of a record's first `used` samples; of a response, as it counts them."""
    samples = value.get("samples")
    if isinstance(samples, list) and all(isinstance(row, dict) for row in samples):
        rows = [row for row in samples[:used] if row.get("outcome") == "harmful"]
        return tally_harmful(
            (str(row.get("reason", "")), str(row.get("field", ""))) for row in rows
        )
    counted = value.get("guardrail", {}).get("harmful_answers")
    try:
        return tuple(HarmfulAnswers(**one) for one in counted or ())
    except TypeError:
        return ()  # of a reply that may tell no counts, or of another program


_BROKEN = object()


def _parse(text: str) -> Json:
    try:
        return parse_strict(text)
    except ValueError:
        return _BROKEN
