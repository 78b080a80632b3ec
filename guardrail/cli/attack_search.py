"""`guardrail attack` against a model in this process: what it looks for, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from guardrail.cli.attack_options import AttackGoal, AttackKind, AttackOptions

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from guardrail.attack.guard_view import GuardView
    from guardrail.attack.objectives import Loss, Objective
    from guardrail.attack.region import Mask
    from guardrail.attack.sampled_check import SampledCheck
    from guardrail.attack.suffix import Suffix
    from guardrail.oracles.base import Oracle
    from guardrail.policy.schema import Policy
    from guardrail.types import Pixels
    from guardrail.upstreams.loading import Loaded
    from guardrail.upstreams.transformers_local import TransformersLocal

__all__ = [
    "choose_aims",
    "make_check",
    "make_view",
    "make_wants",
    "open_local",
    "read_picture",
    "search_picture",
    "search_suffix",
]

_AIMS = 4  # missed answers that are aimed for together


def open_local(spec: str) -> TransformersLocal:
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


def read_picture(image: Path) -> Pixels:
    from guardrail.errors import RequestError
    from guardrail.files import read_file
    from guardrail.images.codec import decode_image
    from guardrail.images.limits import ImageLimits

    limits = ImageLimits()
    data = read_file(image, "picture", max_bytes=limits.max_bytes, error=RequestError)
    return decode_image(data, declared_media_type=None, limits=limits, param=str(image)).pixels


def make_check(
    loaded: Loaded, oracle: Oracle, runner: asyncio.Runner, options: AttackOptions, prompt: str
) -> SampledCheck:
    """Counts the wanted answers to the picture with that question. Raises ConfigError."""
    from guardrail.attack.sampled_check import SampledCheck

    wants = make_wants(oracle, runner, options, prompt)
    return SampledCheck(loaded, prompt, wants, options.tries, options.seed)


def make_wants(
    oracle: Oracle, runner: asyncio.Runner, options: AttackOptions, prompt: str
) -> Callable[[Sequence[str]], list[bool]]:
    """Which answers are wanted: the built-in model's harm is known, others' is what oracles say.

    Raises:
        ConfigError: missed harm is looked for in a model whose harm only the oracle tells.
    """
    from guardrail.builtin.language import is_harmful
    from guardrail.errors import ConfigError
    from guardrail.oracles.base import Exchange
    from guardrail.types import Outcome

    is_known = options.is_truth_known
    if options.goal is AttackGoal.MISSED and not is_known:
        raise ConfigError(
            "what an oracle misses can only be told where the truth about answers is known, as of "
            "the built-in model; give --goal harmful, or --upstream builtin",
            field="goal",
        )

    def find_harm(texts: Sequence[str]) -> list[bool]:
        judged = runner.run(oracle.judge([Exchange(prompt, text) for text in texts]))
        return [one.outcome is Outcome.HARMFUL for one in judged]

    def tell_harm(texts: Sequence[str]) -> list[bool]:
        return [is_harmful(text) for text in texts] if is_known else find_harm(texts)

    def wants(texts: Sequence[str]) -> list[bool]:
        match options.goal:
            case AttackGoal.HARMFUL:
                return tell_harm(texts)
            case AttackGoal.HARMLESS:
                return [not harm for harm in tell_harm(texts)]
            case AttackGoal.MISSED:
                found = find_harm(texts)
                return [is_harmful(t) and not f for t, f in zip(texts, found, strict=True)]
            case _:
                assert_never(options.goal)

    return wants


def choose_aims(oracle: Oracle, runner: asyncio.Runner, options: AttackOptions) -> tuple[str, ...]:
    """Raises ConfigError where the oracle misses nothing."""
    from guardrail.attack.aims import find_missed_answers, plain_answers, unmistakable_answers

    if options.targets:
        return options.targets
    match options.goal:
        case AttackGoal.HARMFUL:
            return unmistakable_answers()
        case AttackGoal.HARMLESS:
            return plain_answers()
        case AttackGoal.MISSED:
            return runner.run(find_missed_answers(oracle, options.prompt))
        case _:
            assert_never(options.goal)


def make_view(policy: Policy, upstream: TransformersLocal, options: AttackOptions) -> GuardView:
    """What the policy's guard makes of pictures for this model. Raises ConfigError."""
    from guardrail.attack.guard_view import GuardView
    from guardrail.policy.compile import compile_policy

    return GuardView(compile_policy(policy), options.seed, upstream=upstream)


def search_picture(
    loaded: Loaded,
    pixels: Pixels,
    aims: tuple[str, ...],
    check: SampledCheck,
    options: AttackOptions,
    view: GuardView | None,
) -> Pixels | None:
    """The picture that was found; None where none of the smallest reaches the goal."""
    from guardrail.attack.frame import write_caption
    from guardrail.attack.objectives import PictureLoss
    from guardrail.cli.progress import progress_bar

    if options.paste is not None:
        return _paste(pixels, options, options.paste)
    if options.caption is not None:
        return write_caption(pixels, options.caption, options.size)
    loss = PictureLoss(_objective(loaded, pixels, aims, options), view)
    with progress_bar("attacking", options.steps * options.restarts) as advance:
        return _search(loss, pixels, check, options, advance)


def _objective(
    loaded: Loaded, pixels: Pixels, aims: tuple[str, ...], options: AttackOptions
) -> Objective:
    from guardrail.attack.aims import likeliest
    from guardrail.attack.objectives import AnswerMargin, FirstTokenMargin
    from guardrail.attack.surrogate import Surrogate

    surrogate = Surrogate(loaded, options.prompt, pixels)
    match options.goal:
        case AttackGoal.HARMFUL | AttackGoal.HARMLESS:
            return FirstTokenMargin(surrogate, aims)
        case AttackGoal.MISSED:
            return AnswerMargin(surrogate, likeliest(surrogate, pixels, aims, _AIMS))
        case _:
            assert_never(options.goal)


def search_suffix(
    loaded: Loaded, pixels: Pixels, aims: tuple[str, ...], options: AttackOptions
) -> Suffix:
    """The question with the words that were found. Raises ConfigError: no vocabulary is known."""
    from guardrail.attack.suffix import PromptMargin, SuffixSettings, find_suffix
    from guardrail.attack.surrogate import Surrogate
    from guardrail.builtin.language import vocabulary
    from guardrail.cli.progress import progress_bar

    surrogate = Surrogate(loaded, options.prompt, pixels)
    loss = PromptMargin(loaded, surrogate, pixels, aims)
    settings = SuffixSettings(options.words, rounds=options.restarts - 1, seed=options.seed)
    with progress_bar("words", options.words * options.restarts) as advance:
        return find_suffix(loss, options.prompt, vocabulary(), settings, progress=advance)


def _search(
    loss: Loss,
    pixels: Pixels,
    check: SampledCheck,
    options: AttackOptions,
    advance: Callable[[], None],
) -> Pixels | None:
    from guardrail.attack.frame import attack_by_frame
    from guardrail.attack.minimum_norm import MinimumNormSettings, find_smallest_change
    from guardrail.attack.pgd import AttackSettings, Norm, attack
    from guardrail.attack.region import RegionSettings
    from guardrail.attack.sticker import Place, attack_by_sticker

    effort: dict[str, int] = {
        "steps": options.steps, "restarts": options.restarts, "draws": options.draws,
        "seed": options.seed,
    }  # fmt: skip
    match options.attack:
        case AttackKind.MINIMUM_NORM:
            smallest = MinimumNormSettings(**effort)
            found = find_smallest_change(loss, pixels, smallest, is_reached=check, progress=advance)
            return None if found is None else found.pixels
        case AttackKind.L2 | AttackKind.LINF:
            settings = AttackSettings(Norm(options.attack), options.size, **effort)
            return attack(loss, pixels, settings, progress=advance).pixels
        case AttackKind.STICKER:
            region = RegionSettings(options.size, **effort)
            thing = _thing(pixels, options)
            place = Place(options.place)
            return attack_by_sticker(
                loss, pixels, region, place=place, thing=thing, progress=advance
            ).pixels
        case AttackKind.FRAME:
            region = RegionSettings(options.size, **effort)
            return attack_by_frame(loss, pixels, region, progress=advance).pixels
        case (
            AttackKind.CAPTION
            | AttackKind.COLLAGE
            | AttackKind.SUFFIX
            | AttackKind.SQUARE
            | AttackKind.STICKER_SEARCH
        ):
            raise AssertionError(f"{options.attack} follows no gradient of the picture")
        case _:
            assert_never(options.attack)


def _thing(pixels: Pixels, options: AttackOptions) -> Mask | None:
    """The box of --thing as a mask. Raises ConfigError where it lies outside the picture."""
    import numpy as np

    from guardrail.errors import ConfigError

    if options.thing is None:
        return None
    left, top, right, bottom = options.thing
    height, width = pixels.shape[:2]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ConfigError(
            f"must be left, top, right and bottom of a box within the {width} x {height} pixels "
            "of the picture",
            field="thing",
        )
    mask = np.zeros((height, width), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def _paste(pixels: Pixels, options: AttackOptions, file: Path) -> Pixels:
    """The picture with another one on it, around it, or beside it. Raises ConfigError."""
    from guardrail.attack.collage import make_collage
    from guardrail.attack.frame import paste_frame
    from guardrail.attack.region import RegionSettings
    from guardrail.attack.sticker import Place, draw_squares, paste_sticker

    if options.attack is AttackKind.FRAME:
        return paste_frame(pixels, _read_pasted(file, "RGB"), options.size)
    if options.attack is AttackKind.COLLAGE:
        return make_collage(pixels, _read_pasted(file, "RGB"), options.size)
    settings = RegionSettings(options.size, seed=options.seed)
    thing = _thing(pixels, options)
    height, width = pixels.shape[:2]
    (square,) = draw_squares(height, width, settings, Place(options.place), thing)
    return paste_sticker(pixels, _read_pasted(file, "RGBA"), square)


def _read_pasted(file: Path, mode: str) -> Pixels:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    from guardrail.errors import ConfigError

    try:
        with Image.open(file) as opened:
            return np.asarray(opened.convert(mode))
    except (OSError, UnidentifiedImageError) as error:
        raise ConfigError("is no picture that can be read", field="paste") from error
