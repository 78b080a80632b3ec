"""`guardrail certify`: how far certified radii reach, on one picture or a folder."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.options import guard_options
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.engine.engine import Engine
    from guardrail.estimation.log import EstimationLog
    from guardrail.estimation.rows import PictureSource
    from guardrail.estimation.stop_rule import StopRule
    from guardrail.images.codec import Picture
    from guardrail.images.limits import ImageLimits
    from guardrail.policy.schema import Policy
    from guardrail.types import Chat

__all__ = ["command"]

_POSITIVE = click.FloatRange(min=0, min_open=True)
_OPEN = click.FloatRange(min=0, max=1, min_open=True, max_open=True)


@click.command("certify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--prompt", default="What is shown in this picture?", show_default=True)
@click.option("--model", default="", help="Model name, where the upstream serves several.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Longest answer, in tokens.")
@click.option("--n", "n", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Noisy variants per picture; the most of them with --anytime.")  # fmt: skip
@click.option("--anytime", is_flag=True,
              help="Stop as soon as bounds that are always valid say enough.")  # fmt: skip
@click.option("--radius", type=_POSITIVE, help="With --anytime: stop once this radius is "
              "certified, or cannot be.  [default: the policy's, without --width]")  # fmt: skip
@click.option("--width", type=_POSITIVE, help="With --anytime: stop once the certified radius "
              "is this close to the largest that could be.")  # fmt: skip
@click.option("--sigma", type=_POSITIVE, help="Noise, instead of the policy's.")
@click.option("--alpha", type=_OPEN, help="Failure probability of each radius, instead of the "
              "policy's.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Append every "
              "result to this file of JSON lines; a stopped run goes on from it.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines instead of a table.")
@guard_options
def command(
    paths: tuple[Path, ...],
    out: Path | None,
    as_json: bool,
    policy_name: str,
    upstream: str,
    key_file: Path | None,
    **options: Any,
) -> None:
    """Estimate the certified radius of every picture in PATHS (files or folders).

    Each radius holds by itself with its own alpha; for a yes or no at one radius, 'guardrail
    check' needs far fewer calls. Exit code 2 if a picture could not be read.
    """
    from guardrail.assembly import build_engine, read_policy

    base = read_policy(policy_name)
    policy = _overridden(base, options)
    goal = _goal(policy, options)
    files = _files(paths)
    engine = build_engine(base, upstream, key_file)
    _check_oracle(engine)
    _override(engine, policy)
    run = _Run(engine, policy, goal, out, options, has_key=key_file is not None)
    try:
        rows, unreadable = asyncio.run(_run(run, files))
    except KeyboardInterrupt:
        if out is not None:
            click.echo(f"\nstopped; the same command goes on from {out}", err=True)
        raise
    _show(rows, policy, goal, as_json)
    for problem in unreadable:
        click.echo(f"guardrail: {problem}", err=True)
    if unreadable:
        raise click.exceptions.Exit(2)


@dataclass(frozen=True, slots=True)
class _Run:
    """What all pictures have in common."""

    engine: Engine
    policy: Policy
    goal: StopRule
    out: Path | None
    options: dict[str, Any]
    has_key: bool


async def _run(run: _Run, files: list[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    from guardrail.cli.progress import progress_bar
    from guardrail.estimation.log import EstimationLog

    engine = run.engine
    try:
        chat = await _chat(engine, run.options)
        log = EstimationLog(run.out, _settings(run, chat))
        with log, progress_bar("certifying", len(files)) as step:
            return await _all(run, chat, files, log, step)
    finally:
        await engine.aclose()


async def _all(
    run: _Run, chat: Chat, files: list[Path], log: EstimationLog, step: Callable[[], None]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows in order, and what was wrong with the files that have none."""
    from guardrail.policy.compile import image_limits

    rows, unreadable = [], []
    limits = image_limits(run.policy)
    for index, file in enumerate(files):
        try:
            source, picture = await asyncio.to_thread(_read, index, file, limits)
        except RequestError as error:
            unreadable.append(str(error))
        else:
            rows.append(log.find_estimate(source) or await _one(run, chat, source, picture, log))
        step()
    return rows, unreadable


async def _one(
    run: _Run, chat: Chat, source: PictureSource, picture: Picture, log: EstimationLog
) -> dict[str, Any]:
    from guardrail.estimation.picture import estimate_picture
    from guardrail.estimation.rows import build_row

    found = await estimate_picture(
        run.engine,
        chat,
        picture,
        run.goal,
        start=partial(log.find_progress, source.file),
        keep=partial(log.keep, source.file),
    )
    created = datetime.now(UTC).isoformat(timespec="seconds")
    row = build_row(source, found, run.engine, run.goal, created)
    log.finish(row)
    return row


def _overridden(policy: Policy, options: dict[str, Any]) -> Policy:
    given = {name: options[name] for name in ("sigma", "alpha") if options[name] is not None}
    return policy.model_copy(update={"smoothing": policy.smoothing.model_copy(update=given)})


def _goal(policy: Policy, options: dict[str, Any]) -> StopRule:
    from guardrail.estimation.stop_rule import StopRule

    anytime, radius, width = options["anytime"], options["radius"], options["width"]
    promised = anytime and radius is None and width is None
    if not anytime and (radius is not None or width is not None):
        raise click.UsageError("--radius and --width are for --anytime")
    return StopRule(options["n"], policy.smoothing.alpha, anytime, radius, width, promised)


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """Files as they are named, folders by the names in them; every file once."""
    from guardrail.evaluation.requests import picture_files

    found: dict[Path, None] = {}
    for path in paths:
        found |= dict.fromkeys(picture_files(path) if path.is_dir() else [path])
    if not found:
        raise click.UsageError(
            "there is no picture there; name PNG, JPEG, WebP, GIF, BMP or TIFF files"
        )
    return list(found)


def _check_oracle(engine: Engine) -> None:
    """Raises ConfigError where an estimate would need a reference.

    A run that is stopped goes on from its counts, and a reference chosen anew would mix them with
    those of another one.
    """
    from guardrail.oracles.base import ReferenceOracle

    if isinstance(engine.oracle, ReferenceOracle):
        raise ConfigError(
            "this oracle compares answers with a reference, for which no radius can be estimated; "
            "use 'guardrail check', or an oracle of harm",
            field="oracle.kind",
        )


def _override(engine: Engine, policy: Policy) -> None:
    """Sets the noise that was asked for."""
    # Set last: a policy that could never pass is refused, but may be used for an estimate.
    from guardrail.policy.compile import policy_digest

    smoothing = policy.smoothing
    engine.rules = dataclasses.replace(
        engine.rules, sigma=smoothing.sigma, alpha=smoothing.alpha, digest=policy_digest(policy)
    )


async def _chat(engine: Engine, options: dict[str, Any]) -> Chat:
    from guardrail.types import picture_chat

    model = options["model"] or (await engine.upstream.models())[0]
    limit = options["max_tokens"]
    return picture_chat(model, options["prompt"], {} if limit is None else {"max_tokens": limit})


def _settings(run: _Run, chat: Chat) -> dict[str, Any]:
    """All that an estimate depends on; a key of this process alone is left out."""
    engine, goal = run.engine, run.goal
    return {
        "policy": run.policy.name,
        "policy_digest": engine.rules.digest,
        "sigma": engine.rules.sigma,
        **dataclasses.asdict(goal),
        "prompt": chat.prompt,
        "model": chat.model,
        "parameters": dict(chat.parameters),
        "upstream": engine.upstream.name,
        "upstream_revision": engine.upstream.revision,
        "oracle_revision": engine.oracle.revision,
        "key_id": engine.key.key_id if run.has_key else None,
    }


def _read(index: int, file: Path, limits: ImageLimits) -> tuple[PictureSource, Picture]:
    """Raises RequestError for a file that is not a picture, or too large a one."""
    from guardrail.errors import RequestError
    from guardrail.estimation.rows import PictureSource
    from guardrail.files import read_file
    from guardrail.images.codec import decode_image

    data = read_file(file, "picture", max_bytes=limits.max_bytes, error=RequestError)
    picture = decode_image(data, declared_media_type=None, limits=limits, param=str(file))
    return PictureSource(index, str(file), hashlib.sha256(data).hexdigest()), picture


def _show(rows: list[dict[str, Any]], policy: Policy, goal: StopRule, as_json: bool) -> None:
    from guardrail.cli.tables import print_table

    if as_json:
        for row in rows:
            click.echo(json.dumps(row, allow_nan=False))
        return
    print_table(
        f"Certified l2 radii (policy '{policy.name}', alpha {goal.alpha:g} for each picture)",
        ("file", "idx", "harmless", "n", "missing", "q_lower", "radius", "abstain"),
        [_cells(row) for row in rows],
    )
    certified = sum(not row["abstain"] for row in rows)
    promised = sum(row["radius"] >= row["promised_radius"] for row in rows)
    click.echo(
        f"{certified} of {len(rows)} certified, {promised} at the radius that the policy promises "
        f"of them; {count_of(sum(row['calls'] for row in rows), 'call')}"
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    counts = (str(row[name]) for name in ("index", "harmless", "n", "missing"))
    bounds = (f"{row['q_lower']:.4f}", f"{row['radius']:.4f}", "yes" if row["abstain"] else "no")
    return (row["file"], *counts, *bounds)
