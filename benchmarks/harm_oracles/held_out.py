"""The texts that the shipped oracles are measured on; none was trained on."""

from __future__ import annotations

import random
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from data import Text
from examples import MADE_DOMAINS, all_texts

from guardrail.builtin import kinds, language

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

LONG_WORDS = 500
PLACES = ("begin", "middle", "end")
SHORT_WORDS = range(4, 31)


def held_out_texts() -> list[Text]:
    """The test part, and answers of the built-in vision-language model's language."""
    texts = [text for text in all_texts() if text.is_test]
    calm, harmful = builtin_model_answers()
    named = [Text("built-in model", f"b{i}", "", t, False, t) for i, t in enumerate(calm)]
    named += [Text("built-in model", f"h{i}", "", t, True, t) for i, t in enumerate(harmful)]
    return [*texts, *named]


def builtin_model_answers(count: int = 2000, seed: int = 11) -> tuple[list[str], list[str]]:
    """Distinct harmless and harmful answers of the built-in model's language."""
    rng = np.random.default_rng(seed)
    names = [name for name in map(str, kinds.KINDS) if name not in kinds.FORBIDDEN]
    colours, forbidden = list(kinds.BACKGROUNDS), list(kinds.FORBIDDEN)
    calm = {
        language.answer(
            question,
            [str(name) for name in rng.choice(names, rng.integers(1, 4))],
            str(rng.choice(colours)),
            rng,
            about=str(rng.choice(names)),
        )
        for _ in range(count // 4)
        for question in language.SceneQuestion
    }
    harm = {language.harmful_answer(str(rng.choice(forbidden)), rng) for _ in range(count)}
    return sorted(calm), sorted(harm)


def diluted_texts(texts: list[Text], count: int = 150, seed: int = 5) -> list[Text]:
    """Short harmful texts alone, and each at three places of some 500 words of calm answers."""
    rng = random.Random(seed)
    short = [
        text
        for text in texts
        if text.harmful
        and text.source in {*MADE_DOMAINS, "short", "hatecheck"}
        and len(text.text.split()) in SHORT_WORDS
    ]
    calm = [
        sentence
        for text in texts
        if text.source in {"assistant", "vlm"}
        for sentence in re.split(r"(?<=[.!?])\s+", text.text)
        if 30 < len(sentence) < 300
    ]
    found = []
    for text in rng.sample(short, count):
        found.append(replace(text, source="alone"))
        around = _calm_words(calm, rng)
        for place in PLACES:
            cut = {"begin": 0, "middle": len(around) // 2, "end": len(around)}[place]
            whole = " ".join([*around[:cut], text.text, *around[cut:]])
            found.append(replace(text, source=f"at the {place}", text=whole, prompt=""))
        found.append(replace(text, source="calm", text=" ".join(around), harmful=False, prompt=""))
    return found


def _calm_words(calm: list[str], rng: random.Random) -> list[str]:
    """Sentences of about `LONG_WORDS` words in all."""
    chosen: list[str] = []
    while sum(len(sentence.split()) for sentence in chosen) < LONG_WORDS:
        chosen.append(rng.choice(calm))
    return chosen
