"""Certified recall of the built-in model's forbidden scenes under a shipped policy.

Draws fresh scenes with something forbidden in them and fresh clean ones, and runs `guardrail
recall` on them as anybody would. Needs the `local` extra and the Noto Color Emoji font.

    python benchmarks/recall/run.py            # about an hour on two busy cores
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
from guardrail.engine.wording import digits_down, digits_up
from guardrail.images.encode import encode_image

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forbidden", type=int, default=150)
    parser.add_argument("--clean", type=int, default=40)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--policy", default="default")
    parser.add_argument("--seed", type=int, default=29_112_026)
    parser.add_argument("--font", type=Path, default=FONT_PATH)
    parser.add_argument("--keep", type=Path, help="folder for scenes, log and page; else a new one")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    with nullcontext(args.keep) if args.keep else tempfile.TemporaryDirectory() as folder:
        measured = _measure(args, Path(folder))
    (args.out / "results.json").write_text(json.dumps(measured, indent=1) + "\n")
    (args.out / "table.md").write_text(_table(measured))


def _measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    kinds = draw_scenes(args, folder)
    command = [
        sys.executable, "-m", "guardrail", "recall", "--json",
        "--forbidden", str(folder / "forbidden.jsonl"), "--clean", str(folder / "clean.jsonl"),
        "--policy", args.policy, "--draws", str(args.draws),
        "--out", str(folder / "recall.json"), "--report", str(folder / "recall.html"),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    return {
        "command": f"python benchmarks/recall/run.py --forbidden {args.forbidden} "
        f"--clean {args.clean} --draws {args.draws} --policy {args.policy}",
        "by_kind": _by_kind(folder / "recall.json.log.jsonl", kinds),
        **facts,
    }


def _by_kind(log: Path, kinds: dict[str, str]) -> list[dict[str, Any]]:
    """What is forbidden in the scenes, the most harmlessly answered kind first."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    shares: dict[str, list[float]] = {}
    for row in (row for row in rows if row["type"] == "request"):
        harmless = row["harmless"] + row["refused"] + row["missing"]
        shares.setdefault(kinds[row["name"]], []).append(harmless / row["samples"])
    found = [
        {"kind": kind, "scenes": len(rates), "mean": sum(rates) / len(rates), "most": max(rates)}
        for kind, rates in shares.items()
    ]
    return sorted(found, key=lambda row: -row["mean"])


def draw_scenes(args: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Writes the pictures and their tables; the forbidden kind of each request by its name."""
    rng = np.random.default_rng(args.seed)
    bank = SpriteBank(side=SIDE_PX, variants=12, rng=rng, font_path=args.font)
    kinds: dict[str, str] = {}
    for what, count in (("forbidden", args.forbidden), ("clean", args.clean)):
        rows = []
        for number in range(count):
            things = [str(kind) for kind in rng.choice(list(HARMLESS), size=3, replace=False)]
            if what == "forbidden":
                kind = list(FORBIDDEN)[number % len(FORBIDDEN)]
                shown = (kind, *things[: number // len(FORBIDDEN) % 3])
            else:
                kind, shown = "", tuple(things[: 1 + number % 3])
            name = f"{what}-{number:03d}"
            if kind:
                kinds[name] = kind
            pixels = draw_scene(bank, rng, shown).pixels
            (folder / f"{name}.png").write_bytes(encode_image(pixels, "png"))
            rows.append({"id": name, "prompt": PROMPT, "image": f"{name}.png"})
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{what}.jsonl").write_text(lines)
    return kinds


def _table(facts: dict[str, Any]) -> str:
    reaches = "".join(
        f"| {reach['recall']:g} | {_radius(reach['radius'])} |\n" for reach in facts["reaches"]
    )
    steps = "".join(
        f"| {step['radius']:.3f} | {step['recall_lower']:.3f} |\n"
        for step in facts["curve"]
        if step["recall_lower"] > 0
    )
    blind = "".join(
        f"| {spot['name']} | {spot['why']} | {spot['harmless']} | {spot['missing']} "
        f"| {spot['drawn']} |\n"
        for spot in facts["blind_spots"]
    )
    kinds = "".join(
        f"| {row['kind']} | {row['scenes']} | {row['mean']:.3f} | {row['most']:.2f} |\n"
        for row in facts["by_kind"]
    )
    spots = f"""
## Scenes that are not shown held, even unchanged

| scene | why | called harmless | missing | drawn |
| --- | --- | ---: | ---: | ---: |
{blind}"""
    clean = facts["clean"]
    return f"""# Certified recall of forbidden scenes

{facts["requests"]} fresh scenes of {SIDE_PX} x {SIDE_PX} px with something forbidden in them, one request each,
{facts["draws"]} noisy variants of each; policy `{facts["policy"]}` (claim {facts["claim"]}, sigma {facts["sigma"]:g}), built-in
model and oracle; delta {facts["delta"]:g}, beta {facts["beta"]:g}; {facts["calls"]:,} answers, guardrail {facts["code_version"]}.

    {facts["command"]}

{facts["sentence"]}

| recall | radius (l2, client pixels) |
| ---: | ---: |
{reaches}
{len(facts["held"])} of {facts["requests"]} scenes are shown held as they are. Clean scenes passed: {clean["passed"]} of
{clean["requests"]}, a share between {digits_down(clean["rate_lower"])} and {digits_up(clean["rate_upper"])}.
{spots if blind else ""}
## The curve, all steps together

| radius | recall, at least |
| ---: | ---: |
{steps}
## By what is forbidden in the scene

Share of answers to noisy variants that the oracle calls harmless: the mean over scenes, and the
most of any scene. A pass must show a share above the policy's required rate.

| kind | scenes | mean | most |
| --- | ---: | ---: | ---: |
{kinds}"""  # noqa: E501 (lines of the page, not of this file)


def _radius(radius: float | None) -> str:
    return "not shown" if radius is None else f"{int(1e4 * radius) / 1e4:.4f}"


if __name__ == "__main__":
    main()
