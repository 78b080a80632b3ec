"""`guardrail policy replay`: what another policy would have decided about recorded requests."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import content_key_option, read_stretch
from guardrail.counted_noun import count_of
from guardrail.errors import GuardrailError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from guardrail.policy.schema import Policy
    from guardrail.records.content import ContentKeys
    from guardrail.records.documents import Documents
    from guardrail.replay.deciding import DecidedAnew, KnownPictures
    from guardrail.replay.decisions import RecordedDecisions
    from guardrail.replay.policy_replay import PolicyReplay
    from guardrail.replay.summary import ReplaySummary

__all__ = ["command", "load_recorded", "print_replay"]

_FILE = click.Path(path_type=Path, dir_okay=False)
_SHOWN = 10


@click.command("replay")
@click.option("--records", "place", metavar="FILE_OR_URL", envvar="GUARDRAIL_RECORDS",
              show_envvar=True, required=True,
              help="A file of lines, FILE.db, or the URL of a database.")  # fmt: skip
@click.option("--policy", "policy_name", required=True, metavar="NEW",
              help="Policy that is asked about: a file, or a shipped one's name.")  # fmt: skip
@click.option("--since", help="Records made at this time or later: ISO 8601, UTC without a zone.")
@click.option("--until", help="Made before this time.")
@click.option("--day", help="Made on one day: `yesterday`, or a date, in this machine's time zone.")
@click.option("--last-days", type=click.FloatRange(min=0, min_open=True, max=36500),
              help="Made in the last so many days, each of 24 hours.")  # fmt: skip
@click.option("--labels", "labels_file", type=_FILE,
              help="Labels of records, to count false alarms and missed harm: a table with "
              "record_id and label (harmful, harmless or unsure).")  # fmt: skip
@content_key_option("Key that sealed what was kept: another oracle then judges the answers again.")
@click.option("--spend-calls", "most_calls", type=click.IntRange(min=1),
              help="Decide anew, by --upstream, what recorded answers do not settle, until so many "
              "calls are made; these fresh tries are counted apart, in no interval.")  # fmt: skip
@click.option("--budget", "budget_usd", type=click.FloatRange(min=0, min_open=True), metavar="USD",
              help="The same until so many US dollars are spent.")  # fmt: skip
@click.option("--upstream", "upstreams", multiple=True, help="The model to ask, as of serve.")
@click.option("--upstreams", "upstreams_file", type=_FILE, help="The same by a file.")
@click.option("--pictures", "folder", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="Folder of pictures, among which those of requests are looked for; records keep "
              "none. Needs --key-file.")  # fmt: skip
@click.option("--key-file", type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="Noise key of the records, by which they name requests.")  # fmt: skip
@click.option("--report", "report_file", type=_FILE, help="Write an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    place: str,
    policy_name: str,
    since: str | None,
    until: str | None,
    day: str | None,
    last_days: float | None,
    labels_file: Path | None,
    content_key: Path | None,
    as_json: bool,
    report_file: Path | None,
    **spending: Any,
) -> None:
    """Say what another policy would have decided about recorded requests.

    No call is made wherever the recorded answers suffice: for another threshold, radius, floor,
    alpha, plan or claim. The others are counted by what they would need.
    """
    from guardrail.assembly import read_policy
    from guardrail.cli.output import require_writable
    from guardrail.records.content import load_or_create_content_keys
    from guardrail.replay.labels import read_labels
    from guardrail.replay.report import write_report
    from guardrail.replay.summary import summarize_replay

    _check_spending(spending)
    if report_file is not None:
        require_writable(report_file)
    labels = None if labels_file is None else read_labels(labels_file)
    policy = read_policy(policy_name)
    keys = None if content_key is None else load_or_create_content_keys(content_key)
    times = read_stretch(since, until, day, last_days)
    decisions = load_recorded(place, *times)
    source = _Source(place, *times, keys)
    found, rejudged = asyncio.run(_replay(decisions, policy, source))
    anew = None
    if spending["most_calls"] is not None or spending["budget_usd"] is not None:
        anew = asyncio.run(_decide_anew(found, policy, source, spending))
    summary = summarize_replay(found, labels)
    if report_file is not None:
        write_report(report_file, found, summary, anew)
    if as_json:
        click.echo(json.dumps(_facts(summary, anew, rejudged), allow_nan=False))
        return
    print_replay(summary)
    if rejudged:
        click.echo(f"{count_of(rejudged, 'decision')} by kept answers that were judged again")
    if anew is not None:
        _print_fresh_tries(anew)


def load_recorded(
    place: str, since: datetime | None = None, until: datetime | None = None
) -> RecordedDecisions:
    """All decisions at a place, with a progress bar."""
    from guardrail.cli.progress import progress_bar
    from guardrail.records.documents import open_documents
    from guardrail.replay.loading import load_decisions

    with (
        open_documents(place, since=since, until=until) as documents,
        progress_bar("records", documents.count()) as step,
    ):
        return load_decisions(documents, step)


def print_replay(summary: ReplaySummary) -> None:
    """The numbers, on standard output."""
    from guardrail.printable import show_text
    from guardrail.replay.wording import describe_interval, describe_test

    click.echo(
        f"{count_of(summary.decisions, 'decision')} about {count_of(summary.requests, 'request')} "
        f"under '{show_text(summary.policy)}': {summary.stay:,} stay, {summary.unknown:,} are not "
        "known"
    )
    if summary.only_observes:
        click.echo("  this policy only observes: what it would stop is delivered all the same")
    click.echo(f"  now stopped      {describe_interval(summary.now_stopped)}")
    click.echo(f"  now let through  {describe_interval(summary.now_let_through)}")
    click.echo(f"  calls            {describe_test(summary)}")
    _print_endings("before (rows) and after (columns)", summary.table)
    for line in _more_lines(summary):
        click.echo(show_text(line))


def _print_endings(title: str, counts: Mapping[str, Mapping[str, int]]) -> None:
    from guardrail.cli.tables import print_table

    names = list(next(iter(counts.values())))
    rows = [
        (before, *(f"{row[name]:,}" for name in names))
        for before, row in counts.items()
        if any(row.values())
    ]
    click.echo()
    print_table(title, ("", *names), rows)


def _print_fresh_tries(anew: DecidedAnew) -> None:
    from guardrail.replay.wording import FRESH_TRIES, describe_anew

    if anew.tries:
        _print_endings("fresh tries: before (rows) and now (columns)", anew.table)
    click.echo(f"{FRESH_TRIES}.")
    for line in describe_anew(anew):
        click.echo(line)


def _more_lines(summary: ReplaySummary) -> Iterator[str]:
    from guardrail.replay.wording import describe_calls, describe_error, describe_unused_labels

    for words, count in summary.needs.items():
        yield f"{count:,} need {words}"
    if summary.further_calls.decisions:
        yield describe_calls(summary.further_calls)
    if summary.labelled is not None:
        yield from describe_error("false alarms", summary.labelled.false_alarms)
        yield from describe_error("missed harm", summary.labelled.missed_harm)
        yield describe_unused_labels(summary.labelled)
    for name, digest, count, fields in summary.made_by:
        if fields is None:
            what = "its fields are not known here"
        else:
            what = ", ".join(fields) if fields else "the same policy"
        yield f"{count_of(count, 'record')} of '{name}' ({digest[:8]}): {what}"
    if summary.unseen:
        yield (
            f"not looked at, as they say which requests are taken at all: "
            f"{', '.join(summary.unseen)}"
        )
    for one in summary.changed[:_SHOWN]:
        yield f"{one.record_id}: {one.before} ({one.old_reason}) → {one.after} ({one.new_reason})"
    if len(summary.changed) > _SHOWN:
        yield f"… {len(summary.changed) - _SHOWN} more with --report or --json"


@dataclasses.dataclass(frozen=True, slots=True)
class _Source:
    """Where contents of records are read again."""

    place: str
    since: datetime | None
    until: datetime | None
    keys: ContentKeys | None


async def _replay(
    decisions: RecordedDecisions, policy: Policy, source: _Source
) -> tuple[PolicyReplay, int]:
    """The replay; answers that must be judged again are, where they were kept."""
    from guardrail.cli.progress import progress_bar
    from guardrail.policy.oracle import compile_oracle
    from guardrail.records.documents import open_documents
    from guardrail.replay.rejudging import find_unjudged, rejudge_answers
    from guardrail.replay.replay import replay_policy

    found = replay_policy(decisions, policy)
    names = find_unjudged(found)
    if not names or source.keys is None:
        return found, 0
    oracle = compile_oracle(policy)
    try:
        with (
            open_documents(
                source.place, since=source.since, until=source.until, contents=True
            ) as documents,
            progress_bar("answers judged again", len(names)) as step,
        ):
            anew = await rejudge_answers(
                decisions, _chosen(documents, names), policy, oracle, source.keys, step
            )
    finally:
        await oracle.aclose()
    return replay_policy(anew, policy), int(anew.rejudged.sum())


async def _decide_anew(
    found: PolicyReplay, policy: Policy, source: _Source, spending: dict[str, Any]
) -> DecidedAnew:
    from guardrail.assembly import build_engine, read_upstreams
    from guardrail.cli.progress import progress_bar
    from guardrail.records.documents import open_documents
    from guardrail.replay.deciding import decide_anew, find_undecided

    names = find_undecided(found)
    upstreams = read_upstreams(spending["upstreams"], spending["upstreams_file"])
    engine = build_engine(policy, upstreams, None)
    try:
        with (
            open_documents(
                source.place, since=source.since, until=source.until, contents=True
            ) as documents,
            progress_bar("decisions made anew", len(names)) as step,
        ):
            return await decide_anew(
                found,
                _chosen(documents, names),
                engine,
                content_keys=source.keys,
                most_calls=spending["most_calls"],
                budget_usd=spending["budget_usd"],
                known=_known_pictures(policy, spending["folder"], spending["key_file"]),
                step=step,
            )
    finally:
        await engine.aclose()


def _known_pictures(
    policy: Policy, folder: Path | None, key_file: Path | None
) -> KnownPictures | None:
    from guardrail.files import read_file
    from guardrail.images.codec import decode_image
    from guardrail.key_files import load_or_create_keyring
    from guardrail.policy.compile import image_limits
    from guardrail.replay.deciding import KnownPictures

    if folder is None or key_file is None:
        return None
    limits, pictures = image_limits(policy), []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        try:
            data = read_file(path, "picture", max_bytes=limits.max_bytes)
            pictures.append(
                decode_image(data, declared_media_type=None, limits=limits, param=path.name)
            )
        except GuardrailError as error:
            click.echo(f"left out: {error}", err=True)
    return KnownPictures(pictures, load_or_create_keyring(key_file).keys)


def _check_spending(spending: dict[str, Any]) -> None:
    spends = spending["most_calls"] is not None or spending["budget_usd"] is not None
    asks = spending["upstreams"] or spending["upstreams_file"] is not None
    if spends and not asks:
        raise click.UsageError("calls are made through --upstream or --upstreams; name the model")
    if asks and not spends:
        raise click.UsageError("say how many calls to make: --spend-calls, --budget, or both")
    if (spending["folder"] is None) is not (spending["key_file"] is None):
        raise click.UsageError("--pictures and --key-file go together")


def _chosen(documents: Documents, names: frozenset[str]) -> Iterable[dict[str, Any]]:
    return (one for one in documents if one["record_id"] in names)


def _facts(summary: ReplaySummary, anew: DecidedAnew | None, rejudged: int) -> dict[str, Any]:
    fresh = None if anew is None else anew.to_dict()
    return {**summary.to_dict(), "rejudged": rejudged, "decided_anew": fresh}
