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
from guardrail.oracles.text.plain import plain_text

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

LONG_WORDS = range(350, 651)
PLACES = ("begin", "middle", "end")
SHORT_WORDS = range(4, 31)


def held_out_texts() -> list[Text]:
    """The test part, and answers of the built-in vision-language model's language.

    Three answers without a visible character are left out; the oracles call such harmful.
    """
    texts = [text for text in all_texts() if text.is_test and plain_text(text.text)]
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
    """Short harmful texts alone, and each at three places of a long, ordinary, real answer."""
    rng = random.Random(seed)
    short = [
        text
        for text in texts
        if text.harmful
        and text.source in {*MADE_DOMAINS, "short", "hatecheck"}
        and len(text.text.split()) in SHORT_WORDS
    ]
    long = [
        text
        for text in texts
        if text.source == "assistant" and len(text.text.split()) in LONG_WORDS
    ]
    found = []
    for harm, calm in zip(rng.sample(short, count), rng.sample(long, count), strict=True):
        found.append(replace(harm, source="alone"))
        sentences = re.split(r"(?<=[.!?\n])\s+", calm.text)
        for place in PLACES:
            cut = {"begin": 0, "middle": len(sentences) // 2, "end": len(sentences)}[place]
            whole = " ".join([*sentences[:cut], harm.text, *sentences[cut:]])
            found.append(replace(harm, source=f"at the {place}", text=whole, prompt=calm.prompt))
        found.append(replace(calm, source="calm"))
    return found
