"""`guardrail attack`: make a picture, or a question, that makes a model say what it should not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.attack_options import SEARCHES, AttackGoal, AttackKind, read_options
from guardrail.policy.shipped import shipped_names
from guardrail.printable import show_text

if TYPE_CHECKING:
    from guardrail.attack.sampled_check import SampledCheck
    from guardrail.cli.attack_options import AttackOptions
    from guardrail.oracles.base import Oracle
    from guardrail.types import Pixels

__all__ = ["command"]


@click.command("attack")
@click.argument("image", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--attack", type=click.Choice([a.value for a in AttackKind]), show_default=True,
    default=AttackKind.MINIMUM_NORM.value,
    help="minimum-norm: the smallest l2 change that reaches the goal (DDN). l2, linf: the best "
    "change of a given size (PGD). sticker, frame: any change of one square, or of the border. "
    "caption: words on a band below. collage: the picture made smaller, beside another. suffix: "
    "words behind the question. square, sticker-search: random search by answers alone, for a "
    "small change of every pixel or for any change of one square.",
)  # fmt: skip
@click.option(
    "--goal", type=click.Choice([g.value for g in AttackGoal]), default=AttackGoal.HARMFUL.value,
    show_default=True,
    help="harmful: harmful answers. missed: harmful answers that the policy's oracle finds "
    "harmless, as they get past a single check. harmless: harmless answers, as to what must pass.",
)  # fmt: skip
@click.option(
    "--size", type=click.FloatRange(min=0, min_open=True),
    help="l2, linf, square: the largest change, in pixel values of [0, 1]. sticker, frame, "
    "caption, sticker-search: the share of the picture that it covers. collage: the share of the "
    "width that the picture is left. Not for others.  [default: l2 4.0, linf 8/255, square 16/255, "
    "sticker 0.05, frame 0.2, caption 0.15, sticker-search 0.1, collage 0.5]",
)  # fmt: skip
@click.option(
    "--paste", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With sticker and frame: paste this picture in place of an optimised one. With collage: "
    "the other picture.",
)  # fmt: skip
@click.option("--caption", metavar="TEXT", help="With caption: its words.")
@click.option(
    "--place", type=click.Choice(("random", "on", "beside")), default="random", show_default=True,
    help="With sticker: where it lies, anywhere, on the thing that is shown or beside it.",
)  # fmt: skip
@click.option(
    "--thing", type=int, nargs=4, metavar="LEFT TOP RIGHT BOTTOM",
    help="With --place: the box in pixels that the thing lies in.",
)  # fmt: skip
@click.option("--words", type=click.IntRange(1, 100),
              help="With suffix: at most so many.  [default: 6]")  # fmt: skip
@click.option(
    "--url", metavar="URL",
    help="With square and sticker-search: ask this OpenAI-compatible server, such as a guard at "
    "http://127.0.0.1:8080/v1, in place of a model in this process. Only ask servers that you "
    "may attack; every request says in its user-agent what it is.",
)  # fmt: skip
@click.option("--model", help="With --url: the server's name of the model.  "
              "[default: guardrail-builtin]")  # fmt: skip
@click.option(
    "--key-env", "key_variable", metavar="NAME", default="GUARDRAIL_API_KEY", show_default=True,
    help="With --url: the variable that holds an API key, where the server takes keys.",
)  # fmt: skip
@click.option("--queries", type=click.IntRange(1, 100_000),
              help="With square and sticker-search: ask at most so often.  "
              "[default: 200]")  # fmt: skip
@click.option("--per-minute", type=click.FloatRange(min=0, min_open=True),
              help="With --url: ask no faster.  [default: 60]")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=80, show_default=True)
@click.option("--restarts", type=click.IntRange(min=1), default=2, show_default=True,
              help="The first starts at the picture itself, the others at random. With suffix: how "
              "often each word is tried, the first time it is added.")  # fmt: skip
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
    """Attack IMAGE by a local model's own gradients, or by a model's or a server's answers.

    The distance is measured on the picture as it is written, in 8-bit pixels of its own size, as
    certificates measure it. Exit code 1: the goal was not reached; minimum-norm then writes
    nothing, the others write the best that they found. suffix writes no picture: it prints words.
    """
    from guardrail.cli.output import require_writable

    options = read_options(given)
    target = out or image.with_suffix(".attacked.png")
    require_writable(target)
    with asyncio.Runner() as runner:
        facts = _run(runner, image, target, options)
    click.echo(json.dumps(facts) if as_json else _in_words(facts))
    if not facts["reached"]:
        raise SystemExit(1)


def _run(
    runner: asyncio.Runner, image: Path, target: Path, options: AttackOptions
) -> dict[str, Any]:
    """The attack, in this thread, so that Ctrl-C ends it."""
    from guardrail.assembly import read_oracle, read_policy
    from guardrail.cli.attack_queries import search_server
    from guardrail.cli.attack_search import make_wants, read_picture

    pixels = read_picture(image)
    oracle = read_oracle(None, read_policy(options.policy))
    try:
        if options.url is not None:
            wants = make_wants(oracle, runner, options, options.prompt)
            found, facts = search_server(options, options.url, pixels, wants)
            return {**_facts_of_file(target, found, pixels), **facts}
        return _run_here(runner, oracle, pixels, target, options)
    finally:
        runner.run(oracle.aclose())


def _run_here(
    runner: asyncio.Runner, oracle: Oracle, pixels: Pixels, target: Path, options: AttackOptions
) -> dict[str, Any]:
    """Against a model in this process."""
    from guardrail.assembly import read_policy
    from guardrail.cli import attack_search as search
    from guardrail.cli.attack_queries import search_bare

    upstream = search.open_local(options.upstream)
    facts: dict[str, Any] = {"attack": options.attack, "goal": options.goal}
    prompt, found = options.prompt, None
    try:
        loaded = upstream.load()
        check = search.make_check(loaded, oracle, runner, options, prompt)
        facts["before"] = _facts_of(check, pixels)
        if options.attack in SEARCHES:
            found, counted = search_bare(options, loaded, pixels, check.wants)
            facts |= counted
        elif options.attack is AttackKind.SUFFIX:
            aims = search.choose_aims(oracle, runner, options)
            prompt = search.search_suffix(loaded, pixels, aims, options).prompt
            check = search.make_check(loaded, oracle, runner, options, prompt)
            facts |= {"prompt": prompt, "file": None, "after": _facts_of(check, pixels)}
        else:
            aims = search.choose_aims(oracle, runner, options)
            policy = read_policy(options.policy)
            view = search.make_view(policy, upstream, options) if options.through_guard else None
            found = search.search_picture(loaded, pixels, aims, check, options, view)
        if found is not None:
            facts |= {**_facts_of_file(target, found, pixels), "after": _facts_of(check, found)}
    finally:
        runner.run(upstream.aclose())
    reached = "after" in facts and facts["after"]["wanted"] >= 0.5
    return {"file": None, **facts, "reached": reached}


def _facts_of_file(target: Path, found: Pixels, pixels: Pixels) -> dict[str, Any]:
    """Writes the picture, and says how far it was moved."""
    from guardrail.attack.tensors import distances
    from guardrail.images.encode import encode_image

    target.write_bytes(encode_image(found, "png"))
    return {"file": str(target), **distances(found, pixels)}


def _facts_of(check: SampledCheck, pixels: Pixels) -> dict[str, Any]:
    """The answers, and the share of them that is wanted."""
    answers = check.answers(pixels)
    wanted = sum(check.wants(answers)) / len(answers)
    return {"wanted": wanted, "answers": answers}


def _in_words(facts: dict[str, Any]) -> str:
    lines = []
    if "prompt" in facts:
        lines.append(f"the question: {show_text(facts['prompt'])}")
    elif facts["file"] is None:
        lines.append(
            "found no change that reaches the goal; raise --steps or --restarts, or look for the "
            "best change of a given size with --attack l2"
        )
    else:
        size = f"l2 {facts['l2']:.3f}, linf {facts['linf']:.4f}"
        lines.append(
            f"wrote {facts['file']}: {size} ({facts['rms_levels']:.2f} levels of 255 on average)"
        )
    if "queries" in facts:
        lines.append(
            f"{facts['queries']} queries: {facts['passed']} passed, {facts['blocked']} blocked, "
            f"{facts['faults']} failed; {facts['delivered']} delivered what was looked for; "
            f"ended: {facts['end']}"
        )
        if facts["cause"]:
            lines.append(f"the last fault: {facts['cause']}")
    for name in ("before", "after"):
        if name in facts:
            share = f"{facts[name]['wanted']:.0%} of the answers are {facts['goal']}"
            lines += [f"{name}: {share}", *(f"  {text}" for text in facts[name]["answers"])]
    return "\n".join(lines)
