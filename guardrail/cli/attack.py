"""`guardrail attack`: make a picture that makes a model say what it should not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from guardrail.types import Pixels

__all__ = ["command"]


@click.command("attack")
@click.argument("image", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--norm", type=click.Choice(["l2", "linf"]), default="l2", show_default=True)
@click.option(
    "--eps", type=click.FloatRange(min=0, min_open=True), default=4.0, show_default=True,
    help="Largest change, in pixel values of [0, 1].",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=60, show_default=True)
@click.option("--restarts", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--prompt", default="What is shown in this picture?", show_default=True)
@click.option(
    "--target", "targets", multiple=True,
    help="Answer to aim for; may be given several times. Default: abuse in the built-in model's "
    "words.",
)  # fmt: skip
@click.option(
    "--sigma", type=click.FloatRange(min=0), default=0.0, show_default=True,
    help="Attack through the guard's noise of this size, as one who knows the defence would.",
)  # fmt: skip
@click.option("--draws", type=click.IntRange(min=1), default=4, show_default=True,
              help="Noisy copies per step, with --sigma.")  # fmt: skip
@click.option("--canvas-max-side-px", type=click.IntRange(min=8), default=224, show_default=True)
@click.option("--model", default="builtin", show_default=True,
              help="builtin, or a Hugging Face id or folder.")  # fmt: skip
@click.option("--tries", type=click.IntRange(min=1), default=10, show_default=True,
              help="Answers drawn before and after, to see what changed.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help="Where to write it (PNG).  [default: IMAGE.attacked.png]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(image: Path, out: Path | None, as_json: bool, tries: int, **options: Any) -> None:
    """Attack IMAGE: projected gradient descent on a local model's own gradients.

    The distance is measured on the picture as it is written, in 8-bit pixels of its own size.
    """
    from guardrail.attack.pgd import distances
    from guardrail.cli.output import require_writable
    from guardrail.cli.progress import progress_bar
    from guardrail.images.encode import encode_image

    target = out or image.with_suffix(".attacked.png")
    require_writable(target)
    upstream = _upstream(options["model"])
    pixels = _read(image)
    with progress_bar("attacking", options["steps"] * options["restarts"]) as advance:
        attacked, loss = _attack(upstream, pixels, options, advance)
    before, after = _answers(upstream, options["prompt"], (pixels, attacked), tries)
    target.write_bytes(encode_image(attacked, "png"))
    facts = {
        "file": str(target), "loss": loss, **distances(attacked, pixels),
        "before": before, "after": after,
    }  # fmt: skip
    click.echo(json.dumps(facts) if as_json else _in_words(facts))


def _upstream(model: str) -> Any:
    from guardrail.upstreams.builtin import builtin_upstream
    from guardrail.upstreams.transformers_local import TransformersLocal

    return builtin_upstream() if model == "builtin" else TransformersLocal(model)


def _read(image: Path) -> Pixels:
    from guardrail.errors import RequestError
    from guardrail.files import read_file
    from guardrail.images.codec import decode_image
    from guardrail.images.limits import ImageLimits

    limits = ImageLimits()
    data = read_file(image, "picture", max_bytes=limits.max_bytes, error=RequestError)
    return decode_image(data, declared_media_type=None, limits=limits, param=str(image)).pixels


def _attack(upstream: Any, pixels: Pixels, options: dict[str, Any], advance: Any) -> Any:
    from guardrail.attack.pgd import AttackSettings, Norm, attack
    from guardrail.attack.surrogate import Noise, Surrogate
    from guardrail.builtin.language import ABUSIVE_EXAMPLES

    noise = Noise(options["sigma"], options["canvas_max_side_px"]) if options["sigma"] else None
    settings = AttackSettings(
        norm=Norm(options["norm"]),
        epsilon=options["eps"],
        steps=options["steps"],
        restarts=options["restarts"],
        draws=options["draws"],
        noise=noise,
        seed=options["seed"],
    )
    targets = options["targets"] or ABUSIVE_EXAMPLES
    surrogate = Surrogate(upstream.load(), options["prompt"], targets, pixels)
    found = attack(surrogate, pixels, settings, progress=advance)
    return found.pixels, found.loss


def _answers(
    upstream: Any, prompt: str, pictures: tuple[Pixels, ...], tries: int
) -> list[list[str]]:
    import asyncio

    from guardrail.types import picture_chat

    chat = picture_chat(upstream.name, prompt)

    async def ask() -> list[list[str]]:
        try:
            return [
                [
                    answer.text
                    for answer in await asyncio.gather(
                        *(upstream.complete(chat, [pixels], seed=i) for i in range(tries))
                    )
                ]
                for pixels in pictures
            ]
        finally:
            await upstream.aclose()

    return asyncio.run(ask())


def _in_words(facts: dict[str, Any]) -> str:
    size = f"l2 {facts['l2']:.3f}, linf {facts['linf']:.4f}"
    lines = [f"wrote {facts['file']}: {size} ({facts['rms_levels']:.2f} levels of 255 on average)"]
    for name in ("before", "after"):
        lines += [f"{name}:", *(f"  {text}" for text in facts[name])]
    return "\n".join(lines)
