"""`guardrail records`: what was decided, and why."""

from __future__ import annotations

import csv
import dataclasses
import json
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from guardrail.cli.options import content_key_option, place_option, read_time
from guardrail.cli.records_cases import case_options, write_record_cases, write_reviewers_cases
from guardrail.cli.records_labels import LabelUse, write_labels
from guardrail.cli.records_summary import BY_WORDS, print_summary
from guardrail.counted_noun import count_of
from guardrail.engine.stopped_by import StoppedBy
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guardrail.records.content import ContentKeys
    from guardrail.records.query import RecordFilter
    from guardrail.records.record import Record
    from guardrail.records.rows import RecordSummary
    from guardrail.records.signing import RecordSigner

__all__ = ["command"]

_F = TypeVar("_F", bound="Callable[..., Any]")
_FILE = click.Path(path_type=Path, dir_okay=False)
_KEY = click.Path(path_type=Path, dir_okay=False, exists=True)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
_PLACE = place_option
_CONTENT_KEY = content_key_option("Key that sealed what was asked and answered; shows it too.")
_SIGN_KEY = click.option("--sign-key", type=_KEY, help="Key that signs the anchor of the removal.")
_KNOWN_COLUMNS = ("known_picture_file", "known_picture_line", "known_picture_distance")
_FIELDS = ("action", "reason", "category", "field", "policy", "model", "upstream", "principal",
           "route")  # fmt: skip


def _filters(function: _F) -> _F:
    """--since … --request-id: which records are meant."""
    options = [
        click.option("--since", help="Made at this time or later: ISO 8601, UTC without a zone."),
        click.option("--until", help="Made before this time."),
        *(click.option(f"--{name}", help=f"Of this {name}.") for name in _FIELDS),
        click.option("--stopped-by", type=click.Choice([one.value for one in StoppedBy]),
                     help="Ended without a pass by this test: the request's own, or that of a "
                     "view for a threat; none: by no test."),
        click.option("--api-key", "api_key_id", metavar="ID", help="Asked with this key."),
        click.option("--request-id", help="Of the request with this id."),
        click.option("--would-block", is_flag=True, default=None,
                     help="Only what observe mode let pass and would have blocked."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.group("records")
def command() -> None:
    """List, explain, export, verify and remove records of decisions."""


@command.command("list")
@_PLACE
@_filters
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@_JSON
def _list(place: str, limit: int, as_json: bool, **which: Any) -> None:
    """List the newest records, the newest first."""
    from guardrail.cli.tables import print_table
    from guardrail.records.query import open_source

    with open_source(place) as source:
        found = source.newest(_read_filter(which), limit)
    if as_json:
        for one in found:
            click.echo(json.dumps(_facts(one)))
        return
    columns = ("time (UTC)", "record", "action", "reason", "stopped by", "category", "field",
               "model", "calls", "s")  # fmt: skip
    print_table(count_of(len(found), "record"), columns, [_cells(one) for one in found])


def _cells(one: RecordSummary) -> tuple[str, ...]:
    action = f"{one.action} (would block)" if one.would_block else one.action
    return (f"{one.created.astimezone(UTC):%Y-%m-%d %H:%M:%S}", one.record_id, action, one.reason,
            one.stopped_by, one.category, one.field, one.model, str(one.calls),
            f"{one.elapsed_s:.2f}")  # fmt: skip


@command.command("summary")
@_PLACE
@click.option("--since", help="Made at this time or later: ISO 8601, UTC without a zone.")
@click.option("--until", help="Made before this time.")
@click.option("--by", multiple=True, type=click.Choice(BY_WORDS),
              help="Only this table; may be given several times.  [default: all]")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=24, show_default=True,
              help="Most rows of a table.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def _summary(
    place: str,
    since: str | None,
    until: str | None,
    by: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """Add records up: what was stopped and why, calls, dollars and tokens.

    By policy, key, hour, reason, and of what was stopped by the test that stopped it, and by the
    category and field of its worst answer. Faults and limits are counted apart: there nothing was
    judged.
    """
    times = read_time("since", since), read_time("until", until)
    print_summary(place, *times, by=by, limit=limit, as_json=as_json)


@command.command("show")
@_PLACE
@click.argument("record_id")
@_CONTENT_KEY
def _show(place: str, record_id: str, content_key: Path | None) -> None:
    """Print one record as JSON."""
    record = _find(place, record_id)
    click.echo(json.dumps(_open(record, _keys(content_key)).to_dict(), indent=2))


@command.command("explain")
@_PLACE
@click.argument("record_id")
@_JSON
def _explain(place: str, record_id: str, as_json: bool) -> None:
    """Say in words what was decided, and why."""
    from guardrail.records.explanation import explain_record

    words = explain_record(_find(place, record_id))
    click.echo(json.dumps({"record_id": record_id, "text": words}) if as_json else words)


@command.command("export")
@_PLACE
@click.argument("record_ids", nargs=-1)
@_filters
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl",
              show_default=True,
              help="Whole records, or a table of what is in a list.")  # fmt: skip
@click.option("--out", type=_FILE, help="File to write.  [default: standard output]")
@case_options
@_CONTENT_KEY
def _export(
    place: str,
    record_ids: tuple[str, ...],
    form: str,
    out: Path | None,
    as_case: bool,
    expect: str | None,
    content_key: Path | None,
    **which: Any,
) -> None:
    """Write records to a file; all of a database's chains can be verified there again."""
    from guardrail.records.query import open_source

    if as_case is not bool(record_ids) or (expect is not None and not as_case):
        raise click.UsageError("name records, by their ids, with --as-case and only with it")
    keys = _keys(content_key)
    with open_source(place) as source:
        if as_case:
            _write_out(out, write_record_cases(source, record_ids, expect, keys))
            return
    with open_source(place) as source, _open_out(out) as stream:
        records = source.scan(_read_filter(which))
        if form == "csv":
            _write_csv(records, stream)
        else:
            for record in records:
                stream.write(json.dumps(_open(record, keys).to_dict(), sort_keys=True) + "\n")


def _write_csv(records: Iterable[Record], stream: Any) -> None:
    from guardrail.records.csv_cells import defuse
    from guardrail.records.rows import RecordSummary, summarize

    names = [field.name for field in dataclasses.fields(RecordSummary)]
    table = csv.DictWriter(stream, [*names, *_KNOWN_COLUMNS], lineterminator="\n")
    table.writeheader()
    for record in records:
        known = record.known_picture
        facts = _facts(summarize(record)) | dict.fromkeys(_KNOWN_COLUMNS)
        if known is not None:
            facts |= zip(_KNOWN_COLUMNS, dataclasses.astuple(known), strict=True)
        table.writerow({name: defuse(value) for name, value in facts.items()})


def _write_out(out: Path | None, text: str) -> None:
    """Writes a whole file at once: one that could not be made leaves what was there."""
    with _open_out(out) as stream:
        stream.write(text)


def _open_out(out: Path | None) -> Any:
    if out is None:
        return click.open_file("-", "w")
    from guardrail.cli.output import require_writable

    require_writable(out)
    return out.open("w", encoding="utf-8", newline="")


@command.command("labels")
@_PLACE
@click.option("--out", type=_FILE, required=True,
              help="File to write: CSV, TSV, JSON, JSONL or Parquet by its suffix.")  # fmt: skip
@click.option("--round", "round_id", metavar="ID",
              help="Of one round of random draws, or `newest`, in the form that its command "
              "reads.  [default: all labels, for `guardrail policy replay`]")  # fmt: skip
@click.option("--for", "use", type=click.Choice(LabelUse),
              help="The newest round for this command; with --round, what it must be "
              "for.")  # fmt: skip
@content_key_option("Key that sealed what was asked and answered, which calibrate and recall need.")
def _labels(
    place: str, out: Path, round_id: str | None, use: LabelUse | None, content_key: Path | None
) -> None:
    """Write what reviewers said in the console, in the form that another command reads.

    The files for calibrate and recall hold what was asked and answered; the others do not.
    """
    write_labels(place, out, round_id, use, content_key)


@command.command("cases")
@_PLACE
@click.option("--out", type=_FILE, required=True, help="File to write, in YAML.")
@content_key_option("Key that sealed what was asked and answered.")
def _cases(place: str, out: Path, content_key: Path | None) -> None:
    """Write the cases that reviewers kept in the console, for `guardrail policy test --cases`."""
    write_reviewers_cases(place, out, _keys(content_key))


@command.command("verify")
@_PLACE
@click.option("--public-key", type=_KEY, help="Key that must have signed every record and anchor.")
@click.option("--expect-anchor", metavar="DIGEST",
              help="Digest of an anchor that must be there, as verify printed it.")  # fmt: skip
@_JSON
def _verify(place: str, public_key: Path | None, expect_anchor: str | None, as_json: bool) -> None:
    """Recompute every certificate, digest, chain, anchor and signature of a database.

    The exit code is 0 only if all of it holds. `guardrail verify` does the same for files.
    """
    from guardrail.records.database_audit import audit_database
    from guardrail.records.query import open_existing
    from guardrail.records.signing import load_verifier

    verifier = load_verifier(public_key) if public_key else None
    with open_existing(place) as database:
        audit = audit_database(database, verifier=verifier, expect_anchor=expect_anchor)
    if as_json:
        facts = {**dataclasses.asdict(audit), "signatures_checked": verifier is not None}
        click.echo(json.dumps({"holds": True, **facts}))
        return
    signed = "signatures checked" if verifier else f"{audit.signed} signed, signatures not checked"
    click.echo(
        f"holds: {count_of(audit.records, 'record')} ({audit.passed:,} passed; {signed}) of "
        f"{count_of(audit.chains, 'process', 'processes')}, {audit.pruned:,} removed by retention\n"
        f"  {count_of(audit.override_steps, 'step')} of overrides\n"
        f"  {count_of(audit.anchors, 'anchor')}; "
        f"{count_of(audit.unanchored, 'record was', 'records were')} added since the last\n"
        f"  last anchor {audit.last_anchor or 'none'}; keep it elsewhere, and give it as "
        "--expect-anchor: records that are removed with their anchors show only by that"
    )


@command.command("prune")
@_PLACE
@click.option("--records-days", type=click.FloatRange(min=0, min_open=True), metavar="DAYS",
              help="Remove records that are older.")  # fmt: skip
@click.option("--content-days", type=click.FloatRange(min=0, min_open=True), metavar="DAYS",
              help="Remove older contents, and keep their records.")  # fmt: skip
@_SIGN_KEY
def _prune(
    place: str, records_days: float | None, content_days: float | None, sign_key: Path | None
) -> None:
    """Remove what is older than it shall be kept; what is left still verifies."""
    from guardrail.records.options import Retention
    from guardrail.records.query import open_existing
    from guardrail.records.retention import prune

    if records_days is None and content_days is None:
        raise click.UsageError("say how long to keep: --records-days, --content-days, or both")
    with open_existing(place) as database:
        pruned = prune(database, Retention(records_days, content_days), signer=_signer(sign_key))
    click.echo(
        f"removed: {count_of(pruned.records, 'record')}, {count_of(pruned.contents, 'content')}, "
        f"{count_of(pruned.pictures, 'picture')}"
    )


@command.command("erase")
@_PLACE
@click.argument("record_ids", nargs=-1)
@click.option("--request-digest", metavar="DIGEST",
              help="Of a client's certificate: all records of that request.")  # fmt: skip
@click.option("--key-file", type=_KEY, help="Noise key; needed with --request-digest.")
def _erase(
    place: str, record_ids: tuple[str, ...], request_digest: str | None, key_file: Path | None
) -> None:
    """Remove what was asked and answered from records, and their pictures.

    The records stay, and still verify.
    """
    from guardrail.records.query import DatabaseSource, RecordFilter, open_existing
    from guardrail.records.retention import erase_contents

    if bool(record_ids) == (request_digest is not None):
        raise click.UsageError("give ids of records, or --request-digest")
    with open_existing(place) as database:
        ids = list(record_ids)
        for name in _request_names(request_digest, key_file):
            found = DatabaseSource(database).scan(RecordFilter(request_digest=name))
            ids += [record.record_id for record in found]
        erased = erase_contents(database, ids)
    click.echo(
        f"erased: the content of {count_of(erased.contents, 'record')}, "
        f"{count_of(erased.pictures, 'picture')}"
    )


def _request_names(digest: str | None, key_file: Path | None) -> list[str]:
    """Under which names a request may be kept: by the present noise key, or a retired one."""
    from guardrail.key_files import load_or_create_keyring
    from guardrail.records.replay import name_request

    if digest is None:
        return []
    if key_file is None:
        raise click.UsageError("records name requests by a keyed digest; give --key-file")
    try:
        return [name_request(digest, key) for key in load_or_create_keyring(key_file).keys]
    except ValueError as error:
        raise click.UsageError("a digest is 64 of the digits 0-9 and a-f") from error


def _find(place: str, record_id: str) -> Record:
    from guardrail.records.query import open_source

    with open_source(place) as source:
        record = source.find(record_id)
    if record is None:
        raise ConfigError(
            f"there is no record '{record_id}'; the id stands in the response's header "
            "x-guardrail-record-id"
        )
    return record


def _open(record: Record, keys: ContentKeys | None) -> Record:
    from guardrail.records.content import open_content

    if keys is None or record.content is None:
        return record
    return dataclasses.replace(record, content=open_content(record, keys))


def _keys(file: Path | None) -> ContentKeys | None:
    from guardrail.records.content import load_or_create_content_keys

    return None if file is None else load_or_create_content_keys(file)


def _signer(file: Path | None) -> RecordSigner | None:
    from guardrail.records.signing import load_or_create_signer

    return None if file is None else load_or_create_signer(file)


def _facts(one: RecordSummary) -> dict[str, Any]:
    return {**dataclasses.asdict(one), "created": one.created.isoformat(timespec="milliseconds")}


def _read_filter(which: dict[str, Any]) -> RecordFilter:
    from guardrail.records.query import RecordFilter

    since, until = (read_time(name, which.pop(name)) for name in ("since", "until"))
    return RecordFilter(since, until, **which)
