"""The questions of randomized smoothing for generative models (arXiv 2509.16088), as it runs.

    python benchmarks/paper/run.py                                  # goes on where it stopped
    python benchmarks/paper/run.py --upstream transformers:ORG/MODEL --step MODEL
    python benchmarks/paper/run.py --tables                         # page and figures alone

Measures by kind: `law` (no model: the laws and published tables), `growth` (certificates with n up
to 10,000), `classes` and `colour` (harm, action and meaning), `jailbreak` (pictures driven to
harm), `demo` (the pictures that ship with the package) and `cost` (calls of a decision).
`results/STEP.jsonl` keeps a row for each scene that is done; README.md and the figures are made
from all results.

Scenes need the Noto Color Emoji font; `jailbreak` a local model of LLaVA's architecture, `meaning`
the extra `embedding`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))
import law
from page import write_page

from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
_LONG = ("jailbreak", "growth")
KINDS = ("classes", "colour", "cost", "demo", *_LONG)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--step", default="built-in model", help="its name on the page")
    parser.add_argument("--policy", default="default")
    parser.add_argument("--upstream", default="builtin", help="or transformers:ID_OR_FOLDER, …")
    parser.add_argument("--kinds", nargs="+", choices=("law", *KINDS), default=("law", *KINDS))
    parser.add_argument("--minutes", type=float, default=60.0, help="no scene begins later")
    parser.add_argument("--most", type=int, default=10_000, help="draws of a scene of growth")
    parser.add_argument("--draws", type=int, default=200, help="of every other picture")
    parser.add_argument("--scenes", type=int, default=20, help="of each kind but these, at most")
    parser.add_argument("--few", type=int, default=4, help="scenes of growth and jailbreak")
    parser.add_argument("--seed", type=int, default=2509)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    args = parser.parse_args(arguments)
    (args.out / "results").mkdir(parents=True, exist_ok=True)
    if not args.tables and "law" in args.kinds:
        (args.out / "results" / "law.json").write_text(json.dumps(law.measure(), indent=1) + "\n")
    if not args.tables and set(args.kinds) != {"law"}:
        _measure(args)
    write_page(args.out)


def _measure(args: argparse.Namespace) -> None:
    """Appends a row for each scene that is done, and stops before the next once time is up."""
    from measuring import Measuring

    file = args.out / "results" / f"{args.step.replace(' ', '_')}.jsonl"
    measuring = Measuring(args.policy, args.upstream, args.seed, args.draws, args.most)
    engine = measuring.engine
    head = {
        "type": "run", "step": args.step, "policy": args.policy, "upstream": args.upstream,
        "policy_digest": engine.rules.digest, "model": engine.upstream.revision,
        "oracle": engine.oracle.revision, "sigma": engine.rules.sigma,
        "alpha": engine.rules.alpha, "draws": args.draws, "most": args.most, "seed": args.seed,
        "code_version": __version__,
    }  # fmt: skip
    done = _read(file, head)
    deadline = time.monotonic() + 60 * args.minutes
    try:
        for kind, number in _order(args.scenes, args.few):
            if kind not in args.kinds or (kind, number) in done:
                continue
            if time.monotonic() > deadline:
                break
            rows = list(getattr(measuring, kind)(number))
            with file.open("a") as lines:
                for row in rows:
                    lines.write(json.dumps({"type": kind, "scene": number, **row}) + "\n")
                lines.write(json.dumps({"type": "done", "kind": kind, "scene": number}) + "\n")
            print(kind, number, *rows, sep="\n  ", flush=True)
    finally:
        measuring.close()


def _order(scenes: int, few: int) -> Iterator[tuple[str, int]]:
    """What takes seconds a scene first, each kind in turn; then what takes minutes."""
    for kinds, count in ((("classes", "colour", "cost", "demo"), scenes), (_LONG, few)):
        for number in range(count):
            yield from ((kind, number) for kind in kinds)


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
