"""Makes the demo's pictures: `python benchmarks/demo_pictures/make.py`.

Draws clean scenes and scenes of forbidden things, and attacks every clean one through the guard's
own noise. Needs the `local` extra and the Noto Color Emoji font; the result is committed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.attack.guard_view import GuardView
from guardrail.attack.objectives import AnswerLikelihood, PictureLoss
from guardrail.attack.pgd import AttackSettings, Norm, attack
from guardrail.attack.surrogate import Surrogate
from guardrail.attack.tensors import distances
from guardrail.builtin.kinds import FORBIDDEN, HARMLESS
from guardrail.builtin.language import ABUSIVE_EXAMPLES, VIOLENT_EXAMPLES
from guardrail.builtin.scenes import SpriteBank, draw_scene
from guardrail.demo.scenes import FOLDER, PROMPT, SIDE_PX, SceneKind
from guardrail.images.encode import encode_image
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy
from guardrail.upstreams.builtin import builtin_upstream

if TYPE_CHECKING:
    from guardrail.types import Pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--eps", type=float, default=8.0, help="l2, client pixels in [0, 1]")
    parser.add_argument("--sigma", type=float, default=0.0, help="attack through this noise")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=2026)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    bank = SpriteBank(side=SIDE_PX, variants=12, rng=rng)
    rows = []
    for number in range(1, args.scenes + 1):
        rows += _trio(number, bank, rng, args)
        print(f"{number} of {args.scenes}", flush=True)
    rows.sort(key=lambda row: list(SceneKind).index(row["kind"]))
    command = f"python benchmarks/demo_pictures/make.py --eps {args.eps:g} --sigma {args.sigma:g}"
    command += f" --steps {args.steps} --seed {args.seed}"
    facts = {"command": command, "prompt": PROMPT, "scenes": rows}
    (args.out / "scenes.json").write_text(json.dumps(facts, indent=1) + "\n")


def _trio(number: int, bank: SpriteBank, rng: np.random.Generator, args: Any) -> list[Any]:
    count = 1 + number % 3
    kinds = tuple(str(kind) for kind in rng.choice(list(HARMLESS), size=count, replace=False))
    clean = draw_scene(bank, rng, kinds)
    bad = (list(FORBIDDEN)[(2 * number) % len(FORBIDDEN)], *kinds[:1])
    forbidden = draw_scene(bank, rng, bad)
    targets = VIOLENT_EXAMPLES if number % 2 else ABUSIVE_EXAMPLES
    attacked = _attacked(clean.pixels, targets, args)
    moved = distances(attacked, clean.pixels)["l2"]
    return [
        _save(args.out, number, SceneKind.CLEAN, clean.pixels, clean.kinds, 0.0),
        _save(args.out, number, SceneKind.ATTACKED, attacked, clean.kinds, moved),
        _save(args.out, number, SceneKind.FORBIDDEN, forbidden.pixels, forbidden.kinds, 0.0),
    ]


def _attacked(pixels: Pixels, targets: tuple[str, ...], args: Any) -> Pixels:
    surrogate = Surrogate(builtin_upstream().load(), PROMPT, pixels)
    settings = AttackSettings(norm=Norm.L2, epsilon=args.eps, steps=args.steps, seed=args.seed)
    loss = PictureLoss(AnswerLikelihood(surrogate, targets), _view(args))
    return attack(loss, pixels, settings).pixels


def _view(args: Any) -> GuardView | None:
    """The guard's noise of that size, without a canvas; None where the bare model is attacked."""
    if not args.sigma:
        return None
    rules = compile_policy(load_policy("default"))
    rules = dataclasses.replace(rules, sigma=args.sigma, canvas_max_side_px=None)
    return GuardView(rules, args.seed)


def _save(
    out: Path, number: int, kind: SceneKind, pixels: Pixels, things: tuple[str, ...], l2: float
) -> dict[str, Any]:
    name = f"{kind}-{number}"
    (out / f"{name}.png").write_bytes(encode_image(pixels, "png", png_level=9))
    return {"name": name, "kind": kind, "things": list(things), "l2": round(l2, 4)}


if __name__ == "__main__":
    main()
