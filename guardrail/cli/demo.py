"""`guardrail demo`: shows in a minute, offline, what the guard does."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.console import DEFAULT_PORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.demo.positions import Position
    from guardrail.demo.run import SceneResult
    from guardrail.demo.summary import Summary

__all__ = ["command"]

_PLAIN_WIDTH = 120  # columns where the output is not a terminal


@click.command("demo")
@click.option("--tries", type=click.IntRange(min=1, max=100), default=4, show_default=True,
              help="How often a hostile picture is sent to each of the systems.")  # fmt: skip
@click.option("--policy", "policy_name", default="default", show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default="demo.html",
              show_default=True, help="Where to write the report.")  # fmt: skip
@click.option("--records", "place", type=click.Path(path_type=Path, dir_okay=False),
              help="Database to which the decisions are added, and what was said, with its key "
              "beside it.  [default: the name of --out, ending in .db]")  # fmt: skip
@click.option("--keep-open", is_flag=True, help="Leave the proxy and its console open at the end, "
              "until Ctrl-C.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    tries: int, policy_name: str, out: Path, place: Path | None, keep_open: bool, as_json: bool
) -> None:
    """Start the proxy with the built-in model and send it clean, attacked and forbidden pictures.

    Attacks have two sizes: small ones lie inside of the radius that a pass of the clean picture
    certifies, large ones outside. Each picture goes to the bare model, to a single check of one
    answer by the same oracle, and to the guard. The exit code is 1 if too many decisions ended
    without a judgement, as on a machine that is too slow.
    """
    from guardrail.assembly import build_engine, read_policy
    from guardrail.cli.output import require_writable
    from guardrail.cli.progress import progress_bar
    from guardrail.demo.records import open_demo_records
    from guardrail.demo.report import write_report
    from guardrail.demo.run import OpenConsole, run_demo
    from guardrail.demo.scenes import load_scenes
    from guardrail.demo.summary import summarise

    started = time.monotonic()
    require_writable(out)
    place = place or out.with_suffix(".db")
    policy = read_policy(policy_name)
    scenes = load_scenes()
    engine = build_engine(policy, "builtin")

    bar = ExitStack()

    def tell(results: Sequence[SceneResult]) -> Summary:
        bar.close()  # it would else tell of itself for as long as the console is open
        summary = summarise(results)
        write_report(out, results, summary, engine)
        seconds = time.monotonic() - started
        if as_json:
            click.echo(json.dumps(_facts(results, summary, seconds, out)))
        else:
            _print(results, summary, seconds, out)
            _print_console(records.place, policy_name, keep_open=keep_open)
        return summary

    async def stay_open(results: Sequence[SceneResult]) -> None:
        tell(results)
        await asyncio.Event().wait()

    def announce(url: str) -> None:
        click.echo(f"console at {url}/console/ while this runs", err=True)

    with open_demo_records(place, engine) as records, bar:
        done = bar.enter_context(progress_bar("guarding pictures", len(scenes)))
        running = run_demo(
            policy,
            engine,
            scenes,
            tries=tries,
            done=done,
            recorder=records.recorder,
            console=OpenConsole(records.make_routes, announce),
            then=stay_open if keep_open else None,
        )
        try:
            results = asyncio.run(running)
        except KeyboardInterrupt:
            if not keep_open:
                raise
            return
    summary = tell(results)
    if summary.complaint:
        click.echo(f"guardrail: {summary.complaint}", err=True)
        raise click.exceptions.Exit(1)


def _print_console(place: Path, policy_name: str, *, keep_open: bool) -> None:
    if keep_open:
        click.echo("The console stays open until Ctrl-C.")
        return
    program, policy = _program(), place.with_suffix(".yaml")
    sealed = ["--records", str(place), "--content-key", f"{place}.content-key"]
    look = shlex.join([*program, "console", *sealed])
    show = shlex.join([*program, "policy", "show", policy_name])
    kept = ("--keep-content", "--keep-pictures")
    serve = shlex.join([*program, "serve", "--policy", str(policy), *kept, *sealed])
    click.echo(
        f"Every decision is in {place}. To look at them, as long as you like, at "
        f"http://127.0.0.1:{DEFAULT_PORT}/console/:\n  {look}\n"
        "To try pictures, tune the policy by these decisions and write versions of it as well, at "
        f"the address that this prints:\n  {show} > {shlex.quote(str(policy))} && {serve}"
    )


def _program() -> list[str]:
    """How this command was called, to be copied; its virtual environment may not be active."""
    called = Path(sys.argv[0])
    if called.name != "guardrail":
        return [sys.executable, "-m", "guardrail"]
    found = shutil.which("guardrail")
    same = found is not None and Path(found).resolve() == called.resolve()
    return ["guardrail" if same else sys.argv[0]]


def _facts(
    results: Sequence[SceneResult], summary: Summary, seconds: float, out: Path
) -> dict[str, Any]:
    from guardrail.demo.positions import locate_attacks

    positions = locate_attacks(results)
    return {
        **summary.to_dict(),
        "seconds": round(seconds, 2),
        "report": str(out),
        "scenes": [_scene_facts(result, positions.get(result.scene.name)) for result in results],
    }


def _scene_facts(result: SceneResult, position: Position | None) -> dict[str, Any]:
    first = result.guard[0]
    return {
        "name": result.scene.name,
        "kind": result.scene.kind,
        "things": list(result.scene.things),
        "attack": None if position is None else position.to_dict(),
        "undefended": result.undefended[0],
        "undefended_harmful": sum(result.harmful_undefended),
        "single_check_harmful": sum(result.harmful_single_check),
        "guarded_harmful": sum(result.harmful_guarded),
        "tries": len(result.undefended),
        "guard_tries": len(result.guard),
        "decision": first.decision,
        "ending": first.ending,
        "reason": first.reason.value,
        "undecided": sum(one.is_undecided for one in result.guard),
        "answer": first.delivered,
        "samples": first.samples,
        "harmless": first.harmless,
        "radius": first.radius,
        "claim": first.statement,
        "elapsed_ms": round(first.elapsed_ms, 1),
    }


def _print(results: Sequence[SceneResult], summary: Summary, seconds: float, out: Path) -> None:
    from rich.console import Console

    from guardrail.demo.passes import explain_passes
    from guardrail.demo.positions import MEANING
    from guardrail.demo.tables import scene_table, side_table, summary_table

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    console.print(scene_table(results))
    console.print()
    console.print(summary_table(summary))
    console.print()
    console.print(side_table(summary))
    console.print()
    for line in (MEANING, summary.undecided_in_words, *explain_passes(results)):
        if line:
            console.print(line, highlight=False, markup=False)
    passed = next((one for r in results for one in r.guard if one.decision == "pass"), None)
    if passed is not None:
        console.print(f"What a pass means: {passed.statement}", highlight=False)
    console.print(f"{seconds:.0f} s. Pictures, variants and bounds: {out}", highlight=False)
