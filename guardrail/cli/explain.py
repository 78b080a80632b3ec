"""`guardrail explain`: what a radius means, in words."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from guardrail.engine.certificate.claim import Certificate
    from guardrail.engine.verdict import HarmfulAnswers

__all__ = ["command"]

_CHANNELS = 3
_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command("explain")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--record", "record_id", metavar="ID",
              help="Only the decision of this record in FILE.")  # fmt: skip
@click.option("--radius", type=click.FloatRange(min=0), help="l2, pixel values in [0, 1].")
@click.option("--height", "height_px", type=click.IntRange(min=1), help="Of the picture.")
@click.option("--width", "width_px", type=click.IntRange(min=1), help="Of the picture.")
@click.option("--channels", type=click.IntRange(min=1), default=_CHANNELS, show_default=True)
@click.option("--sigma", type=_POSITIVE,
              help="Noise; adds what harmless rate the radius takes.")  # fmt: skip
@click.option("--floor", default=0.5, show_default=True, help="As in a policy; with --sigma.",
              type=click.FloatRange(0, 1, min_open=True, max_open=True))  # fmt: skip
@click.option("--miss-rate", default=0.0, show_default=True, help="As in a policy; with --sigma.",
              type=click.FloatRange(0, 1, max_open=True))  # fmt: skip
@click.option("--operator-norm", type=_POSITIVE, default=1.0, show_default=True,
              help="Norm of the resize before the noise; with --sigma.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    file: Path | None,
    record_id: str | None,
    radius: float | None,
    height_px: int | None,
    width_px: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what a radius means for a picture: of a certificate in FILE, or of given numbers.

    FILE is anything that `guardrail verify` reads; its certificates are verified first. Decisions
    without one are counted and left out.
    """
    numbers = (radius, height_px, width_px)
    if file is None and record_id is not None:
        raise click.UsageError("--record needs a FILE of records")
    if file is not None and all(number is None for number in numbers):
        rows = _of_file(file, record_id)
    elif file is None and radius is not None and height_px is not None and width_px is not None:
        rows = [_of_numbers(radius, height_px, width_px, **options)]
    else:
        raise click.UsageError("give either a FILE or all of --radius, --height and --width")
    for row in rows:
        click.echo(json.dumps(row, allow_nan=False) if as_json else row["text"])


def _of_numbers(
    radius: float,
    height_px: int,
    width_px: int,
    *,
    channels: int,
    sigma: float | None,
    floor: float,
    miss_rate: float,
    operator_norm: float,
) -> dict[str, Any]:
    from guardrail.stats import explain_radius, floor_with_misses, required_harmless_rate

    words = explain_radius(radius, width_px, height_px, channels=channels)
    row = {**asdict(words), "text": words.text}
    if sigma is None:
        return row
    tested = floor_with_misses(floor, miss_rate)
    rate = required_harmless_rate(radius, sigma=sigma, operator_norm=operator_norm, floor=tested)
    row |= {
        "sigma": sigma,
        "radius_in_sigmas": radius * operator_norm / sigma,
        "q_required": rate,
    }
    row["text"] += (
        f" At sigma {sigma:g} it takes a harmless rate above {rate:.6g} under noise to promise it."
    )
    return row


def _of_file(file: Path, record_id: str | None) -> list[dict[str, Any]]:
    from guardrail.records.certificate_file import read_certificates

    found = read_certificates(file, record_id=record_id)
    if found.skipped:
        click.echo(
            f"guardrail: {count_of(found.skipped, 'decision')} of {file} without a certificate: no "
            "picture, a fault, or a block for what is written in one",
            err=True,
        )
    return [_of_certificate(*pair) for pair in zip(found.certificates, found.harmful, strict=True)]


def _of_certificate(
    certificate: Certificate, harmful: tuple[HarmfulAnswers, ...]
) -> dict[str, Any]:
    """The certified radius, or the promised one where nothing was certified."""
    from guardrail.engine.harmful_answers import describe_harmful

    if not certificate.pictures:
        return _of_text(certificate, harmful)
    certified = certificate.radius > 0.0
    words = certificate.in_words(certificate.radius if certified else certificate.promised_radius)
    pictures = len(certificate.pictures)
    said = f"\n{describe_harmful(harmful)}" if harmful else ""
    said = f"{_recall(certificate)}{_threats(certificate)}{said}"
    return {
        **asdict(words),
        "certified": certified,
        "pictures": pictures,
        "harmless_rate_lower": certificate.harmless_rate_lower,
        "stability": [asdict(reach) for reach in certificate.stability],
        "statement": certificate.statement,
        "recall_statements": certificate.recall_statements,
        **_claims(certificate),
        "harmful_answers": [asdict(one) for one in harmful],
        "text": f"{_preface(certificate, certified, pictures)}{words.text}{said}",
    }


def _of_text(certificate: Certificate, harmful: tuple[HarmfulAnswers, ...]) -> dict[str, Any]:
    """Of a request without pictures: there is no radius, and a suffix is covered."""
    from guardrail.engine.harmful_answers import describe_harmful

    said = f"\n{describe_harmful(harmful)}" if harmful else ""
    return {
        "certified": certificate.decision.value == "pass",
        "pictures": 0,
        "harmless_rate_lower": certificate.harmless_rate_lower,
        "statement": certificate.statement,
        **_claims(certificate),
        "harmful_answers": [asdict(one) for one in harmful],
        "text": f"{certificate.statement}{_threats(certificate)}{said}",
    }


def _claims(certificate: Certificate) -> dict[str, Any]:
    return {"claims": certificate.claims} if certificate.threats else {}


def _recall(certificate: Certificate) -> str:
    """What was measured of forbidden requests; of threats it stands with them."""
    return f"\n{certificate.recall_statement}" if certificate.recall_statement else ""


def _threats(certificate: Certificate) -> str:
    """What is covered beside small changes of pixels, a paragraph each."""
    recalls = certificate.recall_statements
    told = [
        f"\nThreat: {one['threat']}. {one['claim']} {count_of(one['views'], 'view')}, "
        f"{count_of(one['calls'], 'call')}. {one['statement']}"
        f"{' ' + recall if (recall := recalls.get(one['threat'])) else ''}"
        for one in certificate.claims
        if one["threat"] != certificate.norm
    ]
    return "".join(told) if certificate.threats else ""


def _preface(certificate: Certificate, certified: bool, pictures: int) -> str:
    lines = [certificate.statement]
    if certified:
        lines.append(f"The radius at the policy's own floor, {certificate.floor:g}:")
    else:
        lines.append("The radius that a pass would have proved:")
    if pictures > 1:
        lines.append(f"The {pictures} pictures count as one, and share the radius.")
    return " ".join(lines) + "\n"
