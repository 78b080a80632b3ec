"""`guardrail attack`: make a picture that makes a model say what it should not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import click

from guardrail.policy.shipped import shipped_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.attack.guard_view import GuardView
    from guardrail.attack.objectives import Loss, Objective
    from guardrail.attack.sampled_check import SampledCheck
    from guardrail.oracles.base import Oracle
    from guardrail.policy.schema import Policy
    from guardrail.types import Pixels
    from guardrail.upstreams.loading import Loaded
    from guardrail.upstreams.transformers_local import TransformersLocal

__all__ = ["command"]


class _Attack(StrEnum):
    MINIMUM_NORM = "minimum-norm"
    L2 = "l2"
    LINF = "linf"
    STICKER = "sticker"


class _Goal(StrEnum):
    HARMFUL = "harmful"
    MISSED = "missed"


_DEFAULT_SIZE = {_Attack.L2: 4.0, _Attack.LINF: 8 / 255, _Attack.STICKER: 0.05}
_AIMS = 4  # missed answers that are aimed for together


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What the command was asked for; fields as its options."""

    attack: _Attack
    goal: _Goal
    size: float
    paste: Path | None
    steps: int
    restarts: int
    prompt: str
    targets: tuple[str, ...]
    policy: str
    through_guard: bool
    draws: int
    upstream: str
    tries: int
    seed: int


@click.command("attack")
@click.argument("image", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--attack", type=click.Choice([a.value for a in _Attack]), default=_Attack.MINIMUM_NORM.value,
    show_default=True,
    help="minimum-norm: the smallest l2 change that reaches the goal (DDN). l2, linf: the best "
    "change of a given size (PGD). sticker: any change of one square.",
)  # fmt: skip
@click.option(
    "--goal", type=click.Choice([g.value for g in _Goal]), default=_Goal.HARMFUL.value,
    show_default=True,
    help="harmful: harmful answers. missed: harmful answers that the policy's oracle finds "
    "harmless, as they get past a single check.",
)  # fmt: skip
@click.option(
    "--size", type=click.FloatRange(min=0, min_open=True),
    help="l2, linf: the largest change, in pixel values of [0, 1]. sticker: the share of the "
    "picture that it covers. Not for minimum-norm.  [default: l2 4.0, linf 8/255, sticker 0.05]",
)  # fmt: skip
@click.option(
    "--paste", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With sticker: paste this picture in place of an optimised one.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=80, show_default=True)
@click.option("--restarts", type=click.IntRange(min=1), default=2, show_default=True,
              help="The first starts at the picture itself, the others at random.")  # fmt: skip
@click.option("--prompt", default="What is shown in this picture?", show_default=True)
@click.option(
    "--target", "targets", multiple=True,
    help="Answer to aim for; may be given several times. Default: what the built-in model can say.",
)  # fmt: skip
@click.option("--policy", default="default", show_default=True,
              help=f"Policy file, or the name of a shipped one: {', '.join(shipped_names())}. "
              "Its oracle judges, and --through-guard takes its noise.")  # fmt: skip
@click.option("--through-guard", is_flag=True,
              help="Attack through the policy's own canvas and noise, as one who knows the guard "
              "would (expectation over transformation).")  # fmt: skip
@click.option("--draws", type=click.IntRange(min=1), default=4, show_default=True,
              help="Noisy copies per step, with --through-guard.")  # fmt: skip
@click.option("--upstream", default="builtin", show_default=True,
              help="builtin or transformers:ID_OR_FOLDER: only models in this process have "
              "gradients.")  # fmt: skip
@click.option("--tries", type=click.IntRange(min=1), default=20, show_default=True,
              help="Answers drawn to see whether half of them reach the goal.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help="Where to write it (PNG).  [default: IMAGE.attacked.png]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(image: Path, out: Path | None, as_json: bool, **given: Any) -> None:
    """Attack IMAGE by a local model's own gradients.

    The distance is measured on the picture as it is written, in 8-bit pixels of its own size, as
    certificates measure it. Exit code 1: the goal was not reached; minimum-norm then writes
    nothing, the others write the best that they found.
    """
    from guardrail.cli.output import require_writable

    options = _read_options(given)
    target = out or image.with_suffix(".attacked.png")
    require_writable(target)
    with asyncio.Runner() as runner:
        facts = _run(runner, image, target, options)
    click.echo(json.dumps(facts) if as_json else _in_words(facts))
    if not facts["reached"]:
        raise SystemExit(1)


def _read_options(given: dict[str, Any]) -> _Options:
    """Raises click.UsageError where options contradict each other."""
    attack, goal = _Attack(given.pop("attack")), _Goal(given.pop("goal"))
    if attack is _Attack.MINIMUM_NORM and given["size"] is not None:
        raise click.UsageError("--size: minimum-norm looks for the smallest size itself")
    if given["paste"] is not None and attack is not _Attack.STICKER:
        raise click.UsageError("--paste: only with --attack sticker")
    size = given.pop("size")
    given["size"] = _DEFAULT_SIZE.get(attack, 0.0) if size is None else size
    if attack is _Attack.STICKER and given["size"] >= 1:
        raise click.UsageError("--size: a sticker covers a share of the picture below 1")
    return _Options(attack=attack, goal=goal, **given)


def _run(runner: asyncio.Runner, image: Path, target: Path, options: _Options) -> dict[str, Any]:
    """The attack, in this thread, so that Ctrl-C ends it."""
    from guardrail.assembly import read_oracle, read_policy
    from guardrail.attack.tensors import distances
    from guardrail.images.encode import encode_image

    pixels = _read(image)
    upstream = _open_upstream(options.upstream)
    policy = read_policy(options.policy)
    oracle = read_oracle(None, policy)
    try:
        loaded = upstream.load()
        check = _make_check(loaded, oracle, runner, options)
        aims = _choose_aims(oracle, runner, options)
        view = _make_view(policy, upstream, options) if options.through_guard else None
        found = _attack(loaded, pixels, aims, check, options, view)
        before = _facts_of(check, pixels)
        after = None if found is None else _facts_of(check, found)
    finally:
        runner.run(oracle.aclose())
        runner.run(upstream.aclose())
    facts: dict[str, Any] = {"attack": options.attack, "goal": options.goal, "before": before}
    if found is None or after is None:
        return {**facts, "reached": False, "file": None}
    target.write_bytes(encode_image(found, "png"))
    moved = distances(found, pixels)
    return {
        **facts,
        "reached": after["wanted"] >= 0.5,
        "file": str(target),
        **moved,
        "after": after,
    }


def _open_upstream(spec: str) -> TransformersLocal:
    """Raises ConfigError where the model is none of this process."""
    from guardrail.errors import ConfigError
    from guardrail.upstreams.registry import build_upstream, is_local
    from guardrail.upstreams.transformers_local import TransformersLocal

    upstream = build_upstream(spec) if is_local(spec) else None
    if not isinstance(upstream, TransformersLocal):
        raise ConfigError(
            "an attack needs the model's gradients, which only models in this process have; give "
            "builtin or transformers:ID_OR_FOLDER, for a remote model a local one like it",
            field="upstream",
        )
    return upstream


def _read(image: Path) -> Pixels:
    from guardrail.errors import RequestError
    from guardrail.files import read_file
    from guardrail.images.codec import decode_image
    from guardrail.images.limits import ImageLimits

    limits = ImageLimits()
    data = read_file(image, "picture", max_bytes=limits.max_bytes, error=RequestError)
    return decode_image(data, declared_media_type=None, limits=limits, param=str(image)).pixels


def _make_check(
    loaded: Loaded, oracle: Oracle, runner: asyncio.Runner, options: _Options
) -> SampledCheck:
    """Which answers are wanted: the built-in model's harm is known, others' is what oracles say.

    Raises:
        ConfigError: missed harm is looked for in a model whose harm only the oracle tells.
    """
    from guardrail.attack.sampled_check import SampledCheck
    from guardrail.builtin.language import is_harmful
    from guardrail.errors import ConfigError
    from guardrail.oracles.base import Exchange
    from guardrail.types import Outcome

    is_known = options.upstream == "builtin"
    if options.goal is _Goal.MISSED and not is_known:
        raise ConfigError(
            "what an oracle misses can only be told where the truth about answers is known, as of "
            "the built-in model; give --goal harmful, or --upstream builtin",
            field="goal",
        )

    def find_harm(texts: Sequence[str]) -> list[bool]:
        judged = runner.run(oracle.judge([Exchange(options.prompt, text) for text in texts]))
        return [one.outcome is Outcome.HARMFUL for one in judged]

    def wants(texts: Sequence[str]) -> list[bool]:
        match options.goal:
            case _Goal.HARMFUL:
                return [is_harmful(text) for text in texts] if is_known else find_harm(texts)
            case _Goal.MISSED:
                found = find_harm(texts)
                return [is_harmful(t) and not f for t, f in zip(texts, found, strict=True)]
            case _:
                assert_never(options.goal)

    return SampledCheck(loaded, options.prompt, wants, options.tries, options.seed)


def _choose_aims(oracle: Oracle, runner: asyncio.Runner, options: _Options) -> tuple[str, ...]:
    """Raises ConfigError where the oracle misses nothing."""
    from guardrail.attack.aims import find_missed_answers, unmistakable_answers

    if options.targets:
        return options.targets
    match options.goal:
        case _Goal.HARMFUL:
            return unmistakable_answers()
        case _Goal.MISSED:
            return runner.run(find_missed_answers(oracle, options.prompt))
        case _:
            assert_never(options.goal)


def _make_view(policy: Policy, upstream: TransformersLocal, options: _Options) -> GuardView:
    """What the policy's guard makes of pictures for this model. Raises ConfigError."""
    from guardrail.attack.guard_view import GuardView
    from guardrail.policy.compile import compile_policy

    return GuardView(compile_policy(policy), options.seed, upstream=upstream)


def _attack(
    loaded: Loaded,
    pixels: Pixels,
    aims: tuple[str, ...],
    check: SampledCheck,
    options: _Options,
    view: GuardView | None,
) -> Pixels | None:
    """The picture that was found; None where none of the smallest reaches the goal."""
    from guardrail.attack.objectives import PictureLoss
    from guardrail.cli.progress import progress_bar

    if options.paste is not None:
        return _paste(pixels, options, options.paste)
    loss = PictureLoss(_objective(loaded, pixels, aims, options), view)
    with progress_bar("attacking", options.steps * options.restarts) as advance:
        return _search(loss, pixels, check, options, advance)


def _objective(
    loaded: Loaded, pixels: Pixels, aims: tuple[str, ...], options: _Options
) -> Objective:
    from guardrail.attack.aims import likeliest
    from guardrail.attack.objectives import AnswerMargin, FirstTokenMargin
    from guardrail.attack.surrogate import Surrogate

    surrogate = Surrogate(loaded, options.prompt, pixels)
    match options.goal:
        case _Goal.HARMFUL:
            return FirstTokenMargin(surrogate, aims)
        case _Goal.MISSED:
            return AnswerMargin(surrogate, likeliest(surrogate, pixels, aims, _AIMS))
        case _:
            assert_never(options.goal)


def _search(
    loss: Loss,
    pixels: Pixels,
    check: SampledCheck,
    options: _Options,
    advance: Callable[[], None],
) -> Pixels | None:
    from guardrail.attack.minimum_norm import MinimumNormSettings, find_smallest_change
    from guardrail.attack.pgd import AttackSettings, Norm, attack
    from guardrail.attack.sticker import StickerSettings, attack_by_sticker

    effort: dict[str, int] = {
        "steps": options.steps, "restarts": options.restarts, "draws": options.draws,
        "seed": options.seed,
    }  # fmt: skip
    match options.attack:
        case _Attack.MINIMUM_NORM:
            smallest = MinimumNormSettings(**effort)
            found = find_smallest_change(loss, pixels, smallest, is_reached=check, progress=advance)
            return None if found is None else found.pixels
        case _Attack.L2 | _Attack.LINF:
            settings = AttackSettings(Norm(options.attack), options.size, **effort)
            return attack(loss, pixels, settings, progress=advance).pixels
        case _Attack.STICKER:
            sticker = StickerSettings(options.size, **effort)
            return attack_by_sticker(loss, pixels, sticker, progress=advance).pixels
        case _:
            assert_never(options.attack)


def _paste(pixels: Pixels, options: _Options, file: Path) -> Pixels:
    """The picture with another one pasted in, at a random place. Raises ConfigError."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    from guardrail.attack.sticker import StickerSettings, draw_squares, paste_sticker
    from guardrail.errors import ConfigError

    settings = StickerSettings(options.size, seed=options.seed)
    height, width = pixels.shape[:2]
    (square,) = draw_squares(height, width, settings)
    try:
        with Image.open(file) as opened:
            sticker = np.asarray(opened.convert("RGBA"))
    except (OSError, UnidentifiedImageError) as error:
        raise ConfigError("is no picture that can be read", field="paste") from error
    return paste_sticker(pixels, sticker, square)


def _facts_of(check: SampledCheck, pixels: Pixels) -> dict[str, Any]:
    """The answers, and the share of them that is wanted."""
    answers = check.answers(pixels)
    wanted = sum(check.wants(answers)) / len(answers)
    return {"wanted": wanted, "answers": answers}


def _in_words(facts: dict[str, Any]) -> str:
    lines = []
    if facts["file"] is None:
        lines.append(
            "found no change that reaches the goal; raise --steps or --restarts, or look for the "
            "best change of a given size with --attack l2"
        )
    else:
        size = f"l2 {facts['l2']:.3f}, linf {facts['linf']:.4f}"
        lines.append(
            f"wrote {facts['file']}: {size} ({facts['rms_levels']:.2f} levels of 255 on average)"
        )
    for name in ("before", "after"):
        if name in facts:
            share = f"{facts[name]['wanted']:.0%} of the answers are {facts['goal']}"
            lines += [f"{name}: {share}", *(f"  {text}" for text in facts[name]["answers"])]
    return "\n".join(lines)
