"""`guardrail moderate`: an operator's own pictures, a million rows if need be."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import find_columns, record_options, table_options, upstream_options
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.bulk.content_key import JobSettings
    from guardrail.bulk.deciding import EngineAsk
    from guardrail.bulk.job import BulkJob
    from guardrail.bulk.log import DecisionLog
    from guardrail.bulk.on_ray import RayEnd
    from guardrail.bulk.report import BulkReport
    from guardrail.bulk.sources import BulkSource
    from guardrail.engine.engine import Engine
    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry
    from guardrail.records.options import RecordOptions

__all__ = ["command"]

_LOG, _KEY, _PAGE, _LEDGER = "log.jsonl", "noise.key", "report.html", "batches.db"


@click.command("moderate")
@click.argument("source")
@click.option("--out", "folder", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Folder for the log, the decisions and the page; the same command goes on from "
              "what is in it.")  # fmt: skip
@click.option("--prompt", default="What is shown in this picture?", show_default=True,
              help="The question where a row has none; {COLUMN} in it stands for a cell of the "
              "row, {name} for the picture's name.")  # fmt: skip
@click.option("--model", default="", help="Model name, where the upstream serves several.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@table_options("image=path,prompt=question")
@click.option("--format", "formats", type=click.Choice(["jsonl", "parquet"]), multiple=True,
              default=("jsonl",), show_default=True,
              help="Of the decisions; may be given twice.")  # fmt: skip
@click.option("--answers", is_flag=True, help="Keep the answers that pass with the decisions.")
@click.option("--jobs", type=click.IntRange(1, 4096), default=8, show_default=True,
              help="Rows that are decided at a time; a kill loses no more.")  # fmt: skip
@click.option("--requests-per-minute", type=click.FloatRange(min=0, min_open=True),
              help="Most calls to each upstream in a minute.")  # fmt: skip
@click.option("--max-usd", type=click.FloatRange(min=0, min_open=True),
              help="What all runs of this job together may cost, in US dollars.")  # fmt: skip
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Where rows are decided: in this process, or by workers on a Ray cluster (extra "
              "`ray`).")  # fmt: skip
@click.option("--ray-address", help="Of the cluster, as Ray has it.  [default: one on this "
              "machine]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, 10_000), default=2, show_default=True,
              help="With --engine ray: processes, each with model and oracle of its "
              "own.")  # fmt: skip
@click.option("--worker-cpus", type=click.FloatRange(min=0), default=1.0, show_default=True,
              help="With --engine ray: of the cluster's, for each of them.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@upstream_options
@record_options
def command(
    source: str,
    folder: Path,
    upstreams: tuple[str, ...],
    upstreams_file: Path | None,
    policy_name: str,
    key_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Decide about all pictures of SOURCE, and write what was decided, with certificates.

    SOURCE is a folder of pictures, a table (CSV, TSV, JSON, JSONL, Parquet) with the columns image
    and perhaps prompt and id, or the URL of either in a bucket (s3://…, gs://…). Nothing that is
    decided is paid for again. Without --key-file the secret of the noise is kept in the folder, as
    noise.key. Exit code 0: every row is decided; 2: some are not, or the job was stopped. See
    docs/bulk.md.
    """
    from guardrail.assembly import read_policy, read_upstreams
    from guardrail.bulk.output import check_formats
    from guardrail.bulk.sources import FIELDS, open_source

    policy = read_policy(policy_name)
    entries = read_upstreams(upstreams, upstreams_file)
    if any(entry.is_late for entry in entries):
        _check_late(policy, options)
        entries = _place_ledgers(entries, folder)
    entries = _limit_rate(entries, options)
    _make_folder(folder)
    check_formats(options["formats"], folder)
    job = _Job(policy, entries, folder, key_file or folder / _KEY, options)
    columns = find_columns(options["columns_text"], FIELDS)
    try:
        with open_source(
            source, prompt=options["prompt"], columns=columns, encoding=options["encoding"]
        ) as rows:
            facts = asyncio.run(job.run(rows))
    except KeyboardInterrupt:
        click.echo(f"\nstopped; the same command goes on from {folder}", err=True)
        raise
    click.echo(json.dumps(facts, allow_nan=False) if as_json else _in_words(facts))
    if facts["stopped"]:
        click.echo(f"guardrail: {facts['stopped']}", err=True)
    raise click.exceptions.Exit(2 if facts["not_decided"] or facts["stopped"] else 0)


def _check_late(policy: Policy, options: dict[str, Any]) -> None:
    """What does not go together with an upstream that answers within hours."""
    if options["engine"] == "ray":
        raise click.UsageError("litellm_batch is for --engine local: workers do not share batches")
    if options["requests_per_minute"] is not None:
        raise click.UsageError("--requests-per-minute is not for litellm_batch: leave it out")
    limits = policy.advanced.limits
    if options["max_usd"] is not None and limits.max_cost_usd_per_request is None:
        raise ConfigError(
            "--max-usd would have the first row decided alone, which takes hours with "
            "litellm_batch; set the most that one row may cost",
            field="advanced.limits.max_cost_usd_per_request",
        )


def _place_ledgers(entries: tuple[UpstreamEntry, ...], folder: Path) -> tuple[UpstreamEntry, ...]:
    """The entries with a ledger of batches in the job's folder, where they name none."""
    from guardrail.policy.upstreams import place_ledger

    return tuple(
        place_ledger(entry, folder / _LEDGER)
        if entry.is_late and (entry.batch is None or entry.batch.ledger is None)
        else entry
        for entry in entries
    )


def _limit_rate(
    entries: tuple[UpstreamEntry, ...], options: dict[str, Any]
) -> tuple[UpstreamEntry, ...]:
    """The entries with --requests-per-minute; on Ray each worker has its share of it."""
    if options["requests_per_minute"] is None:
        return entries
    sharers = options["workers"] if options["engine"] == "ray" else 1
    rate = {"requests_per_minute": options["requests_per_minute"] / sharers}
    return tuple(entry.model_copy(update=rate) for entry in entries)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"this folder cannot be made ({error.strerror}); choose another place",
            file=str(folder),
        ) from error


@dataclass(frozen=True, slots=True)
class _Job:
    """Everything that is fixed before the first row."""

    policy: Policy
    entries: tuple[UpstreamEntry, ...]
    folder: Path
    key_file: Path
    options: dict[str, Any]

    async def run(self, source: BulkSource) -> dict[str, Any]:
        """Decides what is left of the source, writes files, and returns what there is to tell."""
        from guardrail.assembly import build_engine
        from guardrail.bulk.content_key import JobSettings
        from guardrail.bulk.log import DecisionLog

        started = time.monotonic()
        engine = build_engine(self.policy, self.entries, self.key_file, may_be_late=True)
        try:
            model = self.options["model"] or (await engine.upstream.models())[0]
            limit = self.options["max_tokens"]
            parameters = {} if limit is None else {"max_tokens": limit}
            settings = JobSettings.of(engine, model, parameters)
            path, head = self.folder / _LOG, settings.to_dict()
            with DecisionLog(path, head) as log:
                calls_before = log.calls
                if not self.is_on_ray:
                    job: BulkJob | RayEnd = await self._decide(source, engine, settings, log)
                    report = await self._report(source, engine, settings, log, job.stopped)
            if self.is_on_ray:
                job = await asyncio.to_thread(self._decide_on_ray, source, engine, settings)
                with DecisionLog(path, head) as log:
                    await asyncio.to_thread(log.mark_seen, source.rows())
                    report = await self._report(source, engine, settings, log, job.stopped)
        finally:
            await engine.aclose()
        return {
            "source": source.name,
            "folder": str(self.folder),
            "policy": settings.policy,
            "policy_digest": settings.policy_digest,
            "model": settings.model,
            **report.summary.to_dict(),
            "decided_before": job.decided_before,
            "calls": report.calls,
            "cost_usd": report.cost_usd,
            "calls_of_this_run": log.calls - calls_before,
            "alpha": report.alpha,
            "tries": report.tries,
            "expected_wrong_upper": report.expected_wrong_upper,
            "elapsed_s": round(time.monotonic() - started, 3),
            "stopped": job.stopped,
        }

    @property
    def is_on_ray(self) -> bool:
        return bool(self.options["engine"] == "ray")

    async def _report(
        self,
        source: BulkSource,
        engine: Engine,
        settings: JobSettings,
        log: DecisionLog,
        stopped: str,
    ) -> BulkReport:
        return await asyncio.to_thread(self._write, source, engine, settings, log, stopped)

    def _decide_on_ray(self, source: BulkSource, engine: Engine, settings: JobSettings) -> RayEnd:
        from guardrail.bulk.on_ray import run_on_ray
        from guardrail.bulk.worker import RayPlan
        from guardrail.cli.progress import progress_bar
        from guardrail.records.content import load_or_create_content_keys

        options, records = self.options, self._record_options()
        keys = load_or_create_content_keys(records.content_key) if records.content_key else None
        plan = RayPlan(
            policy=self.policy,
            entries=self.entries,
            key=engine.key,
            settings=settings,
            most=options["jobs"],
            keep_answers=options["answers"],
            workers=options["workers"],
            worker_cpus=options["worker_cpus"],
            most_usd=self._most_usd(engine, settings.model),
            records=records,
            content_keys=keys,
        )
        with progress_bar("moderating", source.total) as step:
            return run_on_ray(
                plan, source.rows(), self.folder / _LOG, address=options["ray_address"], step=step
            )

    async def _decide(
        self, source: BulkSource, engine: Engine, settings: JobSettings, log: DecisionLog
    ) -> BulkJob:
        from guardrail.bulk.deciding import RowDecider
        from guardrail.bulk.job import BulkJob
        from guardrail.cli.progress import progress_bar

        options = self.options
        with self._open_ask(engine, settings, log) as ask:
            decider = RowDecider(
                ask,
                settings,
                ask.loader,
                lists=engine.known_pictures,
                log=log,
                keep_answers=options["answers"],
            )
            with progress_bar("moderating", source.total) as step:
                job = BulkJob(decider, log, options["jobs"], step)
                await job.run(source.rows())
        return job

    @contextmanager
    def _open_ask(
        self, engine: Engine, settings: JobSettings, log: DecisionLog
    ) -> Iterator[EngineAsk]:
        from guardrail.assembly import open_recorder
        from guardrail.bulk.deciding import EngineAsk, make_loader
        from guardrail.bulk.spending import JobAllowance

        most_usd = self._most_usd(engine, settings.model)
        with ExitStack() as stack:
            loader = stack.enter_context(closing(make_loader(self.policy)))
            yield EngineAsk(
                engine,
                settings.model,
                loader,
                settings.parameters,
                None if most_usd is None else JobAllowance(most_usd, log.cost_usd),
                stack.enter_context(open_recorder(engine, self._record_options())),
            )

    def _record_options(self) -> RecordOptions:
        from guardrail.records.options import RecordOptions

        options = self.options
        return RecordOptions(
            options["records_place"],
            options["sign_key"],
            options["keep_content"],
            options["content_key"],
            options["keep_pictures"],
        )

    def _most_usd(self, engine: Engine, model: str) -> float | None:
        """What the job may cost. Raises ConfigError where the model's price is not known."""
        from guardrail.engine.budget import has_price

        most_usd: float | None = self.options["max_usd"]
        if most_usd is None:
            return None
        if not has_price(
            dataclasses.replace(engine.rules, max_cost_usd=most_usd), engine.upstream, model
        ):
            raise ConfigError(
                f"--max-usd needs the price of '{model}', which is not known; add it to the policy",
                field="advanced.prices",
            )
        return most_usd

    def _write(
        self,
        source: BulkSource,
        engine: Engine,
        settings: JobSettings,
        log: DecisionLog,
        stopped: str,
    ) -> BulkReport:
        """The decisions and the page; reads the log once."""
        from guardrail.bulk.output import write_decisions
        from guardrail.bulk.report import BulkReport, write_bulk_report
        from guardrail.bulk.summary import BulkSummary
        from guardrail.policy.facts import describe_rules

        summary = BulkSummary()
        write_decisions(self.folder, self.options["formats"], summary.count(log.current()))
        report = BulkReport(
            source=source.name,
            summary=summary,
            settings=settings,
            promise=describe_rules(
                engine.rules, reference_kind=self.policy.oracle.reference_kind
            ).promise,
            alpha=engine.rules.alpha,
            tries=log.tries,
            calls=log.calls,
            cost_usd=log.cost_usd if log.all_priced else None,
            stopped=stopped,
        )
        write_bulk_report(self.folder / _PAGE, report)
        return report


def _reason_line(one: dict[str, Any]) -> str:
    by = f" (by the test of: {one['stopped_by']})" if one["stopped_by"] != "none" else ""
    return f"  {one['decision']}: {one['reason']}{by}: {one['rows']:,}"


def _in_words(facts: dict[str, Any]) -> str:
    cost = "" if facts["cost_usd"] is None else f", US$ {facts['cost_usd']:.2f}"
    counts = (
        f"{count_of(facts['rows'], 'row')}: {facts['passed']:,} passed, {facts['blocked']:,} "
        f"blocked, {facts['not_decided']:,} not decided ({facts['decided_before']:,} were decided "
        "before)"
    )
    of_this_run = f"{facts['calls_of_this_run']:,} of them in this run"
    lines = [
        counts,
        *map(_reason_line, facts["reasons"]),
        f"{count_of(facts['calls'], 'call')}{cost}, {of_this_run}",
        f"the decisions and report.html are in {facts['folder']}",
    ]
    return "\n".join(lines)
