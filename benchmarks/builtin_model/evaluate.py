"""Measures the built-in model on fresh scenes.

Run: `python benchmarks/builtin_model/evaluate.py --json FILE`.

Scenes are drawn from seeds that training never used, at every noise level the card names, and
again with parts hidden or a sticker on them. Needs the `local` extra and the Noto Color Emoji font.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from guardrail.builtin.architecture import SIDE_PX
from guardrail.builtin.kinds import FORBIDDEN, HARMLESS, KINDS
from guardrail.builtin.language import SceneQuestion, ask, forbidden_in, is_harmful
from guardrail.builtin.occlusion import add_sticker, cover_window, keep_window
from guardrail.builtin.scenes import Scene, SpriteBank, draw_scene
from guardrail.upstreams.builtin import BUILTIN_FOLDER
from guardrail.upstreams.loading import load_vlm

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.upstreams.loading import Loaded

_SEED = 777_000_001
_BATCH = 50
_TOKENS = 24
_MARK = "<!-- measured -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(BUILTIN_FOLDER))
    parser.add_argument("--scenes", type=int, default=1000, help="of each sort, at each sigma")
    parser.add_argument(
        "--sigmas", type=float, nargs="+", default=[0.0, 0.12, 0.25, 0.5, 0.75, 1.0]
    )
    parser.add_argument("--hidden-parts-sigmas", type=float, nargs="*", default=[0.0, 0.5])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--card", type=Path, help="model card whose table to write anew")
    args = parser.parse_args()
    loaded = load_vlm(args.model, device="cpu")
    rng = np.random.default_rng(_SEED)
    bank = SpriteBank(side=SIDE_PX, variants=48, rng=rng)
    figures: dict[str, Any] = {"scenes": args.scenes, "levels": [], "hidden_parts": []}
    for sigma in args.sigmas:
        figures["levels"].append({"sigma": sigma, **_level(loaded, bank, rng, args.scenes, sigma)})
        print(json.dumps(figures["levels"][-1]), flush=True)
    for name, change in _changes(bank, rng).items():
        for sigma in args.hidden_parts_sigmas:
            scenes = _scenes(bank, rng, args.scenes, change)
            row = {"change": name, "sigma": sigma, **_measure_shown(loaded, scenes, sigma, rng)}
            figures["hidden_parts"].append(row)
            print(json.dumps(row), flush=True)
    figures["batch_of_40_s"] = _speed(loaded, bank, rng)
    print(f"40 answers in one batch: {figures['batch_of_40_s']:.2f} s", flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    if args.card:
        args.card.write_text(_with_table(args.card.read_text(), figures))


def _level(
    loaded: Loaded, bank: SpriteBank, rng: np.random.Generator, count: int, sigma: float
) -> dict[str, Any]:
    scenes = _scenes(bank, rng, count, lambda scene: scene)
    shown = _measure_shown(loaded, scenes, sigma, rng)
    return {**shown, **_other_questions(loaded, scenes[0][: count // 2], sigma, rng)}


def _changes(bank: SpriteBank, rng: np.random.Generator) -> dict[str, Callable[[Scene], Scene]]:
    return {
        "covered window": lambda scene: cover_window(scene, rng),
        "only one window": lambda scene: keep_window(scene, rng),
        "sticker": lambda scene: add_sticker(scene, bank, rng),
    }


def _scenes(
    bank: SpriteBank, rng: np.random.Generator, count: int, change: Callable[[Scene], Scene]
) -> tuple[list[Scene], list[Scene]]:
    """`count` harmless scenes, and half as many on which a forbidden thing is seen."""
    harmless = [change(draw_scene(bank, rng, _harmless_kinds(rng))) for _ in range(count)]
    forbidden: list[Scene] = []
    while len(forbidden) < count // 2:
        scene = change(draw_scene(bank, rng, _forbidden_kinds(rng)))
        if forbidden_in(scene.kinds):
            forbidden.append(scene)
    return harmless, forbidden


def _measure_shown(
    loaded: Loaded,
    scenes: tuple[list[Scene], list[Scene]],
    sigma: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """What the answers to the question of what is shown are worth."""
    shown, bad = (
        _replies(loaded, sort, [ask(SceneQuestion.SHOWN, rng) for _ in sort], sigma, rng)
        for sort in scenes
    )
    pairs = list(zip(scenes[0], shown, strict=True))
    return {
        "things_named": float(np.mean([kind in _words(t) for s, t in pairs for kind in s.kinds])),
        "scenes_exact": float(np.mean([set(s.kinds) == _named(t) for s, t in pairs])),
        "harmful_on_harmless_scenes": float(np.mean([is_harmful(text) for text in shown])),
        "harmful_on_forbidden_scenes": float(np.mean([is_harmful(text) for text in bad])),
    }


def _other_questions(
    loaded: Loaded, scenes: list[Scene], sigma: float, rng: np.random.Generator
) -> dict[str, float]:
    numbers = ("zero", "one", "two", "three")
    counted = _replies(loaded, scenes, [ask(SceneQuestion.COUNT, rng) for _ in scenes], sigma, rng)
    coloured = _replies(
        loaded, scenes, [ask(SceneQuestion.COLOUR, rng) for _ in scenes], sigma, rng
    )
    about = [str(rng.choice(s.kinds if i % 2 else KINDS)) for i, s in enumerate(scenes)]
    asked = [ask(SceneQuestion.YES_NO, rng, about=kind) for kind in about]
    told = _replies(loaded, scenes, asked, sigma, rng)
    triples = list(zip(scenes, about, told, strict=True))
    return {
        "count_right": float(
            np.mean(
                [numbers[len(s.kinds)] in _words(t) for s, t in zip(scenes, counted, strict=True)]
            )
        ),
        "colour_right": float(
            np.mean([s.background in _words(t) for s, t in zip(scenes, coloured, strict=True)])
        ),
        "yes_no_right": float(
            np.mean([t.startswith("yes" if kind in s.kinds else "no") for s, kind, t in triples])
        ),
    }


def _replies(
    loaded: Loaded, scenes: list[Scene], asked: list[str], sigma: float, rng: np.random.Generator
) -> list[str]:
    """Greedy answers to noisy pictures, as the guard would show them: 8-bit, clipped."""
    replies: list[str] = []
    for start in range(0, len(scenes), _BATCH):
        rows = range(start, min(start + _BATCH, len(scenes)))
        pictures = [_noisy(scenes[i].pixels, sigma, rng) for i in rows]
        replies += _generate(loaded, pictures, [asked[i] for i in rows])
    return replies


def _generate(loaded: Loaded, pictures: list[Image.Image], asked: list[str]) -> list[str]:
    texts = [
        loaded.processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
            add_generation_prompt=True,
            tokenize=False,
        )
        for question in asked
    ]
    inputs = loaded.processor(
        text=texts, images=[[p] for p in pictures], return_tensors="pt", padding=True
    )
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        output = loaded.model.generate(**inputs, max_new_tokens=_TOKENS, do_sample=False)
    written = output[:, inputs["input_ids"].shape[1] :]
    return [loaded.processor.decode(row, skip_special_tokens=True).strip() for row in written]


def _noisy(pixels: Any, sigma: float, rng: np.random.Generator) -> Image.Image:
    noise = np.rint(255 * sigma * rng.standard_normal(pixels.shape))
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _speed(loaded: Loaded, bank: SpriteBank, rng: np.random.Generator) -> float:
    """Seconds for 40 answers in one batch, the best of three."""
    scenes = [draw_scene(bank, rng, _harmless_kinds(rng)) for _ in range(40)]
    pictures = [_noisy(scene.pixels, 0.25, rng) for scene in scenes]
    times = []
    for _ in range(3):
        started = time.perf_counter()
        _generate(loaded, pictures, ["what is shown in this picture?"] * 40)
        times.append(time.perf_counter() - started)
    return min(times)


def _with_table(card: str, figures: dict[str, Any]) -> str:
    """The card with the tables between its two marks replaced."""
    threads = torch.get_num_threads()
    lines = _table(figures["scenes"], figures["levels"], "sigma {sigma:g}")
    if figures["hidden_parts"]:
        lines += ["", *_table(figures["scenes"], figures["hidden_parts"], "{change}, {sigma:g}")]
    lines += [
        "",
        f"40 answers in one batch: {figures['batch_of_40_s']:.2f} s by {threads} thread(s).",
    ]
    before, _, rest = card.partition(_MARK)
    after = rest.partition(_MARK)[2]
    return f"{before}{_MARK}\n" + "\n".join(lines) + f"\n{_MARK}{after}"


def _table(scenes: int, columns: list[dict[str, Any]], title: str) -> list[str]:
    """Lines of Markdown: a column for each condition, a row for each figure."""
    names = [name for name in columns[0] if name not in ("sigma", "change")]
    header = " | ".join(title.format(**column) for column in columns)
    rows = [
        f"| {name.replace('_', ' ')} | " + " | ".join(f"{c[name]:.1%}" for c in columns) + " |"
        for name in names
    ]
    return [f"| {scenes} scenes | {header} |", "| --- " * (len(columns) + 1) + "|", *rows]


def _harmless_kinds(rng: np.random.Generator) -> tuple[str, ...]:
    size = int(rng.integers(1, 4))
    return tuple(str(kind) for kind in rng.choice(list(HARMLESS), size=size, replace=False))


def _forbidden_kinds(rng: np.random.Generator) -> tuple[str, ...]:
    return (str(rng.choice(list(FORBIDDEN))), *_harmless_kinds(rng)[1:])


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _named(text: str) -> set[str]:
    """Kinds that an answer names; the word after `background` and colours are no kinds."""
    return _words(text) & set(KINDS)


if __name__ == "__main__":
    main()
