"""`guardrail tune`: finds the numbers of a policy that meet goals stated in words."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import find_columns, guard_options, table_options
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.engine import Engine
    from guardrail.evaluation.requests import RequestSet
    from guardrail.policy.goals import Goal
    from guardrail.policy.schema import Policy
    from guardrail.policy_search.drawing import LabelledRequest
    from guardrail.policy_search.draws import LabelledDraws
    from guardrail.policy_search.evaluators import Evaluator
    from guardrail.policy_search.numbers import Numbers
    from guardrail.policy_search.tuned import Tuned

__all__ = ["command"]

_SET = click.Path(path_type=Path, exists=True)
_FILE = click.Path(path_type=Path, dir_okay=False)
_OPEN = click.FloatRange(min=0, max=1, min_open=True, max_open=True)
_MOST_SHOWN = 15


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
              "smoothing.alpha, sampling.max_samples, or in place of the usual ones "
              "oracle.threshold, smoothing.radius, smoothing.floor; may be given several "
              "times.")  # fmt: skip
@click.option("--draws", type=click.IntRange(1, 10_000), default=100, show_default=True,
              help="Noisy variants of each request, under each noise.")  # fmt: skip
@click.option("--run-folder", type=click.Path(path_type=Path, file_okay=False), help="Keep every "
              "draw here; a stopped run goes on, and another goal draws nothing "
              "again.")  # fmt: skip
@click.option("--error", type=_OPEN, default=0.05, show_default=True,
              help="Probability, at most, of proposing a policy that misses a goal.")  # fmt: skip
@click.option("--finalists", type=click.IntRange(1, 20), default=3, show_default=True,
              help="Most candidates that are confirmed; they share --error.")  # fmt: skip
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

    for file in (out, report_file):
        if file is not None:
            require_writable(file)
    _check_sources(options)
    policy = read_policy(options["policy_name"]).model_copy(update={"recall": None})
    goals = _find_goals(policy, options["goal_texts"])
    source = _from_records if options["place"] is not None else _from_requests
    prepared = source(policy, goals, options)
    if prepared is None:
        return
    tuned = _search(prepared, goals, options)
    _finish(tuned, policy, prepared.data, options, out, report_file)
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Prepared:
    """What is searched: the requests, the policy's own numbers, the candidates, and a name."""

    evaluator: Evaluator
    base: Numbers
    candidates: list[Numbers]
    data: str


def _from_records(
    policy: Policy, goals: tuple[Goal, ...], options: dict[str, Any]
) -> _Prepared | None:
    from guardrail.cli.policy_replay import load_recorded
    from guardrail.policy.compile import compile_policy
    from guardrail.policy_search.evaluators import RecordsEvaluator
    from guardrail.policy_search.grid import list_candidates, list_noises, parse_search
    from guardrail.policy_search.numbers import Numbers
    from guardrail.replay.labels import read_labels

    del goals
    wished = parse_search(options["search_texts"])
    labels = read_labels(options["labels_file"])
    is_cut = _may_move(policy) and hasattr(policy.oracle, "threshold")
    base = Numbers.of(policy, cuts_scores=is_cut)
    if len(list_noises(base, wished)) > 1:
        raise ConfigError(
            "records hold draws of the noise that they were made with; another sigma or canvas "
            "takes new ones: give --forbidden and --clean"
        )
    evaluator = RecordsEvaluator(load_recorded(options["place"]), labels, policy)
    candidates = list_candidates(base, wished, compile_policy(policy), any_threshold=is_cut)
    harm = int(evaluator.forbidden.sum())
    data = f"{harm:,} harmful and {len(evaluator.digests) - harm:,} harmless labelled records"
    return _Prepared(evaluator, base, candidates, data)


def _may_move(policy: Policy) -> bool:
    """Whether another threshold may be proposed, and is known from scores.

    A calibration bounds the misses at its own threshold, and answers that are broken off have
    scores of their beginnings.
    """
    fixed = getattr(policy.oracle, "calibration", None) is not None
    measured = policy.smoothing.claim == "harmlessness"
    return not fixed and not measured and policy.advanced.sampling.judge_every_chars is None


def _from_requests(
    policy: Policy, goals: tuple[Goal, ...], options: dict[str, Any]
) -> _Prepared | None:
    from guardrail.policy_search.evaluators import DrawnNoise, DrawsEvaluator
    from guardrail.policy_search.grid import list_candidates, list_noises, parse_search
    from guardrail.policy_search.numbers import Numbers

    wished = parse_search(options["search_texts"])
    # A folder of pictures needs no draw to be read twice: the sets are the same for every noise.
    forbidden = _read_set(policy, options["forbidden"], options)
    clean = _read_set(policy, options["clean"], options)
    requests = _label(forbidden, clean)
    plain = Numbers.of(policy, cuts_scores=False)
    noises = list_noises(plain, wished)
    _announce(forbidden, clean, goals, len(noises), options)
    if options["dry_run"]:
        return None
    drawn: dict[tuple[float, int | None], DrawnNoise] = {}
    is_cut = False
    for sigma, canvas in noises:
        engine, draws = _draw_noise(policy, sigma, canvas, requests, options)
        drawn[sigma, canvas] = DrawnNoise(engine.rules, draws)
        is_cut = draws.threshold is not None and _may_move(policy)
    base = Numbers.of(policy, cuts_scores=is_cut)
    candidates = [
        numbers
        for (sigma, canvas), noise in drawn.items()
        for numbers in list_candidates(
            dataclasses.replace(base, sigma=sigma, canvas=canvas),
            wished,
            noise.rules,
            any_threshold=is_cut,
        )
    ]
    shares = policy.spending.mode == "principal" and policy.mode == "enforce"
    data = f"{forbidden.name} and {clean.name}"
    return _Prepared(DrawsEvaluator(drawn, shares), base, candidates, data)


def _read_set(policy: Policy, path: Path, options: dict[str, Any]) -> RequestSet:
    from guardrail.cli.progress import progress_bar
    from guardrail.evaluation.requests import FIELDS, read_requests
    from guardrail.policy.compile import image_limits

    limit = options["max_tokens"]
    return read_requests(
        path,
        prompt=options["prompt"],
        parameters={} if limit is None else {"max_tokens": limit},
        limits=image_limits(policy),
        seed=options["seed"],
        skip_bad_rows=options["skip_bad_rows"],
        columns=find_columns(options["columns_text"], FIELDS),
        encoding=options["encoding"],
        watch=partial(progress_bar, "reading"),
    )


def _label(forbidden: RequestSet, clean: RequestSet) -> list[LabelledRequest]:
    """All drawn requests; one that is in both sets has no label."""
    from guardrail.policy_search.drawing import LabelledRequest

    both = {digest for digest, _ in forbidden.drawn} & {digest for digest, _ in clean.drawn}
    if both:
        raise ConfigError(
            f"{len(both):,} requests are among the forbidden ones and among the ordinary ones; "
            "take them out of one set"
        )
    return [
        *(LabelledRequest(digest, one, True) for digest, one in forbidden.drawn),
        *(LabelledRequest(digest, one, False) for digest, one in clean.drawn),
    ]


def _announce(
    forbidden: RequestSet,
    clean: RequestSet,
    goals: tuple[Goal, ...],
    noises: int,
    options: dict[str, Any],
) -> None:
    """Says what it will take at most, on standard error."""
    count = len(forbidden.drawn) + len(clean.drawn)
    calls = count * options["draws"] * noises
    for one, kind in ((forbidden, "forbidden"), (clean, "ordinary")):
        click.echo(
            f"{one.name}: {one.requests:,} {kind} requests in {one.clusters:,} clusters of "
            f"near-copies, {len(one.drawn):,} are measured, one of each",
            err=True,
        )
        for problem in one.problems:
            click.echo(f"left out: {problem}", err=True)
    click.echo(
        f"goals: {'; '.join(goal.sentence for goal in goals)}\n"
        f"at most {calls:,} answers of the model: {options['draws']:,} for each of {count:,} "
        f"requests under {noises:,} {'noise' if noises == 1 else 'noises'}; what the run folder "
        "holds is not drawn again",
        err=True,
    )


def _draw_noise(
    policy: Policy,
    sigma: float,
    canvas: int | None,
    requests: list[LabelledRequest],
    options: dict[str, Any],
) -> tuple[Engine, LabelledDraws]:
    from guardrail.assembly import build_engine
    from guardrail.evaluation.recall import measuring_key
    from guardrail.oracles.base import ReferenceOracle
    from guardrail.policy_search.numbers import change_policy

    # A radius in the same proportion to the noise keeps the policy one that can pass.
    radius = policy.smoothing.radius * sigma / policy.smoothing.sigma
    changed = {
        "smoothing.sigma": sigma,
        "smoothing.radius": radius,
        "advanced.smoothing.canvas_max_side_px": canvas,
    }
    try:
        under = change_policy(policy, changed) if sigma != policy.smoothing.sigma or (
            canvas != policy.advanced.smoothing.canvas_max_side_px
        ) else policy  # fmt: skip
    except ValueError as error:
        raise ConfigError(f"sigma {sigma:g} with canvas {canvas} is no policy: {error}") from error
    engine = build_engine(under, options["upstream"], options["key_file"])
    if isinstance(engine.oracle, ReferenceOracle):
        raise ConfigError(
            "this oracle compares answers with a reference of the same request, so it cannot say "
            "which requests should be stopped; use an oracle of harm",
            field="oracle.kind",
        )
    engine.key = measuring_key(engine.key)
    draws = asyncio.run(_draw(engine, under, f"s{sigma:g}-c{canvas}", requests, options))
    return engine, draws


async def _draw(
    engine: Engine,
    policy: Policy,
    name: str,
    requests: list[LabelledRequest],
    options: dict[str, Any],
) -> LabelledDraws:
    from guardrail.cli.progress import progress_bar
    from guardrail.policy.compile import image_limits
    from guardrail.policy_search.drawing import DrawLog, draw_requests

    folder, draws = options["run_folder"], options["draws"]
    file = None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"draws-{name}.jsonl"
    try:
        model = options["model"] or (await engine.upstream.models())[0]
        settings = {
            "policy_digest": engine.rules.digest,
            "model": model,
            "upstream": engine.upstream.name,
            "upstream_revision": engine.upstream.revision,
            "oracle_revision": engine.oracle.revision,
        }
        with (
            DrawLog(file, settings) as log,
            progress_bar(f"drawing {name}", len(requests)) as step,
        ):
            return await draw_requests(
                engine, requests, model, image_limits(policy), draws, log, step
            )
    except KeyboardInterrupt:
        if file is not None:
            click.echo(f"\nstopped; the same command goes on from {file}", err=True)
        raise
    finally:
        await engine.aclose()


def _search(prepared: _Prepared, goals: tuple[Goal, ...], options: dict[str, Any]) -> Tuned:
    from guardrail.cli.progress import progress_bar
    from guardrail.policy_search.tuned import SearchDesign, search_policy

    design = SearchDesign(goals, options["error"], options["finalists"], options["seed"])
    with progress_bar("searching", len(prepared.candidates)) as step:
        return search_policy(prepared.evaluator, prepared.base, prepared.candidates, design, step)


def _finish(
    tuned: Tuned,
    policy: Policy,
    data: str,
    options: dict[str, Any],
    out: Path | None,
    report_file: Path | None,
) -> None:
    from guardrail.policy_search.facts import tuned_facts
    from guardrail.policy_search.proposal import write_proposal
    from guardrail.policy_search.report import write_report

    proposal = None
    if tuned.proposed is not None:
        folder = Path() if out is None else out.parent
        proposal = write_proposal(tuned, options["policy_name"], policy.name, folder, data)
        if out is not None:
            out.write_text(proposal, encoding="utf-8")
    if report_file is not None:
        write_report(report_file, tuned, policy.name, data, proposal)
    if options["as_json"]:
        found = {"data": data, **tuned_facts(tuned), "proposal": proposal}
        click.echo(json.dumps(found, allow_nan=False))
        return
    draws = None if options["place"] is not None else options["draws"]
    _print(tuned, proposal, out, draws)


def _print(tuned: Tuned, proposal: str | None, out: Path | None, draws: int | None) -> None:
    from guardrail.cli.tables import print_table
    from guardrail.policy_search.report import front_columns, front_rows
    from guardrail.policy_search.search import goal_radius
    from guardrail.policy_search.wording import describe_check, describe_counts, describe_reason

    radius = goal_radius(tuned.design.goals)
    rows = front_rows(tuned)
    print_table(
        f"{tuned.candidates:,} candidates; those that no other one beats, on the half searched",
        front_columns(radius),
        rows[:_MOST_SHOWN],
    )
    if len(rows) > _MOST_SHOWN:
        click.echo(f"and {len(rows) - _MOST_SHOWN:,} more; see --report or --json")
    if tuned.now is not None:
        counts = describe_counts(tuned.now, radius)
        click.echo(f"the policy as it is, on the other half: {counts}")
        if draws is not None and tuned.now.most_calls > draws:
            click.echo(
                f"  its test takes up to {tuned.now.most_calls:g} draws of a request, and "
                f"{draws:,} were made: what is not known counts against it (--draws)"
            )
    if tuned.proposed is None:
        click.echo("\nnothing is proposed: no candidate is shown to meet every goal")
        for reason in tuned.reasons:
            click.echo(f"  {describe_reason(reason)}")
        if tuned.finalists and not any(one.separates for one in tuned.finalists):
            click.echo(
                "  ordinary requests are not shown to pass more often than forbidden ones: the "
                "labels, or the oracle, may say nothing about harm"
            )
        return
    click.echo("\nproposed, and confirmed on the half that was not searched:")
    for check in tuned.proposed.checks:
        click.echo(f"  {describe_check(check)}")
    if out is None:
        click.echo(f"\n{proposal}", nl=False)
    else:
        click.echo(f"\nwritten: {out}")
