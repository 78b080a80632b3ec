"""`guardrail calibrate`: an oracle's threshold and its errors, from labelled answers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import content_key_option, find_columns, table_options
from guardrail.cli.output import require_writable
from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.options import HarmOptions
    from guardrail.policy.schema import Policy
    from guardrail.tuning.dataset import Dataset
    from guardrail.tuning.outcome import CalibrationOutcome
    from guardrail.tuning.scoring import ScoredAnswer
    from guardrail.tuning.tradeoff import TradeOff

__all__ = ["command"]

_FILE = click.Path(path_type=Path, dir_okay=False)
_OPEN = click.FloatRange(min=0, max=1, min_open=True, max_open=True)
_MOST_POINTS = 400


@click.command("calibrate")
@click.option("--oracle", "kind", metavar="KIND", help="Kind of oracle, with its defaults.")
@click.option("--policy", "policy_name", metavar="FILE",
              help="Policy whose oracle it is, with all its options; a file, or the name of a "
              "shipped one.")  # fmt: skip
@click.option("--data", type=_FILE, help="Labelled answers: JSONL, JSON, CSV, TSV or Parquet, "
              "also packed (.gz).")  # fmt: skip
@table_options("response=answer,harmful=score>0.5")
@click.option("--target-miss-rate", "target", type=_OPEN,
              help="Choose the largest threshold that is shown to miss no more.")  # fmt: skip
@click.option("--threshold", type=_OPEN,
              help="Measure at this threshold, fixed beforehand.  "
              "[default: the oracle's own]")  # fmt: skip
@click.option("--delta", type=_OPEN,
              help="Probability, at most, that a bound is wrong.  "
              "[default: the policy's]")  # fmt: skip
@click.option("--out", type=_FILE,
              help="Write the calibration: YAML, or JSON by its suffix. With --from-records: the "
              "answers to label.")  # fmt: skip
@click.option("--report", "report_file", type=_FILE, help="Write an HTML page; it shows answers.")
@click.option("--resume", "scores_file", type=_FILE,
              help="Scores that are known, kept without texts.  "
              "[default: beside --out]")  # fmt: skip
@click.option("--skip-bad-rows", is_flag=True, help="Leave out and name rows that are not "
              "labelled answers, instead of refusing the file.")  # fmt: skip
@click.option("--price-per-call", "price_per_call_usd", type=click.FloatRange(min=0),
              help="US dollars, for the table of trade-offs.")  # fmt: skip
@click.option("--from-records", "record_files", type=_FILE, multiple=True,
              help="Draw answers to label from records that were kept with --keep-content; may be "
              "given several times.")  # fmt: skip
@content_key_option("Key that sealed those records' content.")
@click.option("--draw", "count", type=click.IntRange(min=1), help="How many, with --from-records.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of that draw.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    record_files: tuple[Path, ...],
    count: int | None,
    seed: int,
    content_key: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure what an oracle misses on labelled answers, and choose its threshold by it."""
    if record_files or count is not None:
        _draw(record_files, count, seed, content_key, as_json, options)
        return
    for file in (options["out"], options["report_file"]):
        if file is not None:
            require_writable(file)
    _calibrate(as_json=as_json, **options)


def _calibrate(
    *,
    kind: str | None,
    policy_name: str | None,
    data: Path | None,
    target: float | None,
    threshold: float | None,
    delta: float | None,
    out: Path | None,
    report_file: Path | None,
    scores_file: Path | None,
    columns_text: str | None,
    encoding: str | None,
    skip_bad_rows: bool,
    price_per_call_usd: float | None,
    as_json: bool,
) -> None:
    from guardrail.oracles.calibration import write_calibration
    from guardrail.tuning.dataset import FIELDS, read_dataset
    from guardrail.tuning.outcome import calibration_of, evaluate

    if data is None:
        raise click.UsageError("give the labelled answers with --data")
    if target is not None and threshold is not None:
        raise click.UsageError("give either --target-miss-rate or --threshold")
    policy = _policy(kind, policy_name)
    choice = _choice(policy)
    columns = find_columns(columns_text, FIELDS, compared=("harmful",))
    rows = read_dataset(data, skip_bad_rows=skip_bad_rows, columns=columns, encoding=encoding)
    if target is None and threshold is None:
        threshold = choice.with_calibration(policy.folder).threshold
    in_use = _find_in_use(policy, choice, kind)
    results = _score(policy, rows, scores_file or _beside(out))
    outcome = evaluate(
        results,
        policy,
        delta=delta or choice.delta,
        target=target,
        threshold=threshold,
        in_use=in_use,
        price_per_call_usd=price_per_call_usd,
    )
    if out is not None:
        revision = _revision(policy, outcome.measured.threshold)
        write_calibration(out, calibration_of(outcome, rows, revision))
    if report_file is not None:
        _write_report(report_file, outcome, rows, results)
    if as_json:
        click.echo(json.dumps(outcome.facts(rows), allow_nan=False))
    else:
        _print(outcome, rows, out)


def _policy(kind: str | None, policy_name: str | None) -> Policy:
    from pydantic import ValidationError

    from guardrail.assembly import read_policy
    from guardrail.errors import ConfigError
    from guardrail.oracles.registry import find_options
    from guardrail.policy.schema import Policy

    if (kind is None) == (policy_name is None):
        raise click.UsageError("give either --oracle or --policy")
    if policy_name is not None:
        return read_policy(policy_name)
    find_options(str(kind))  # names what is wrong with the kind itself
    try:
        return Policy.model_validate({"name": "calibration", "oracle": {"kind": kind}})
    except ValidationError as error:
        raise ConfigError(
            f"the oracle '{kind}' needs options of its own; write them into a policy and give it "
            "with --policy"
        ) from error


def _choice(policy: Policy) -> HarmOptions:
    from guardrail.errors import ConfigError
    from guardrail.oracles.options import HarmOptions

    if not isinstance(policy.oracle, HarmOptions):
        raise ConfigError(
            "this kind of oracle has no threshold that could be calibrated", field="oracle.kind"
        )
    return policy.oracle


def _find_in_use(policy: Policy, choice: HarmOptions, kind: str | None) -> tuple[str, float] | None:
    """Whose threshold is used today, and that; None where its calibration does not fit any more."""
    from guardrail.errors import ConfigError

    whose = f"the policy '{policy.name}'" if kind is None else f"the oracle '{kind}' by default"
    try:
        return whose, choice.with_calibration(policy.folder).threshold
    except ConfigError:
        return None


def _at(policy: Policy, threshold: float) -> Policy:
    """The same policy with this threshold and no calibration."""
    changes = {"threshold": threshold, "calibration": None}
    return policy.model_copy(update={"oracle": policy.oracle.model_copy(update=changes)})


def _beside(out: Path | None) -> Path | None:
    return None if out is None else out.with_name(f"{out.name}.scores.jsonl")


def _score(policy: Policy, data: Dataset, scores_file: Path | None) -> list[ScoredAnswer]:
    from guardrail.cli.progress import progress_bar
    from guardrail.policy.oracle import compile_oracle
    from guardrail.tuning.scores import KnownScores
    from guardrail.tuning.scoring import SCORING_THRESHOLD, MessageRules, answer_key, score_all

    rules = MessageRules.of(policy)

    async def score() -> list[ScoredAnswer]:
        oracle = compile_oracle(_at(policy, SCORING_THRESHOLD))
        try:
            with KnownScores(scores_file, oracle.revision) as known:
                keys = {answer_key(row, rules) for row in data.rows}
                new = [key for key in keys if known.get(key) is None]
                with progress_bar("scoring", len(new)) as step:
                    return await score_all(data, oracle, known, step, rules=rules)
        finally:
            await oracle.aclose()

    return asyncio.run(score())


def _revision(policy: Policy, threshold: float) -> str:
    """Of the oracle as a policy with this threshold would build it."""
    from guardrail.policy.oracle import compile_oracle

    async def revision() -> str:
        oracle = compile_oracle(_at(policy, threshold))
        try:
            return oracle.revision
        finally:
            await oracle.aclose()

    return asyncio.run(revision())


def _print(outcome: CalibrationOutcome, data: Dataset, out: Path | None) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.tuning.percent import percent_up
    from guardrail.tuning.report import SHIFT_WARNING

    measured, area = outcome.measured, outcome.area
    click.echo(
        f"{data.name}: {outcome.counts_in_words}, "
        f"AUC {'-' if area is None else f'{area.auc:.4f}'}, {outcome.ms_per_answer:.2f} ms each\n"
        f"threshold {measured.threshold:g} ({outcome.threshold_in_words})\n"
        f"  misses at most {percent_up(measured.miss_rate_upper)} of harmful answers "
        f"({measured.misses:,} of {measured.harmful:,} here)\n"
        f"  blocks at most {percent_up(measured.false_alarm_rate_upper)} of harmless answers "
        f"({measured.false_alarms:,} of {measured.harmless:,} here)\n"
        f"  for one answer a request, each with probability at least {1 - measured.delta:g}"
    )
    for line in _notes(outcome, data):
        click.echo(line)
    names = ["missed, at most", "threshold", "false alarms", "at most", "to show", "calls"]
    names += ["US$"] * outcome.knows_prices
    print_table(
        f"\nOther targets. {outcome.other_targets_in_words} What is to be shown, and the calls, "
        "are those of the claim 'harmlessness'",
        names,
        (_row(row)[: len(names)] for row in outcome.other_targets),
    )
    click.echo(SHIFT_WARNING)
    if out is not None:
        click.echo(
            f"\nwritten: {out}; refer to it in the policy: oracle: {{calibration: {out.name}}}"
        )


def _notes(outcome: CalibrationOutcome, data: Dataset) -> list[str]:
    notes = []
    if data.problems:
        shown = "; ".join(f"line {p.line}: {p.what}" for p in data.problems[:10])
        notes.append(f"  left out: {count_of(len(data.problems), 'row')} ({shown})")
    if data.repeated:
        notes.append(
            f"  repeated: {count_of(len(data.repeated), 'row')}, {len(data.contradictory):,} of "
            "them with the other label"
        )
    if outcome.n_unscanned or outcome.n_failed:
        notes.append(
            f"  not judged, counted as judged harmful: {outcome.n_failed:,} failures, "
            f"{outcome.n_unscanned:,} with parts that cannot be looked into"
        )
    remarks = [*outcome.remarks, *([outcome.in_use_in_words] if outcome.in_use_in_words else [])]
    return [*notes, *(f"  note: {remark}" for remark in remarks)]


def _row(row: TradeOff) -> tuple[str, ...]:
    from guardrail.tuning.percent import percent_up

    if row.measured is None or row.price is None:
        return (percent_up(row.target), "too few labels", *["-"] * 5)
    measured, cost = row.measured, row.price
    return (
        percent_up(row.target),
        f"{measured.threshold:g}",
        percent_up(measured.false_alarm_rate),
        percent_up(measured.false_alarm_rate_upper),
        "-" if cost.q_required is None else f"{cost.q_required:.4f}",
        cost.calls_in_words,
        "-" if cost.usd is None else f"{cost.usd:.4f}",
    )


def _write_report(
    path: Path, outcome: CalibrationOutcome, data: Dataset, results: Sequence[ScoredAnswer]
) -> None:
    from guardrail.tuning.report import Report, write_report

    report = Report(outcome, data, results, _figures(outcome, results))
    write_report(path, report)


def _figures(outcome: CalibrationOutcome, results: Sequence[ScoredAnswer]) -> str:
    from guardrail.html_page.figure import Curve, Panel, figure
    from guardrail.tuning.metrics import operating_points

    every = operating_points(results)
    points = every[:: max(1, len(every) // _MOST_POINTS)] + every[-1:]
    roc = ((0.0, 0.0), *((p.false_alarm_rate, p.recall) for p in points))
    precision = tuple((p.recall, p.precision) for p in points)
    scores = tuple((p.threshold, 1.0 - p.recall) for p in reversed(points))
    alarms = tuple((p.threshold, p.false_alarm_rate) for p in reversed(points))
    bins = tuple((b.mean_score, b.harmful) for b in outcome.reliability)
    ends = ((0.0, 0.0), (1.0, 1.0))
    chance, equal = Curve("chance", ends, dashed=True), Curve("if they were", ends, dashed=True)
    here = ((outcome.measured.threshold, "threshold"),)
    return figure(
        (
            Panel("Misses and false alarms by threshold", "threshold", "share",
                  (Curve("harm missed", scores), Curve("false alarms", alarms)), here),
            Panel("ROC", "false alarms", "harm found", (Curve("oracle", roc), chance)),
            Panel("Precision and recall", "harm found", "precision", (Curve("oracle", precision),)),
            Panel("Are scores probabilities here?", "mean score", "share harmful",
                  (Curve("oracle", bins), equal)),
        ),
        in_page=True,
    )  # fmt: skip


def _draw(
    files: tuple[Path, ...],
    count: int | None,
    seed: int,
    content_key: Path | None,
    as_json: bool,
    options: dict[str, Any],
) -> None:
    from guardrail.records.content import load_or_create_content_keys
    from guardrail.tuning.draw import draw, survey
    from guardrail.tuning.formats import write_rows

    out = options["out"]
    others = ("kind", "policy_name", "data", "target", "threshold", "delta", "report_file",
              "scores_file", "columns_text", "encoding")  # fmt: skip
    if not files or count is None or out is None:
        raise click.UsageError("a draw needs --from-records, --draw and --out")
    if any(options[name] is not None for name in others):
        raise click.UsageError("a draw is a step of its own: label its rows, then give --data")
    keys = None if content_key is None else load_or_create_content_keys(content_key)
    store = survey(files, keys)
    rows, drawn = draw(store, count, seed)
    write_rows(out, rows)
    if as_json:
        strata = [{"name": d.name, "requests": d.requests, "drawn": d.drawn} for d in drawn]
        facts = {"drawn": len(rows), "requests": store.requests, "decisions": store.decisions,
                 "without_answer": store.without_answer, "unjudged": store.unjudged}  # fmt: skip
        click.echo(json.dumps({**facts, "strata": strata, "seed": seed}))
        return
    click.echo(
        f"drawn: {len(rows):,} of {count_of(store.requests, 'request')} in "
        f"{count_of(store.decisions, 'record')}, each with the first answer to it (left out: "
        f"{count_of(store.without_answer, 'request')} whose first answer is missing or not kept, "
        f"{store.unjudged:,} whose first answer was not judged and never counts as harmless)"
    )
    for stratum in drawn:
        click.echo(
            f"  {stratum.name}: {stratum.drawn:,} of {count_of(stratum.requests, 'request')}"
        )
    click.echo(
        f"\nwritten: {out}. It holds what was asked and answered; keep it as you keep the records."
        "\nNow let people write true or false for 'harmful' into every row, without the score in "
        "sight. Leave no row out and change no weight: each stands for the requests of its stratum."
        f"\nThen: guardrail calibrate --policy FILE --data {out} --target-miss-rate 0.1 --out "
        "calibration.yaml\nThe bound is then about the first answers in these records, one a "
        "request."
    )
