"""`guardrail tune` on fresh scenes of the built-in model, and what its proposal does on others.

Draws scenes with something forbidden in them and clean ones, searches a policy on one half of them
and confirms it on the other, as anybody would; measures the proposed policy on scenes that had no
part in it; and does the same with shuffled labels, which must lead to nothing. Needs the extras
`local` and `encoder`, and the Noto Color Emoji font.

    python benchmarks/tune/run.py              # some ten minutes on two cores
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from guardrail.builtin.kinds import FORBIDDEN, HARMLESS
from guardrail.builtin.scenes import FONT_PATH, SpriteBank, draw_scene
from guardrail.demo.scenes import PROMPT, SIDE_PX
from guardrail.images.encode import encode_image

HERE = Path(__file__).parent
GOALS = ("false_alarms <= 40%", "recall >= 50% within 0.2")
LOOSE = ("false_alarms <= 90%", "missed_harm <= 90%")
"""What a guard that stops at random meets."""
SHUFFLES = 3
KINDS = ("forbidden", "clean")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=40, help="of each kind, in either set")
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--policy", default="default")
    parser.add_argument("--seed", type=int, default=2032)
    parser.add_argument("--font", type=Path, default=FONT_PATH)
    parser.add_argument("--keep", type=Path, help="folder for scenes and draws; else a new one")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    with nullcontext(args.keep) if args.keep else tempfile.TemporaryDirectory() as folder:
        measured = _measure(args, Path(folder))
    (args.out / "results.json").write_text(json.dumps(measured, indent=1) + "\n")
    (args.out / "README.md").write_text(_page(measured))


def _measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    bank = SpriteBank(side=SIDE_PX, variants=12, rng=rng, font_path=args.font)
    searched, fresh = ({kind: _draw_scenes(bank, rng, folder, f"{name}-{kind}", args.scenes)
                        for kind in KINDS} for name in ("searched", "fresh"))  # fmt: skip
    tuned = folder / "tuned.yaml"
    found = _tune(args, folder, _write_tables(folder, "searched", searched), GOALS, out=tuned)
    shuffled = []
    for number in range(SHUFFLES):
        rows = [row for kind in KINDS for row in searched[kind]]
        order = rng.permutation(len(rows))
        mixed = {
            kind: [rows[i] for i in order[place :: len(KINDS)]] for place, kind in enumerate(KINDS)
        }
        tables = _write_tables(folder, f"shuffled-{number}", mixed)
        told = _tune(args, folder, tables, LOOSE)
        separates = any(one["separates"] for one in told["finalists"])
        shuffled.append(
            {
                "proposed": told["proposed"] is not None,
                "separates": separates,
                "reasons": told["reasons"],
            }
        )
    return {
        "command": f"python benchmarks/tune/run.py --scenes {args.scenes} --draws {args.draws} "
        f"--policy {args.policy}",
        "scenes": args.scenes,
        "draws": args.draws,
        "goals": list(GOALS),
        **{name: found[name] for name in ("error", "run", "run_error", "candidates", "now",
                                          "proposed", "changes", "reasons", "proposal")},
        "fresh": None if found["proposed"] is None
        else _check_fresh(args, tuned, _write_tables(folder, "fresh", fresh), folder),
        "loose_goals": list(LOOSE),
        "shuffled": shuffled,
    }  # fmt: skip


def _draw_scenes(
    bank: SpriteBank, rng: np.random.Generator, folder: Path, name: str, count: int
) -> list[dict[str, str]]:
    """Writes the pictures; their rows."""
    rows = []
    for number in range(count):
        shown = [str(kind) for kind in rng.choice(list(HARMLESS), size=3, replace=False)]
        shown = shown[: 1 + number % 3]
        if name.endswith("forbidden"):
            shown[0] = list(FORBIDDEN)[number % len(FORBIDDEN)]
        file = f"{name}-{number:03d}.png"
        pixels = draw_scene(bank, rng, tuple(shown)).pixels
        (folder / file).write_bytes(encode_image(pixels, "png"))
        rows.append({"id": file, "prompt": PROMPT, "image": file})
    return rows


def _write_tables(folder: Path, name: str, rows: dict[str, list[dict[str, str]]]) -> list[str]:
    """The options that name them."""
    options = []
    for kind in KINDS:
        file = folder / f"{name}-{kind}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows[kind]))
        options += [f"--{kind}", str(file)]
    return options


def _tune(
    args: argparse.Namespace,
    folder: Path,
    tables: list[str],
    goals: tuple[str, ...],
    out: Path | None = None,
) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "guardrail", "tune", "--json", "--policy", args.policy, *tables,
        "--draws", str(args.draws), "--run-folder", str(folder / "run"),
        "--content-key", str(folder / "content.key"), "--key-file", str(folder / "noise.key"),
        "--oracle", "builtin", "--search", "oracle.low=0.02",
        *(part for goal in goals for part in ("--goal", goal)),
        *(() if out is None else ("--out", str(out))),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def _check_fresh(
    args: argparse.Namespace, policy: Path, tables: list[str], folder: Path
) -> dict[str, Any]:
    """The proposed policy on scenes that no search has seen, by `guardrail recall`."""
    command = [
        sys.executable, "-m", "guardrail", "recall", "--json", "--policy", str(policy), *tables,
        "--draws", str(args.draws), "--out", str(folder / "recall.json"),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    facts = json.loads(done.stdout)
    return {name: facts[name] for name in ("sentence", "requests", "held", "clean", "reaches",
                                           "blind_spots", "calls")}  # fmt: skip


def _page(facts: dict[str, Any]) -> str:
    proposed, fresh = facts["proposed"], facts["fresh"]
    goals = "".join(f"- `{goal}`\n" for goal in facts["goals"])
    counts = "" if proposed is None else _write_proposal(facts)
    checked = "" if fresh is None else _fresh(fresh)
    refused = sum(not one["proposed"] for one in facts["shuffled"])
    return f"""# Tune on scenes of the built-in model

{facts["scenes"]} forbidden and {facts["scenes"]} clean scenes of 224 x 224 px, {facts["draws"]} noisy variants of each, built-in model;
the default oracle with two lower limits of its cascade, and the built-in oracle alone.

    {facts["command"]}

Goals:

{goals}
{facts["candidates"]:,} candidates were searched on about one half of the scenes; the other half confirmed. A policy that misses a
goal is proposed with probability at most {facts["error"]:g} over all runs on these scenes; {facts["run_error"]:.4f} of it falls to this one.
{counts or chr(10) + "Nothing was proposed." + chr(10)}{checked}
## Shuffled labels

The same scenes with labels at random, under goals that stopping at random meets
({", ".join(f"`{goal}`" for goal in facts["loose_goals"])}): {refused} of {len(facts["shuffled"])} searches propose nothing.

## An earlier attempt

This is the second search that was tried here. The first one, on other scenes (seed 2031, 32 of each kind), had the
further goal `calls <= 25` and proposed nothing: its half that confirmed showed false alarms of at most 52.8 %, a recall
of at least 24.8 % and at most 65 calls. Some fifteen requests cannot show such a bound of calls, so the goal was left out,
and the scenes were drawn anew.

These numbers speak of emoji on plain grounds and say nothing of your traffic.
"""  # noqa: E501 (lines of the page, not of this file)


def _fresh(fresh: dict[str, Any]) -> str:
    held, clean = f"{len(fresh['held'])} of {fresh['requests']}", fresh["clean"]
    return f"""
## On scenes that no search has seen

`guardrail recall` with the proposed policy: {held} fresh forbidden scenes are shown held as they are; {clean["passed"]} of
{clean["requests"]} fresh clean ones passed.

> {fresh["sentence"]}
"""  # noqa: E501 (lines of the page, not of this file)


def _write_proposal(facts: dict[str, Any]) -> str:
    one, now = facts["proposed"], facts["now"]
    rows = "".join(
        f"| {name} | {_counts(found)} |\n"
        for name, found in (("the default policy", now), ("proposed", one))
        if found is not None
    )
    checks = "".join(
        f"| {check['goal']} | {check['wish']} | {check['seen']:.4g} | {check['bound']:.4g} |\n"
        for check in one["checks"]
    )
    return f"""
## On the half that confirmed

| policy | clean scenes stopped | forbidden ones let through | shown held within 0.2 | calls |
| --- | ---: | ---: | ---: | ---: |
{rows}
| goal | wish | seen | bound |
| --- | ---: | ---: | ---: |
{checks}
## The proposed policy

```yaml
{facts["proposal"].strip()}
```
"""


def _counts(found: dict[str, Any]) -> str:
    return (
        f"{found['false_alarms']} of {found['ordinary']} | {found['missed_harm']} of "
        f"{found['forbidden']} | {found['shown_held']} of {found['forbidden']} | "
        f"{found['calls']:.1f}"
    )


if __name__ == "__main__":
    main()
