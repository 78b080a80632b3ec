"""What `guardrail tune` searches: requests that are drawn, or recorded decisions."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import find_columns
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.engine.engine import Engine
    from guardrail.evaluation.requests import RequestSet
    from guardrail.policy.goals import Goal
    from guardrail.policy.schema import Policy
    from guardrail.policy_search.drawing import LabelledRequest
    from guardrail.policy_search.draws import LabelledDraws
    from guardrail.policy_search.evaluators import Evaluator
    from guardrail.policy_search.numbers import Numbers
    from guardrail.policy_search.price_cap import PriceCap

__all__ = ["Prepared", "prepare_records", "prepare_requests"]


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """What is searched: the requests, the policy's own numbers, the candidates, and a name."""

    evaluator: Evaluator
    base: Numbers
    candidates: list[Numbers]
    data: str


def prepare_records(
    policy: Policy, goals: tuple[Goal, ...], cap: PriceCap, options: dict[str, Any]
) -> Prepared | None:
    """Recorded decisions with their labels."""
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
    evaluator = RecordsEvaluator(load_recorded(options["place"]), labels, policy, cap)
    candidates = list_candidates(base, wished, compile_policy(policy), any_threshold=is_cut)
    harm = int(evaluator.forbidden.sum())
    data = f"{harm:,} harmful and {len(evaluator.digests) - harm:,} harmless labelled records"
    return Prepared(evaluator, base, candidates, data)


def _may_move(policy: Policy) -> bool:
    """Whether another threshold may be proposed, and is known from scores.

    A calibration bounds the misses at its own threshold, and answers that are broken off have
    scores of their beginnings.
    """
    fixed = getattr(policy.oracle, "calibration", None) is not None
    measured = policy.smoothing.claim == "harmlessness"
    return not fixed and not measured and policy.advanced.sampling.judge_every_chars is None


def prepare_requests(
    policy: Policy, goals: tuple[Goal, ...], cap: PriceCap, options: dict[str, Any]
) -> Prepared | None:
    """Labelled requests, drawn under every noise; None where it is only said what that takes."""
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
    return Prepared(DrawsEvaluator(drawn, shares, cap), base, candidates, data)


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
