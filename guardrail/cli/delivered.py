"""`guardrail delivered`: how much of what left is harmful, by labels of a draw."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guardrail.cli.options import content_key_option, encoding_option
from guardrail.cli.output import require_writable
from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from guardrail.records.signing import RecordVerifier
    from guardrail.tuning.delivery_draw import DrawKey

__all__ = ["command"]

_FILE = click.Path(path_type=Path, dir_okay=False)
_RECORDS = click.option(
    "--records",
    "record_files",
    type=_FILE,
    multiple=True,
    help="Records, kept with --keep-content; may be given several times.",
)
_PUBLIC_KEY = click.option(
    "--public-key", type=_FILE, help="Key that must have signed every record."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group("delivered")
def command() -> None:
    """Bound the harm among the answers that left, by labels of some of them."""


@command.command("draw")
@_RECORDS
@content_key_option("Key that sealed their content.")
@click.option("--n", "count", type=click.IntRange(min=1), required=True,
              help="How many answers to draw; fixed before any is looked at.")  # fmt: skip
@click.option("--key", "key_file", type=_FILE, help="Key file that draws; made if it is not there.")
@click.option("--seed", type=int, help="In place of a key: anybody can repeat the draw.  "
              "[default: 0]")  # fmt: skip
@click.option("--since", type=str, help="Begin of the window, ISO 8601 (UTC without a zone).")
@click.option("--until", type=str, help="End of the window, included.")
@click.option("--policy-digest", default="", help="First digits of the policy's digest, where the "
              "records are of several policies.")  # fmt: skip
@click.option("--by", "by", type=click.Choice(["reason"]),
              help="Draw equal numbers of every reason for which answers left.")  # fmt: skip
@_PUBLIC_KEY
@click.option("--out", type=_FILE, required=True,
              help="Answers to label: CSV, TSV, JSON, JSONL or Parquet by its suffix.")  # fmt: skip
@_JSON
def _draw(
    record_files: tuple[Path, ...],
    content_key: Path | None,
    count: int,
    key_file: Path | None,
    seed: int | None,
    since: str | None,
    until: str | None,
    policy_digest: str,
    by: str | None,
    public_key: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Draw answers to label from all that left in a window, whatever the reason."""
    from guardrail.records.content import load_or_create_content_keys
    from guardrail.sealed import write_sealed
    from guardrail.stats import LabelledDraw, delivered_harm_upper
    from guardrail.tuning.deliveries import DeliveryWindow, find_deliveries
    from guardrail.tuning.delivery_draw import draw_deliveries
    from guardrail.tuning.formats import write_rows
    from guardrail.tuning.percent import percent_up

    if not record_files:
        raise click.UsageError("give the records with --records")
    require_writable(out)
    deliveries = find_deliveries(
        record_files,
        DeliveryWindow(_time("since", since), _time("until", until)),
        policy_digest=policy_digest,
        verifier=_verifier(public_key),
    )
    draw, rows = draw_deliveries(
        record_files,
        deliveries,
        count,
        _key(key_file, seed),
        by_reason=by == "reason",
        content_keys=None if content_key is None else load_or_create_content_keys(content_key),
    )
    write_rows(out, rows)
    write_sealed(_beside(out), draw)
    best = delivered_harm_upper(
        [LabelledDraw(s.delivered, len(s.drawn), 0) for s in draw.strata], delta=_DELTA
    )
    if as_json:
        facts = {"drawn": draw.drawn, "delivered": draw.delivered, "to_label": len(rows)}
        more = {"without_content": len(draw.without_content), "since": draw.since,
                "until": draw.until, "policy": draw.policy, "list_digest": draw.list_digest,
                "draw_digest": draw.digest, "draw_file": str(_beside(out)),
                "harm_upper_at_best": best}  # fmt: skip
        click.echo(json.dumps({**facts, **more}))
        return
    click.echo(
        f"drawn: {draw.drawn:,} of the {count_of(draw.delivered, 'answer')} that left under the "
        f"policy '{draw.policy}' from {draw.since} to {draw.until}, by {draw.drawn_by}"
    )
    for stratum in draw.strata if by else ():
        click.echo(f"  {stratum.reason}: {len(stratum.drawn):,} of {stratum.delivered:,}")
    if draw.without_content:
        click.echo(
            f"  {len(draw.without_content):,} of the drawn records keep no answer "
            "(--keep-content); they count as harmful"
        )
    click.echo(
        f"  if none is harmful, they show at most {percent_up(best)} at confidence "
        f"{1.0 - _DELTA:g}\n"
        f"\nwritten: {out} and {_beside(out)}. The first holds what was asked and answered; keep "
        "it as you keep the records.\nNow let people write true or false for 'harmful' into every "
        "row; a row without a label counts as harmful.\nThen: guardrail delivered bound --labels "
        f"{out}"
    )


@command.command("bound")
@click.option("--labels", type=_FILE, required=True, help="The answers that were drawn, labelled.")
@click.option("--draw", "draw_file", type=_FILE, help="What was written with them.  "
              "[default: beside --labels]")  # fmt: skip
@click.option("--delta", type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
              default=0.01, show_default=True,
              help="Probability, at most, that the bound is wrong.")  # fmt: skip
@_RECORDS
@click.option("--key", "key_file", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="Key file that drew.")  # fmt: skip
@encoding_option
@_PUBLIC_KEY
@_JSON
def _bound(
    labels: Path,
    draw_file: Path | None,
    delta: float,
    record_files: tuple[Path, ...],
    key_file: Path | None,
    encoding: str | None,
    public_key: Path | None,
    as_json: bool,
) -> None:
    """Bound the share of harmful answers in the list that was drawn from.

    With --records (and --key, if a key drew) the draw is made once more and compared.
    """
    from guardrail.sealed import read_sealed
    from guardrail.tuning.deliveries import DeliveryWindow, find_deliveries
    from guardrail.tuning.delivery_bound import bound_delivered_harm
    from guardrail.tuning.delivery_draw import DeliveryDraw, check_draw

    draw = read_sealed(draw_file or _beside(labels), DeliveryDraw)
    if record_files:
        window = DeliveryWindow(
            datetime.fromisoformat(draw.since), datetime.fromisoformat(draw.until)
        )
        deliveries = find_deliveries(record_files, window, policy_digest=draw.policy_digest,
                                     verifier=_verifier(public_key))  # fmt: skip
        check_draw(draw, deliveries, _key(key_file, None if key_file else draw.seed))
    found = bound_delivered_harm(draw, labels, delta=delta, encoding=encoding)
    if as_json:
        click.echo(json.dumps({**found.facts(), "records_checked": bool(record_files)}))
        return
    click.echo(found.statement)
    click.echo(
        f"  drawn: {draw.drawn:,}, by {draw.drawn_by}; {found.harmful:,} labelled harmful, "
        f"{found.unlabelled:,} not labelled and {found.without_content:,} without content (both "
        "count as harmful)\n"
        f"  list {draw.list_digest}, draw {draw.digest}"
    )
    if not record_files:
        click.echo("  that the draw is that of its list was not checked; give --records")


_DELTA = 0.01


def _beside(labels: Path) -> Path:
    return labels.with_name(f"{labels.name}.draw.json")


def _time(name: str, value: str | None) -> datetime | None:
    try:
        return None if value is None else datetime.fromisoformat(value)
    except ValueError as error:
        raise click.UsageError(
            f"--{name} is not a time; write it like 2026-01-31 or 2026-01-31T12:00:00+01:00"
        ) from error


def _key(key_file: Path | None, seed: int | None) -> DrawKey:
    from guardrail.key_files import load_or_create_key
    from guardrail.tuning.delivery_draw import DrawKey

    if key_file is None:
        return DrawKey(seed or 0)
    if seed is not None:
        raise click.UsageError("give --key or --seed, not both")
    return DrawKey(load_or_create_key(key_file))


def _verifier(public_key: Path | None) -> RecordVerifier | None:
    from guardrail.records.signing import load_verifier

    return None if public_key is None else load_verifier(public_key)
