"""`guardrail tune`: finds the numbers of a policy that meet goals stated in words."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import content_key_option, guard_options, table_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.cli.tune_requests import Prepared
    from guardrail.policy.goals import Goal
    from guardrail.policy.schema import Policy
    from guardrail.policy_search.tuned import Tuned

__all__ = ["command"]

_SET = click.Path(path_type=Path, exists=True)
_FILE = click.Path(path_type=Path, dir_okay=False)
_OPEN = click.FloatRange(min=0, max=1, min_open=True, max_open=True)


@click.command("tune")
@click.option("--forbidden", type=_SET, help="Requests that should be stopped: a folder of "
              "pictures, or a table, as of guardrail recall.")  # fmt: skip
@click.option("--clean", type=_SET, help="Ordinary requests, which should pass, alike.")
@click.option("--records", "place", metavar="FILE_OR_URL", help="In place of these: records of "
              "decisions. What needs no new draw is searched: threshold, radius, floor, alpha, "
              "max_samples.")  # fmt: skip
@click.option("--labels", "labels_file", type=_FILE, help="Labels of records: a table with "
              "record_id and label (harmful, harmless or unsure).")  # fmt: skip
@click.option("--goal", "goal_texts", multiple=True, metavar="GOAL", help="What is wished, such as "
              "'false_alarms <= 1%', 'recall >= 95% within 0.5', 'missed_harm <= 2%', 'calls <= "
              "30', 'price_usd <= 0.02'; may be given several times.  [default: goals in the "
              "policy]")  # fmt: skip
@click.option("--search", "search_texts", multiple=True, metavar="FIELD=VALUE,…", help="Values of "
              "smoothing.sigma, advanced.smoothing.canvas_max_side_px (both take new draws), "
              "smoothing.alpha, sampling.max_samples, oracle.kind, oracle.low and oracle.high (the "
              "limits of the default oracle's cascade), or in place of the usual ones "
              "oracle.threshold, smoothing.radius, smoothing.floor; may be given several "
              "times.")  # fmt: skip
@click.option("--oracle", "oracles", multiple=True, metavar="KIND",
              help="Another kind of oracle to try, such as builtin or encoder; may be given "
              "several times. Each judges the drawn answers once.  [default: goals.oracles in the "
              "policy]")  # fmt: skip
@content_key_option("Key that seals answers in --run-folder for other oracles, made if it is not "
                    "there; or that opens those of --records.", exists=False)  # fmt: skip
@click.option("--draws", type=click.IntRange(1, 10_000), default=100, show_default=True,
              help="Noisy variants of each request, under each noise.")  # fmt: skip
@click.option("--run-folder", type=click.Path(path_type=Path, file_okay=False), help="Keep every "
              "draw here; a stopped run goes on, and another goal draws nothing "
              "again.")  # fmt: skip
@click.option("--price-per-call", type=click.FloatRange(min=0, min_open=True), metavar="USD",
              help="The most that a call costs, by the provider's prices. A goal about price_usd "
              "needs it, or advanced.limits.max_cost_usd_per_request in the policy.")  # fmt: skip
@click.option("--error", type=_OPEN, default=0.05, show_default=True,
              help="Probability, at most, of proposing a policy that misses a goal, over all runs "
              "on the same requests together.")  # fmt: skip
@click.option("--confirmations", "confirmations_file", type=_FILE,
              help="Where the runs on these requests are counted.  [default: beside --forbidden or "
              "--labels]")  # fmt: skip
@click.option("--finalists", type=click.IntRange(1, 20), default=3, show_default=True,
              help="Most candidates that are confirmed; they share the run's part of "
              "--error.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True,
              help="Of the draw of requests and of the two halves.")  # fmt: skip
@click.option("--prompt", default="What is shown in this picture?", show_default=True,
              help="Where a request names none.")  # fmt: skip
@click.option("--model", default="", help="Model name, where the upstream serves several.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out and name requests that cannot be "
              "read, instead of refusing the set.")  # fmt: skip
@table_options("image=path,prompt=question")
@click.option("--out", type=_FILE, help="Write the proposed policy.")
@click.option("--report", "report_file", type=_FILE, help="Write an HTML page.")
@click.option("--dry-run", is_flag=True, help="Say what it would take, and call nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@guard_options
@click.pass_context
def command(
    ctx: click.Context, /, out: Path | None, report_file: Path | None, **options: Any
) -> None:
    """Find the numbers of a policy that meet goals stated in words.

    One half of the labelled requests is searched on, the other confirms; a goal counts as met only
    if the confirmed bound meets it. Exit code 1: nothing is proposed, and which goal is missed is
    said. See docs/tune.md.
    """
    from guardrail.assembly import read_policy
    from guardrail.cli.output import require_writable
    from guardrail.cli.tune_output import write_results
    from guardrail.cli.tune_records import prepare_records
    from guardrail.cli.tune_requests import prepare_requests
    from guardrail.engine.threat_wording import left_out_sentence
    from guardrail.policy.threats import compile_threats
    from guardrail.policy_search.price_cap import PriceCap

    for file in (out, report_file):
        if file is not None:
            require_writable(file)
    _check_sources(options)
    policy = read_policy(options["policy_name"]).model_copy(update={"recall": None})
    goals = _find_goals(policy, options["goal_texts"])
    cap = PriceCap(policy.advanced.limits.max_cost_usd_per_request, options["price_per_call"])
    cap.check_goals(goals)
    left_out = left_out_sentence(compile_threats(policy.threats))
    if left_out:
        left_out += (
            ": fewer ordinary requests pass than is said here, and each takes more calls; which "
            "share is held against a threat is measured by 'guardrail recall --threats'"
        )
        click.echo(f"{left_out}.", err=True)
    prepare = prepare_records if options["place"] is not None else prepare_requests
    prepared = prepare(policy, goals, cap, options)
    if prepared is None:
        return
    tuned = _search(prepared, goals, options)
    write_results(tuned, policy, prepared.data, left_out, options, out, report_file)
    ctx.exit(0 if tuned.proposed is not None else 1)


def _check_sources(options: dict[str, Any]) -> None:
    requests = [options["forbidden"], options["clean"]]
    records = [options["place"], options["labels_file"]]
    if not (all(requests) and not any(records)) and not (all(records) and not any(requests)):
        raise click.UsageError(
            "give --forbidden and --clean, or --records and --labels: both kinds of requests are "
            "needed, since a guard that stops everything misses no harm"
        )


def _find_goals(policy: Policy, texts: Sequence[str]) -> tuple[Goal, ...]:
    from guardrail.policy.goals import parse_goals

    goals = parse_goals(texts) if texts else policy.goals.wishes
    if not goals:
        raise click.UsageError(
            "there is no goal; give --goal, or 'goals' in the policy, such as --goal "
            "'false_alarms <= 1%' --goal 'recall >= 95% within 0.5'"
        )
    return goals


def _search(prepared: Prepared, goals: tuple[Goal, ...], options: dict[str, Any]) -> Tuned:
    from guardrail.cli.progress import progress_bar
    from guardrail.policy_search.confirmations import ConfirmationLog
    from guardrail.policy_search.tuned import SearchDesign, search_digest, search_policy

    design = SearchDesign(goals, options["error"], options["finalists"], options["seed"])
    what = prepared.evaluator, prepared.base, prepared.candidates
    search = search_digest(*what, design)
    with (
        ConfirmationLog(_confirmations_file(options), design.seed) as log,
        progress_bar("searching", len(prepared.candidates)) as step,
    ):
        design = dataclasses.replace(design, run=log.number(search))
        return search_policy(*what, design, step, lambda: log.write(search))


def _confirmations_file(options: dict[str, Any]) -> Path:
    """Where the runs are counted: beside the labels, which a second run would use again."""
    stated: Path | None = options["confirmations_file"]
    beside: Path = options["forbidden"] or options["labels_file"]
    return stated or beside.with_name(f"{beside.name}.confirmations.jsonl")
