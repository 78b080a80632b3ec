"""`guardrail verify`: does a certificate hold?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

__all__ = ["command"]


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--public-key", type=click.Path(path_type=Path, dir_okay=False),
              help="Key that must have signed every record in FILE.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: Path, public_key: Path | None, as_json: bool) -> None:
    """Recompute the certificates or the records in FILE from their own fields.

    FILE holds a certificate, a response of the proxy, or one of either on each line; or it was
    written by --records. The exit code is 0 only if everything in it holds.
    """
    from guardrail.records.audit import holds_records

    if public_key is not None or holds_records(file):
        _records(file, public_key, as_json)
    else:
        _certificates(file, as_json)


def _records(file: Path, public_key: Path | None, as_json: bool) -> None:
    from guardrail.records.audit import audit_file
    from guardrail.records.signing import load_verifier

    verifier = load_verifier(public_key) if public_key else None
    audit = audit_file(file, verifier=verifier)
    if as_json:
        facts = {**asdict(audit), "signatures_checked": verifier is not None}
        click.echo(json.dumps({"holds": True, **facts}))
        return
    signed = "signatures checked" if verifier else f"{audit.signed} signed, signatures not checked"
    begins = "" if not audit.continues else f"\n  continues after record {audit.continues}"
    click.echo(
        f"holds: {audit.records} records ({audit.passed} passed, "
        f"{audit.remembered} remembered; {signed}){begins}\n"
        f"  last digest {audit.last_digest}"
    )


def _certificates(file: Path, as_json: bool) -> None:
    from guardrail.records.verify import verify_file

    certificates = verify_file(file)
    for certificate in certificates:
        if as_json:
            click.echo(json.dumps({"holds": True, **certificate.to_dict()}))
        else:
            click.echo(
                f"holds: {certificate.decision}, {certificate.harmless} of {certificate.samples} "
                f"harmless, policy '{certificate.policy}'\n  {certificate.statement}"
            )
