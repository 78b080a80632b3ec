"""What `guardrail tune` searches: labelled requests, drawn under each noise."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.request_sets import read_request_set
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardrail.engine.engine import Engine
    from guardrail.evaluation.requests import RequestSet
    from guardrail.policy.goals import Goal
    from guardrail.policy.schema import Policy
    from guardrail.policy_search.drawing import DrawLog, LabelledRequest
    from guardrail.policy_search.draws import LabelledDraws
    from guardrail.policy_search.evaluators import DrawnNoise, Evaluator
    from guardrail.policy_search.kept_answers import KeptAnswers
    from guardrail.policy_search.numbers import Numbers, View
    from guardrail.policy_search.oracles import OracleChoice
    from guardrail.policy_search.price_cap import PriceCap

__all__ = ["Prepared", "prepare_requests"]


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What is searched: the requests, the policy's own numbers, the candidates, and a name."""

    evaluator: Evaluator
    base: Numbers
    candidates: list[Numbers]
    data: str


def prepare_requests(
    policy: Policy, goals: tuple[Goal, ...], cap: PriceCap, options: dict[str, Any]
) -> Prepared | None:
    """Labelled requests, drawn under every noise; None where it is only said what that takes."""
    from guardrail.policy_search.evaluators import DrawnNoise, DrawsEvaluator
    from guardrail.policy_search.grid import list_candidates, list_noises, parse_search
    from guardrail.policy_search.numbers import Numbers
    from guardrail.policy_search.oracles import apply_oracle, find_oracles, may_move_threshold

    wished = parse_search(options["search_texts"])
    choices = find_oracles(policy, options["oracles"], wished)
    _check_keeping(choices, options)
    # A folder of pictures needs no draw to be read twice: the sets are the same for every noise.
    forbidden = read_request_set(policy, options["forbidden"], options)
    clean = read_request_set(policy, options["clean"], options)
    requests = _label(forbidden, clean)
    noises = list_noises(Numbers.of(policy, cuts_scores=False), wished)
    _announce(forbidden, clean, goals, len(noises), len(choices), options)
    if options["dry_run"]:
        return None
    drawn: dict[View, DrawnNoise] = {}
    bases: list[Numbers] = []
    for sigma, canvas in noises:
        engine, found = _draw_noise(policy, sigma, canvas, requests, choices, options)
        for choice, draws in zip(choices, found, strict=True):
            cuts = draws.threshold is not None and may_move_threshold(policy)
            own = Numbers.of(apply_oracle(policy, choice), cuts_scores=cuts)
            base = dataclasses.replace(own, sigma=sigma, canvas=canvas)
            drawn[base.view] = DrawnNoise(engine.rules, draws)
            bases.append(base)
    candidates = [
        numbers
        for base in bases
        for numbers in list_candidates(
            base, wished, drawn[base.view].rules, any_threshold=base.threshold is not None
        )
    ]
    shares = policy.spending.mode == "principal" and policy.mode == "enforce"
    data = f"{forbidden.name} and {clean.name}"
    return Prepared(DrawsEvaluator(drawn, shares, cap), bases[0], candidates, data)


def _check_keeping(choices: Sequence[OracleChoice], options: dict[str, Any]) -> None:
    if len(choices) > 1 and options["run_folder"] is not None and options["content_key"] is None:
        raise click.UsageError(
            "other oracles judge the answers that were drawn, which --run-folder keeps only "
            "sealed; give --content-key as well, or leave --run-folder out"
        )


def _label(forbidden: RequestSet, clean: RequestSet) -> list[LabelledRequest]:
    """All drawn requests; one that is in both sets has no label."""
    from guardrail.policy_search.drawing import LabelledRequest

    both = {digest for digest, _ in forbidden.drawn} & {digest for digest, _ in clean.drawn}
    if both:
        raise ConfigError(
            f"{count_of(len(both), 'request is', 'requests are')} among the forbidden ones and "
            "among the ordinary ones; take them out of one set"
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
    oracles: int,
    options: dict[str, Any],
) -> None:
    """Says what it will take at most, on standard error."""
    count = len(forbidden.drawn) + len(clean.drawn)
    calls = count * options["draws"] * noises
    for one, kind in ((forbidden, "forbidden"), (clean, "ordinary")):
        click.echo(
            f"{one.name}: {count_of(one.requests, f'{kind} request')} in "
            f"{count_of(one.clusters, 'cluster')} of near-copies, {len(one.drawn):,} are measured, "
            "one of each",
            err=True,
        )
        for problem in one.problems:
            click.echo(f"left out: {problem}", err=True)
    click.echo(
        f"goals: {'; '.join(goal.sentence for goal in goals)}\n"
        f"at most {count_of(calls, 'answer')} of the model: {options['draws']:,} for each of "
        f"{count:,} requests under {count_of(noises, 'noise')}; what the run folder holds is not "
        "drawn again" + (f"; {oracles:,} oracles judge each answer once" if oracles > 1 else ""),
        err=True,
    )


def _draw_noise(
    policy: Policy,
    sigma: float,
    canvas: int | None,
    requests: list[LabelledRequest],
    choices: Sequence[OracleChoice],
    options: dict[str, Any],
) -> tuple[Engine, list[LabelledDraws]]:
    """The rules under a noise, and the draws made with it as each oracle finds them."""
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
    found = asyncio.run(_draw(engine, under, f"s{sigma:g}-c{canvas}", requests, choices, options))
    return engine, found


async def _draw(
    engine: Engine,
    policy: Policy,
    name: str,
    requests: list[LabelledRequest],
    choices: Sequence[OracleChoice],
    options: dict[str, Any],
) -> list[LabelledDraws]:
    from guardrail.cli.progress import progress_bar
    from guardrail.policy.compile import image_limits
    from guardrail.policy_search.drawing import DrawLog, draw_requests

    keeping = _find_keeping(choices, options)
    file = _log_file(options, f"draws-{name}{'' if keeping is None else '-answers'}")
    try:
        model = options["model"] or (await engine.upstream.models())[0]
        settings = {
            "policy_digest": engine.rules.digest,
            "model": model,
            "upstream": engine.upstream.name,
            "upstream_revision": engine.upstream.revision,
            "oracle_revision": engine.oracle.revision,
        }
        limits = image_limits(policy)
        with DrawLog(file, settings, keeping) as log:
            with progress_bar(f"drawing {name}", len(requests)) as step:
                own = await draw_requests(
                    engine, requests, model, limits, options["draws"], log, step
                )
            others = [
                await _judge(engine, policy, choice, requests, settings, log, name, options)
                for choice in choices[1:]
            ]
    except KeyboardInterrupt:
        if file is not None:
            click.echo(f"\nstopped; the same command goes on from {file}", err=True)
        raise
    else:
        return [own, *others]
    finally:
        await engine.aclose()


async def _judge(
    engine: Engine,
    policy: Policy,
    choice: OracleChoice,
    requests: list[LabelledRequest],
    settings: dict[str, Any],
    drawn: DrawLog,
    name: str,
    options: dict[str, Any],
) -> LabelledDraws:
    """The draws as another oracle finds them."""
    from guardrail.canonical import short_digest
    from guardrail.cli.progress import progress_bar
    from guardrail.policy.oracle import compile_oracle
    from guardrail.policy_search.drawing import DrawLog
    from guardrail.policy_search.judging import judge_again
    from guardrail.policy_search.oracles import apply_oracle

    oracle = compile_oracle(apply_oracle(policy, choice))
    file = _log_file(options, f"judged-{name}-{short_digest(oracle.revision)}")
    judged_by = {**settings, "judged_by": oracle.revision}
    try:
        with (
            DrawLog(file, judged_by) as log,
            progress_bar(f"judging by {choice}", len(requests)) as step,
        ):
            return await judge_again(
                engine.rules, oracle, requests, settings["model"], options["draws"], drawn, log,
                step,
            )  # fmt: skip
    finally:
        await oracle.aclose()


def _find_keeping(choices: Sequence[OracleChoice], options: dict[str, Any]) -> KeptAnswers | None:
    """How answers are kept; None where nobody would judge them again."""
    from guardrail.policy_search.kept_answers import KeptAnswers
    from guardrail.records.content import load_or_create_content_keys

    file = options["content_key"]
    if options["run_folder"] is None:
        return KeptAnswers(None) if len(choices) > 1 else None
    return None if file is None else KeptAnswers(load_or_create_content_keys(file))


def _log_file(options: dict[str, Any], name: str) -> Path | None:
    folder: Path | None = options["run_folder"]
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.jsonl"
