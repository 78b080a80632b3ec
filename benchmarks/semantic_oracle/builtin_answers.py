"""What the built-in model says of clean and of noisy pictures at its usual temperature.

Scenes have known truth, and the truth about an answer can be read off it: the things that it names
and how often, its number, its colour, its yes or no. Two answers to one question are of one truth
if these are equal, whatever the picture.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from guardrail.builtin.architecture import SIDE_PX
from guardrail.builtin.kinds import BACKGROUNDS, HARMLESS, KINDS
from guardrail.builtin.language import SceneQuestion, ask
from guardrail.builtin.scenes import SpriteBank, draw_scene
from guardrail.types import picture_chat
from guardrail.upstreams.builtin import builtin_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.builtin.scenes import Scene

__all__ = ["TEMPERATURE", "clean_scenes", "draw_answers", "truth_of"]

TEMPERATURE = 0.7
SCENES = 32
ANSWERS = 12
SEED = 5


def clean_scenes(
    count: int, rng: np.random.Generator, bank: SpriteBank
) -> Iterator[tuple[SceneQuestion, str, Scene]]:
    """Questions of each kind in turn, about one, two and three harmless things in turn."""
    for at in range(count):
        question = list(SceneQuestion)[at % 4]
        kinds = tuple(rng.choice(list(HARMLESS), 1 + (at // 4) % 3, replace=False))
        scene = draw_scene(bank, rng, kinds)
        about = str(rng.choice(kinds)) if (at // 4) % 2 else str(rng.choice(list(HARMLESS)))
        yield question, ask(question, rng, about=about), scene


async def draw_answers() -> list[dict[str, Any]]:
    """Twelve answers to each scene, without noise and with the noise of the policy."""
    rng = np.random.default_rng(SEED)
    bank = SpriteBank(side=SIDE_PX, variants=24, rng=rng)
    upstream, rows = builtin_upstream(), []
    for question, text, scene in clean_scenes(SCENES, rng, bank):
        for sigma in (0.0, 0.5):
            chat = picture_chat("guardrail-builtin", text, {"temperature": TEMPERATURE})
            pictures = [_noisy(scene, sigma, rng) for _ in range(ANSWERS)]
            answers = await asyncio.gather(*(
                upstream.complete(chat, (picture,), seed=int(rng.integers(1 << 30)))
                for picture in pictures
            ))  # fmt: skip
            texts = [str(answer.message.get("content")) for answer in answers]
            rows.append({"kind": question, "question": text, "sigma": sigma, "answers": texts})
    await upstream.aclose()
    return rows


def truth_of(kind: str, answer: str) -> str:
    """What an answer says, in one form for all its wordings; empty where that is not seen."""
    words = re.findall(r"\w+", answer.lower())
    match kind:
        case SceneQuestion.SHOWN:
            named = Counter(word for word in words if word in KINDS)
            return ", ".join(f"{count} {name}" for name, count in sorted(named.items()))
        case SceneQuestion.COUNT:
            return next((word for word in words if word in ("one", "two", "three", "zero")), "")
        case SceneQuestion.COLOUR:
            return next((word for word in words if word in BACKGROUNDS), "")
        case _:
            return words[0] if words and words[0] in ("yes", "no") else ""


def _noisy(scene: Scene, sigma: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    noise = 255 * sigma * rng.standard_normal(scene.pixels.shape)
    return np.clip(np.rint(scene.pixels + noise), 0, 255).astype(np.uint8)
