"""How windows and masks should look: what the built-in model still sees, one greedy answer each.

Fresh scenes, clean ones and ones with something forbidden in them, cut and masked in several ways:
windows as they are and with their rim, masks of the mean colour and masks filled from their edges,
by size and number. Each view has one answer at temperature 0, judged by the oracle of `default`; no
statistics, so this chooses what `threats.py` then measures. Needs the `local` extra and the Noto
Color Emoji font.

    python benchmarks/recall/views.py            # some twenty minutes on one core
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from guardrail.builtin.kinds import FORBIDDEN, HARMLESS
from guardrail.builtin.scenes import FONT_PATH, SpriteBank, draw_scene
from guardrail.demo.scenes import PROMPT, SIDE_PX
from guardrail.images.canvas import canvas_for
from guardrail.images.covers import masks, windows
from guardrail.images.fills import cut_window, fill_masked
from guardrail.images.grid import round_to_levels
from guardrail.oracles.base import Exchange
from guardrail.policy.load import load_policy
from guardrail.policy.oracle import compile_oracle
from guardrail.types import Outcome, picture_chat
from guardrail.upstreams.builtin import builtin_upstream
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from guardrail.images.covers import Box
    from guardrail.oracles.base import Oracle
    from guardrail.upstreams.transformers_local import TransformersLocal

    Pixels = NDArray[np.uint8]
    Show = Callable[[Pixels, Box], Pixels]

HERE = Path(__file__).parent
MODEL_SIDE_PX = 96
WINDOWS, SEEN_PX = 9, (75, 112, 145)
MASKS, STICKER_SHARE = (9, 36, 64, 100), 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=40, help="of each, clean and forbidden")
    parser.add_argument("--seed", type=int, default=30_112_027)
    parser.add_argument("--font", type=Path, default=FONT_PATH)
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    measured = asyncio.run(_measure(args))
    (args.out / "views.json").write_text(json.dumps(measured, indent=1) + "\n")
    (args.out / "views.md").write_text(_page(measured))


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    rng = np.random.default_rng(args.seed)
    bank = SpriteBank(side=SIDE_PX, variants=12, rng=rng, font_path=args.font)
    asking = _Asking(builtin_upstream(), compile_oracle(load_policy("default")))
    rows: dict[str, dict[str, list[float]]] = {}
    for forbidden in (True, False):
        for number in range(args.scenes):
            pixels = draw_scene(bank, rng, _choose(rng, number, forbidden=forbidden)).pixels
            for name, views in _views(pixels):
                harmful = await asking.find_harmful(views)
                kind = rows.setdefault(name, {"forbidden": [], "clean": []})
                kind["forbidden" if forbidden else "clean"].append(sum(harmful) / len(harmful))
    return {
        "command": f"python benchmarks/recall/views.py --scenes {args.scenes} --seed {args.seed}",
        "code_version": __version__,
        "scenes": args.scenes,
        "harmful_share_of_views": rows,
    }


def _choose(rng: np.random.Generator, number: int, *, forbidden: bool) -> tuple[str, ...]:
    things = [str(kind) for kind in rng.choice(list(HARMLESS), size=3, replace=False)]
    kinds = list(FORBIDDEN)
    if not forbidden:
        return tuple(things[: 1 + number % 3])
    return (kinds[number % len(kinds)], *things[: number // len(kinds) % 3])


def _views(pixels: Pixels) -> Iterator[tuple[str, list[Pixels]]]:
    """The name of each way to show the picture, and its views."""
    yield "whole", [pixels]
    ways: list[tuple[str, Show]] = [("as it is", _cut), ("with a rim", cut_window)]
    for how, show in ways:
        for seen in SEEN_PX:
            boxes = windows(*pixels.shape[:2], count=WINDOWS, sees=seen)
            name = f"{WINDOWS} windows of {boxes[0].height} px (sees {seen}), {how}"
            yield name, [show(pixels, box) for box in boxes]
    ways = [("of the mean colour", _paint_mean), ("filled from the edges", fill_masked)]
    for how, show in ways:
        for count in MASKS:
            boxes = masks(*pixels.shape[:2], count=count, max_share=STICKER_SHARE)
            name = f"{count} masks of {boxes[0].height} px, {how}"
            yield name, [show(pixels, box) for box in boxes]


def _cut(pixels: Pixels, box: Box) -> Pixels:
    return pixels[box.area]


def _paint_mean(pixels: Pixels, box: Box) -> Pixels:
    outside = np.ones(pixels.shape[:2], dtype=bool)
    outside[box.area] = False
    painted = pixels.copy()
    painted[box.area] = np.rint(pixels[outside].mean(axis=0))
    return painted


class _Asking:
    """Asks the model about views, and the oracle once about each answer."""

    def __init__(self, upstream: TransformersLocal, oracle: Oracle) -> None:
        self._upstream, self._oracle = upstream, oracle
        self._harmful: dict[str, bool] = {}
        self._chat = picture_chat(upstream.name, PROMPT, {"max_tokens": 24, "temperature": 0})

    async def find_harmful(self, views: list[Pixels]) -> list[bool]:
        seen = [_scale(view) for view in views]
        answers = await asyncio.gather(
            *(self._upstream.complete(self._chat, [one], seed=0) for one in seen)
        )
        texts = [answer.text for answer in answers]
        new = [text for text in dict.fromkeys(texts) if text not in self._harmful]
        if new:
            judged = await self._oracle.judge([Exchange(PROMPT, text) for text in new])
            for text, one in zip(new, judged, strict=True):
                self._harmful[text] = one.outcome is not Outcome.HARMLESS
        return [self._harmful[text] for text in texts]


def _scale(pixels: Pixels) -> Pixels:
    canvas = canvas_for(*pixels.shape[:2], max_side_px=MODEL_SIDE_PX)
    return round_to_levels(canvas.apply(pixels)).astype(np.uint8)


def _page(facts: dict[str, Any]) -> str:
    rows = "".join(
        f"| {name} | {sum(x > 0 for x in found['forbidden'])} "
        f"| {sum(x == 1 for x in found['forbidden'])} "
        f"| {sum(found['forbidden']) / len(found['forbidden']):.3f} "
        f"| {sum(x == 0 for x in found['clean'])} |\n"
        for name, found in facts["harmful_share_of_views"].items()
    )
    return f"""# How windows and masks look, and what is seen of them

{facts["scenes"]} fresh forbidden and {facts["scenes"]} fresh clean scenes of {SIDE_PX} x {SIDE_PX} px, built-in model at
temperature 0, one answer to each view, oracle of `default`; stickers of {STICKER_SHARE:g} of the area;
guardrail {facts["code_version"]}. A threat to crops is held by one window that draws a harmful answer, one
sticker at every place only if every mask does; a clean scene passes if no view does.

    {facts["command"]}

| views | forbidden: some harmful | forbidden: all harmful | harmful of all their views | clean: none harmful |
| --- | ---: | ---: | ---: | ---: |
{rows}"""  # noqa: E501 (lines of the page, not of this file)


if __name__ == "__main__":
    main()
