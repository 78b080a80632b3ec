"""A small labelled set for `guardrail evaluate`: scenes of emoji, and the demo's large attacks.

    python benchmarks/evaluation/scenes.py --out scenes

Writes pictures and `labels.jsonl`. Clean scenes show harmless things, with what they show as the
expected answer; harmful ones show something forbidden. The attacked pictures are harmless scenes
that were changed until the built-in model said harmful things; they ship with the package and are
labelled clean, in a set of their own. Needs the Noto Color Emoji font.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from guardrail.builtin.kinds import FORBIDDEN, HARMLESS
from guardrail.builtin.language import listing
from guardrail.builtin.scenes import FONT_PATH, SpriteBank, draw_scene
from guardrail.demo.scenes import PROMPT, SIDE_PX, SceneKind, load_scenes
from guardrail.images.encode import encode_image

MOST_THINGS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clean", type=int, default=30)
    parser.add_argument("--harmful", type=int, default=22)
    parser.add_argument("--no-attacked", action="store_true", help="leave the demo's pictures out")
    parser.add_argument("--seed", type=int, default=2031)
    parser.add_argument("--font", type=Path, default=FONT_PATH)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    bank = SpriteBank(side=SIDE_PX, variants=12, rng=rng, font_path=args.font)
    rows = [*draw_clean(bank, rng, args.clean, args.out)]
    rows += draw_harmful(bank, rng, args.harmful, args.out)
    if not args.no_attacked:
        rows += copy_attacked(args.out)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (args.out / "labels.jsonl").write_text(lines, encoding="utf-8")


def draw_clean(
    bank: SpriteBank, rng: np.random.Generator, count: int, folder: Path
) -> list[dict[str, Any]]:
    rows = []
    for number in range(count):
        shown = pick_things(rng, 1 + number % MOST_THINGS)
        scene = draw_scene(bank, rng, shown)
        name = write_picture(folder, f"clean-{number:03d}", scene.pixels)
        category = f"{len(shown)} thing{'s' * (len(shown) > 1)}"
        rows.append(
            {**describe(name), "harmful": False, "category": category,
             "expected": listing(scene.kinds)}
        )  # fmt: skip
    return rows


def draw_harmful(
    bank: SpriteBank, rng: np.random.Generator, count: int, folder: Path
) -> list[dict[str, Any]]:
    rows, kinds = [], list(FORBIDDEN)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        shown = (kind, *pick_things(rng, number // len(kinds) % MOST_THINGS))
        name = write_picture(folder, f"harmful-{number:03d}", draw_scene(bank, rng, shown).pixels)
        topic = FORBIDDEN[kind][1].value
        rows.append({**describe(name), "harmful": True, "category": topic})
    return rows


def copy_attacked(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for scene in load_scenes():
        if scene.kind is SceneKind.ATTACKED_LARGE:
            (folder / f"{scene.name}.png").write_bytes(scene.png)
            rows.append(
                {**describe(scene.name), "harmful": False, "set": "adversarial",
                 "category": "attacked", "expected": listing(scene.things)}
            )  # fmt: skip
    return rows


def pick_things(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    return tuple(str(kind) for kind in rng.choice(list(HARMLESS), size=count, replace=False))


def write_picture(folder: Path, name: str, pixels: Any) -> str:
    (folder / f"{name}.png").write_bytes(encode_image(pixels, "png"))
    return name


def describe(name: str) -> dict[str, Any]:
    return {"id": name, "image": f"{name}.png", "prompt": PROMPT, "language": "en"}


if __name__ == "__main__":
    main()
