"""Attacks on the built-in model, bare and behind the guard, and how far they lie beyond the proof.

Measures fresh scenes one after the other until the time is used up and keeps each in a file, so
that a later call goes on where this one stopped. The table has one column a step: a policy and a
model, by the name that they are given here.

    python benchmarks/attack_sweep/run.py --step "default" --minutes 20
    python benchmarks/attack_sweep/run.py --step "small canvas" --policy FILE --minutes 20
    python benchmarks/attack_sweep/run.py --step "other model" --upstream transformers:FOLDER
    python benchmarks/attack_sweep/run.py --step "further threats" --kinds further black_box
    python benchmarks/attack_sweep/run.py --step "further threats with crops" --kinds further
        --policy FILE --attacks none frame caption         # all of it on one line
    python benchmarks/attack_sweep/run.py --step "further threats with crops" --kinds black_box
        --policy FILE --attacks none frame caption         # the same step, so the same words
    python benchmarks/attack_sweep/run.py --tables         # from what was measured

Needs the `local` extra and the Noto Color Emoji font.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from further import ask_black_box, attack_further
from measuring import Effort, Sweep
from tables import write_tables

from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
KINDS = ("stability", "evasion", "through", "attacks")
FURTHER = ("further", "black_box")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--step", default="default", help="its name in the tables")
    parser.add_argument("--policy", default="default")
    parser.add_argument("--upstream", default="builtin", help="builtin or transformers:FOLDER")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument(
        "--smallest-of",
        metavar="STEP",
        help="take the smallest changes from a step of the same model, oracle, effort and seed: "
        "they do not depend on the policy",
    )
    parser.add_argument("--scenes", type=int, default=30, help="of each kind, at most")
    parser.add_argument("--kinds", nargs="+", choices=(*KINDS, *FURTHER), default=KINDS,
                        help="what to measure")  # fmt: skip
    parser.add_argument("--few", type=int, default=6, help="scenes of the tables of attacks")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="FOLDER",
        help="of further attacks: keep what was attacked there, and take what is there already, "
        "so that other policies decide about the same pictures and prompts",
    )
    parser.add_argument(
        "--attacks",
        nargs="+",
        metavar="WORD",
        help="of further attacks: only those whose name begins with one of these words",
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--variants", type=int, default=100)
    parser.add_argument("--seed", type=int, default=99)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    args = parser.parse_args()
    file = _file(args, args.step)
    if not args.tables:
        file.parent.mkdir(exist_ok=True)
        _measure(args, file)
    write_tables(args.out)


def _file(args: argparse.Namespace, step: str) -> Path:
    folder: Path = args.out / "results"
    return folder / f"{step.replace(' ', '_')}.jsonl"


_OF_BARE = ("model", "oracle", "steps", "restarts", "seed")
"""What the smallest changes depend on."""


def _read_smallest(file: Path, head: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    if changed := [name for name in _OF_BARE if rows[0][name] != head[name]]:
        raise SystemExit(f"{file} is of another {', '.join(changed)}")
    return {
        (row["type"], row["scene"]): {
            name: row[name] for name in ("l2", "l2_twice_the_steps", "already")
        }
        for row in rows
        if row["type"] in ("stability", "evasion")
    }


def _measure(args: argparse.Namespace, file: Path) -> None:
    """Appends a row for each scene that is done, and stops before the next once time is up."""
    effort = Effort(args.steps, args.restarts, args.variants)
    sweep = Sweep(args.policy, args.upstream, args.seed, effort)
    head = {
        "type": "run", "step": args.step, "policy": args.policy, "upstream": args.upstream,
        "policy_digest": sweep.engine.rules.digest, "model": sweep.engine.upstream.revision,
        "oracle": sweep.engine.oracle.revision, "steps": args.steps, "restarts": args.restarts,
        "variants": args.variants, "seed": args.seed, "code_version": __version__,
        "sigma": sweep.engine.rules.sigma, "alpha": sweep.engine.rules.alpha,
        **({"attacks": args.attacks} if args.attacks else {}),
    }  # fmt: skip
    if args.smallest_of:
        sweep.smallest = _read_smallest(_file(args, args.smallest_of), head)
    done = _read(file, head)
    deadline = time.monotonic() + 60 * args.minutes
    try:
        for kind, number in _order(args.scenes, args.few):
            if kind not in args.kinds or (kind, number) in done:
                continue
            if time.monotonic() > deadline:
                break
            found = _measures(args, sweep)[kind](number)
            rows = [found] if isinstance(found, dict) else list(found)
            with file.open("a") as log:
                for row in rows:
                    log.write(json.dumps({"type": kind, "scene": number, **row}) + "\n")
                log.write(json.dumps({"type": "done", "kind": kind, "scene": number}) + "\n")
            print(kind, number, *rows, sep="\n  ", flush=True)
    finally:
        sweep.close()


def _measures(args: argparse.Namespace, sweep: Sweep) -> dict[str, Callable[[int], Any]]:
    names = tuple(args.attacks or [""])
    return {
        "stability": sweep.stability,
        "evasion": sweep.evasion,
        "through": sweep.through,
        "attacks": sweep.attacks,
        "further": lambda number: attack_further(sweep, number, args.pictures, names),
        "black_box": lambda number: ask_black_box(sweep, number),
    }


def _order(scenes: int, few: int) -> Iterator[tuple[str, int]]:
    """The two gaps first among equals: a run that is cut short has some of everything."""
    for number in range(scenes):
        yield "stability", number
        yield "evasion", number
        if number < few:
            yield "through", number
            yield "attacks", number
            yield "further", number
            yield "black_box", number


def _read(file: Path, head: dict[str, Any]) -> set[tuple[str, int]]:
    """What is done already. Ends the program where the file is of another run."""
    if not file.exists():
        file.write_text(json.dumps(head) + "\n")
        return set()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    if rows[0] != head:
        changed = [name for name in head if rows[0].get(name) != head[name]]
        raise SystemExit(f"{file} is of another run ({', '.join(changed)}); give --step a new name")
    return {(row["kind"], row["scene"]) for row in rows if row["type"] == "done"}


if __name__ == "__main__":
    main()
