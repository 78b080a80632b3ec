"""`guardrail verify`: does a certificate hold?"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guardrail.counted_noun import count_of
from guardrail.errors import CertificationError

if TYPE_CHECKING:
    from guardrail.records.audit import Anchors, Audit

__all__ = ["command"]

_UNSIGNED = (
    "nothing here shows who made it: it is consistent, not authentic; whoever has this program can "
    "make a certificate that holds without asking any model, and only a record that is signed, "
    "checked with --public-key, shows who did"
)
_UNCHECKED = (
    "nothing here shows who made them: they are consistent, not authentic; whoever can write the "
    "file can write all of it anew, and only signatures, checked with --public-key, show who did"
)
_END = (
    "nothing here shows whether records at the end were removed, or all of them replaced by others "
    "of the same writer: keep the last digest elsewhere and give it as --expect-last"
)
_BEGINNING = (
    "records before the first one are not in this file: --first refuses that where there should "
    "be none"
)


def _digest(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """An empty text, as from a variable that is not set, must not count as no anchor."""
    del context, option
    if value is not None and not re.fullmatch("[0-9a-f]{64}", value):
        raise click.BadParameter("a digest is 64 of the digits 0-9 and a-f, as verify prints it")
    return value


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--public-key", type=click.Path(path_type=Path, dir_okay=False),
              help="Key that must have signed every record in FILE.")  # fmt: skip
@click.option("--expect-last", metavar="DIGEST", callback=_digest,
              help="Digest of the last record, as an earlier verify printed it.")  # fmt: skip
@click.option("--first", "is_first", is_flag=True,
              help="FILE must begin the chain: no record comes before its first.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=0), help="How many records FILE must hold.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    file: Path,
    public_key: Path | None,
    expect_last: str | None,
    is_first: bool,
    count: int | None,
    as_json: bool,
) -> None:
    """Recompute the certificates or the records in FILE from their own fields.

    FILE holds a certificate, a response of the proxy, or one of either on each line; or it was
    written by --records. The exit code is 0 only if everything in it holds.

    Records are chained, so that one that was changed, removed or moved is found out, but the ends
    of a chain are not: --expect-last, --first and --count say what they must be.
    """
    from guardrail.records.audit import Anchors, holds_records

    anchors = Anchors(expect_last, count, is_first)
    if public_key is not None or anchors != Anchors() or holds_records(file):
        _records(file, public_key, anchors, as_json)
    else:
        _certificates(file, as_json)


def _records(file: Path, public_key: Path | None, anchors: Anchors, as_json: bool) -> None:
    from guardrail.records.audit import audit_file
    from guardrail.records.signing import load_verifier

    verifier = load_verifier(public_key) if public_key else None
    audit = audit_file(file, verifier=verifier, anchors=anchors)
    if not audit.records and anchors.count is None:
        raise CertificationError(f"{file}: it holds 0 records, which proves nothing")
    authentic = verifier is not None and audit.records > 0
    not_shown = _not_shown(audit, anchors, authentic=authentic)
    if as_json:
        facts = {
            **asdict(audit),
            "signatures_checked": verifier is not None,
            "authentic": authentic,
            "end_expected": anchors.last_digest is not None,
            "not_shown": not_shown,
        }
        click.echo(json.dumps({"holds": True, **facts}))
        return
    signed = "signatures checked" if verifier else f"{audit.signed} signed, signatures not checked"
    begins = f"continues after record {audit.continues}" if audit.continues else "begins the chain"
    counts = f"{audit.passed} passed, {audit.remembered} remembered"
    lines = [
        f"holds: {count_of(audit.records, 'record')} ({counts}; {signed})",
        begins if audit.records else "no records, which proves nothing",
        f"last digest {audit.last_digest or 'none'}",
        *not_shown,
    ]
    click.echo("\n  ".join(lines))


def _not_shown(audit: Audit, anchors: Anchors, *, authentic: bool) -> list[str]:
    """What a reader could believe to be shown, but is not."""
    return [
        *([] if authentic else [_UNCHECKED]),
        *([_BEGINNING] if audit.continues else []),
        *([_END] if anchors.last_digest is None else []),
    ]


def _certificates(file: Path, as_json: bool) -> None:
    from guardrail.engine.certificate.codec import encode_certificate
    from guardrail.records.certificate_file import verify_file

    certificates = verify_file(file)
    for certificate in certificates:
        if as_json:
            facts = {"holds": True, "authentic": False, **encode_certificate(certificate)}
            click.echo(json.dumps(facts))
        else:
            click.echo(
                f"holds: {certificate.decision}, {certificate.harmless} of {certificate.samples} "
                f"harmless, policy '{certificate.policy}'\n  {certificate.statement}"
            )
            for one in certificate.claims if certificate.threats else ():
                if one["threat"] != certificate.norm:
                    click.echo(f"  {one['threat']}: {one['statement']}")
            for sentence in certificate.recall_statements.values():
                click.echo(f"  {sentence}")
    if not as_json:
        click.echo(f"  {_UNSIGNED}")
