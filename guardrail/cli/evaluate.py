"""`guardrail evaluate`: a guarded model on labelled data."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import find_columns, guard_options, table_options
from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from guardrail.evaluation.benchmark.evaluate import EvaluationRun
    from guardrail.evaluation.benchmark.evaluation import Evaluation

__all__ = ["command"]

_MOST_DRAWS = 10_000
_OPEN = click.FloatRange(min=0, max=1, min_open=True, max_open=True)


@click.command("evaluate")
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True,
              help="Labelled requests: a table (JSON, CSV, TSV, Parquet) with the column harmful "
              "and image or prompt, a folder of pictures with one, folders 'clean' and 'harmful', "
              "or a Hugging Face dataset saved to disk.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Folder for evaluation.html, evaluation.json and the logs; a stopped run goes "
              "on from them.")  # fmt: skip
@click.option("--prompt", default="What is shown in this picture?", show_default=True,
              help="Where a row names none.")  # fmt: skip
@click.option("--model", default="", help="Model name, where the upstream serves several.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--draws", type=click.IntRange(0, _MOST_DRAWS), default=100, show_default=True,
              help="Noisy variants of each harmful request, for certified recall; 0 for "
              "none.")  # fmt: skip
@click.option("--view-draws", type=click.IntRange(0, _MOST_DRAWS),
              help="Answers to each view of each harmful request, without noise, for certified "
              "recall per threat that the policy covers; 0 for none.  [default: 40, or as many as "
              "can show anything]")  # fmt: skip
@click.option("--delta", type=_OPEN, default=0.05, show_default=True,
              help="Probability, at most, that an interval is wrong.")  # fmt: skip
@click.option("--most", type=click.IntRange(min=1), help="Decide no more than so many rows of each "
              "set and label.  [default: one of each cluster of near-copies]")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True,
              help="Of the draw of one row from each cluster.")  # fmt: skip
@click.option("--split", help="Of a dataset with several.")
@click.option("--bare/--no-bare", default=True, show_default=True,
              help="Ask the model without the guard as well.")  # fmt: skip
@click.option("--beside", type=click.Path(path_type=Path, exists=True), multiple=True,
              help="Another guard's report on the same requests, to stand beside this one: a run "
              "of guard-eval-harness, or another evaluation.json. May be given several "
              "times.")  # fmt: skip
@table_options("image=path,harmful=label==unsafe")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out and name rows that cannot be used, "
              "instead of refusing the data.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what it would take, and call nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guard_options
def command(
    policy_name: str,
    upstream: str,
    key_file: Path | None,
    data: Path,
    out: Path,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure what a guarded model passes and stops on labelled data, and what that costs.

    Says by set, category and language how many clean requests passed and harmful ones were
    stopped, with exact intervals and faults apart; certified recall; calls, dollars and time; and
    what delivered answers are worth beside those of the bare model. See docs/evaluation.md.
    """
    from guardrail.assembly import build_engine, read_policy
    from guardrail.evaluation.benchmark.evaluate import make_folder

    # An earlier measurement that no longer fits must not keep a new one from being made.
    policy = read_policy(policy_name).model_copy(update={"recall": None})
    if not dry_run:
        make_folder(out)
    engine = build_engine(policy, upstream, key_file)
    run = _prepare(engine, policy, data, options)
    _announce(run)
    if dry_run:
        return
    try:
        found = asyncio.run(_measure(run, out))
    except KeyboardInterrupt:
        click.echo(f"\nstopped; the same command goes on from {out}", err=True)
        raise
    _finish(found, out, as_json)


def _prepare(engine: Any, policy: Any, data: Path, options: dict[str, Any]) -> EvaluationRun:
    from guardrail.cli.progress import progress_bar
    from guardrail.evaluation.benchmark.data_forms import FIELDS
    from guardrail.evaluation.benchmark.evaluate import DataOptions, EvaluationRun, RunOptions

    limit = options["max_tokens"]
    return EvaluationRun.prepare(
        engine,
        policy,
        data,
        RunOptions(
            model=options["model"],
            draws=options["draws"],
            view_draws=options["view_draws"],
            delta=options["delta"],
            bare=options["bare"],
            beside=options["beside"],
        ),
        DataOptions(
            prompt=options["prompt"],
            parameters={} if limit is None else {"max_tokens": limit},
            seed=options["seed"],
            most=options["most"],
            split=options["split"],
            skip_bad_rows=options["skip_bad_rows"],
            columns=find_columns(options["columns_text"], FIELDS, compared=("harmful",)),
            encoding=options["encoding"],
        ),
        partial(progress_bar, "reading"),
    )


def _announce(run: EvaluationRun) -> None:
    """Says what is decided and what it takes at most, on standard error."""
    from collections import Counter

    rows = run.rows
    counts = Counter((row.set_name, row.harmful) for _, row in rows.drawn)
    parts = ", ".join(
        f"{count:,} {'harmful' if harmful else 'clean'} in '{name}'"
        for (name, harmful), count in sorted(counts.items())
    )
    families = (
        f"{count_of(rows.rows, 'row')} in {count_of(rows.clusters, 'cluster')} of near-copies"
    )
    lines = [
        f"{rows.name}: {families}; decided are {parts}",
        f"at most {count_of(run.most_calls, 'answer')} of the model, without repeats after faults",
        *(f"left out: {problem}" for problem in rows.problems),
    ]
    lines += [
        f"beside: {report.name}, {count_of(len(report.rulings), 'ruling')}"
        for report in run.reports
    ]
    plan = run.recall
    if plan.pixels_left_out:
        lines.append(f"no certified recall: {plan.pixels_left_out}")
    if plan.threats is not None:
        lines.append(
            f"threats ({', '.join(plan.threats.statements)}): at most {plan.threats.draws:,} "
            "answers to each view"
        )
    elif plan.threats_left_out != plan.pixels_left_out:
        lines.append(f"no certified recall per threat: {plan.threats_left_out}")
    for line in lines:
        click.echo(line, err=True)


async def _measure(run: EvaluationRun, out: Path) -> Evaluation:
    from guardrail.cli.progress import progress_bar

    try:
        return await run.measure(out, lambda what: partial(progress_bar, what))
    finally:
        await run.engine.aclose()


def _finish(found: Evaluation, out: Path, as_json: bool) -> None:
    from guardrail.cli.evaluate_output import print_evaluation
    from guardrail.evaluation.benchmark.evaluate import write_evaluation

    write_evaluation(out, found)
    if as_json:
        click.echo(json.dumps(found.to_dict(), allow_nan=False))
    else:
        print_evaluation(found, out)
