"""What the encoder is trained on: windows of labelled answers, some with their prompt.

Every epoch draws anew which window of a long answer is shown, whether its prompt stands before it,
and which short harmful or harmless sentence is set into which calm text.
"""

from __future__ import annotations

import random
import re
import sys
import zlib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from captions import captions
from categories import category_of
from data import FOLDS, Text, load
from glosses import glosses
from lexicon import word_rows
from manuals import passages
from prose import paragraphs
from real_code import functions
from short_answers import short_answers

from guardrail.oracles.encoder.windows import MOST_PROMPT, WINDOW, ends
from guardrail.oracles.text.plain import plain_text

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from made_answers.make import make_answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tokenizers import Tokenizer

WITH_PROMPT = 0.5  # share of the examples that show it
MADE_WEIGHT = 0.6
MADE = 17500  # answers from ../made_answers
GLOSSES = 8000
MIXED = 6500  # short texts set into calm ones, for each epoch
SHARE = {
    "davidson offensive": 0.3,
    "davidson": 0.8,
    "word rows": 0.4,
    "captions": 0.5,
    "short": 0.6,
    "glosses": 0.2,
}
"""Of the texts of a source, drawn anew in each epoch; all where nothing is said."""
LONG = ("gptfuzz", "pyrit", "xstest", "jbb", "assistant", "vlm")
"""Answers of models: two windows of each in every epoch."""
WEIGHT = {
    "davidson": 0.4,
    "jbb": 0.7,
    "word rows": 0.3,
    "captions": 0.5,
    "prose": 0.5,
    "functions": 0.6,
    "manuals": 0.7,
    "glosses": 0.3,
    "mixed": 0.8,
    "short": 0.7,
}
CLS, SEP = 101, 102
MADE_DOMAINS = (
    "tools",
    "code",
    "records",
    "pictures",
    "chat",
    "steps",
    "refusals",
    "reports",
    "identity",
    "service",
)
"""Sources from ../made_answers."""
ORDINARY = {
    "assistant": ("assistant",),
    "vlm": ("vlm",),
    "captions": ("captions",),
    "structured": ("functions", "tools", "records", "service"),
    "manuals": ("manuals",),
}
"""What no answer of may be stopped without need: groups of sources, which choose the operating
points."""
STRUCTURED = ("tools", "code", "records", "pictures", "functions", "service")


@dataclass(frozen=True, slots=True)
class Example:
    """One window; the answer begins at token `answer_at`."""

    ids: list[int]
    answer_at: int
    harmful: bool
    weight: float
    category: str


def training_texts(*, shuffle_labels: bool = False) -> list[Text]:
    """All texts of the training part."""
    texts = [text for text in all_texts() if not text.is_test and not text.is_validation]
    return _shuffle_labels(texts) if shuffle_labels else texts


def validation_texts() -> list[Text]:
    return [text for text in all_texts() if text.is_validation]


def all_texts() -> list[Text]:
    """The labelled sets, and sentences written for training, of which forms are held out."""
    made = [
        *(("captions", text, False, text) for text in captions(2500, seed=1, share=(0.0, 1.0))),
        *(("prose", text, False, text) for text in paragraphs(800, seed=4, share=(0.0, 1.0))),
        *(("functions", text, False, package) for text, package in functions(seed=7)),
        *(("manuals", text, False, page) for text, page in passages(seed=8)),
        *(("short", *row) for row in dict.fromkeys(short_answers(6000, seed=2))),
        *(("word rows", row, harmful, row) for row, harmful in word_rows(4000, seed=3)),
    ]
    texts = (Text(s, "", "", text, harmful=h, group=g, fold=_fold(g)) for s, text, h, g in made)
    plain = (
        Text("glosses", "", "", text, harmful=False, group=text) for text in glosses(GLOSSES, 5)
    )
    return [*load(), *texts, *_made_answers(), *plain]


def _made_answers() -> Iterator[Text]:
    """A form's harmful and harmless texts are in the same part."""
    for place, made in enumerate(make_answers(MADE, seed=1)):
        form = made.form.rsplit("/", 1)[0]
        yield Text(
            made.domain,
            f"made-{place}",
            made.prompt,
            made.answer,
            made.harmful,
            form,
            made.category,
            fold=_fold(form),
        )


def _shuffle_labels(texts: list[Text]) -> list[Text]:
    """With all labels dealt anew, across sources: the share of harm in one would still tell."""
    labels = [text.harmful for text in texts]
    random.Random(5).shuffle(labels)
    return [replace(text, harmful=label) for text, label in zip(texts, labels, strict=True)]


def _fold(group: str) -> int:
    return zlib.crc32(group.encode()) % FOLDS


def examples_of_epoch(texts: list[Text], tokenizer: Tokenizer, rng: random.Random) -> list[Example]:
    """In random order."""
    drawn = [text for text in texts if rng.random() < _share(text)]
    answers = _tokens(tokenizer, [plain_text(text.text) for text in drawn])
    prompts = _tokens(tokenizer, [plain_text(text.prompt) for text in drawn])
    examples = []
    for text, answer, prompt in zip(drawn, answers, prompts, strict=True):
        if not answer:
            continue
        for _ in range(2 if text.source in LONG and len(answer) > 60 else 1):
            shown = prompt if prompt and rng.random() < WITH_PROMPT else []
            examples.append(_example(text, _crop(text, answer, rng, shown), shown))
    examples += _mix_examples(drawn, tokenizer, rng)
    rng.shuffle(examples)
    return examples


def weight_of(text: Text) -> float:
    """Of a text in the fit."""
    return MADE_WEIGHT if text.source in MADE_DOMAINS else WEIGHT.get(text.source, 1.0)


def _share(text: Text) -> float:
    return SHARE.get(f"{text.source} {text.detail}", SHARE.get(text.source, 1.0))


def _tokens(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    found = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [encoding.ids for encoding in found]


def _crop(text: Text, answer: list[int], rng: random.Random, prompt: list[int]) -> list[int]:
    """One window; of a harmless answer sometimes a short piece, as it is harmless everywhere."""
    room = WINDOW - 2 - (min(len(prompt), MOST_PROMPT) + 1)
    size = room
    if not text.harmful and rng.random() < 0.2:
        size = rng.randint(8, 60)
    if len(answer) <= size:
        return answer
    start = 0 if rng.random() < 0.35 else rng.randint(0, len(answer) - size)
    return answer[start : start + size]


def _example(text: Text, answer: list[int], prompt: list[int]) -> Example:
    kept = ends(prompt, MOST_PROMPT)
    ids = [CLS, *kept, SEP, *answer, SEP]
    return Example(ids, len(kept) + 2, text.harmful, weight_of(text), category_of(text))


def _mix_examples(drawn: list[Text], tokenizer: Tokenizer, rng: random.Random) -> list[Example]:
    """Short texts, harmful and harmless alike, between neighbouring sentences of ordinary answers.

    Half of them stand behind the prompt of the ordinary answer, which says nothing of what was set
    into it.
    """
    calm = [
        (text.prompt, sentences)
        for text in drawn
        if text.source in {"assistant", "vlm", "prose", "manuals"}
        and len(sentences := _sentences(text.text)) >= 3
    ]
    short: dict[bool, list[Text]] = defaultdict(list)
    for text in drawn:
        if 8 < len(text.text) < 160 and text.source not in {"gptfuzz", "word rows", "davidson"}:
            short[text.harmful].append(text)
    chosen = [rng.choice(short[rng.random() < 0.7]) for _ in range(MIXED)]
    around = [_around(*rng.choice(calm), rng) for _ in chosen]
    before, after, prompts, inside = (
        _tokens(tokenizer, [plain_text(part) for part in parts])
        for parts in (*zip(*around, strict=True), [text.text for text in chosen])
    )
    return [
        _set_into_calm(text, *tokens, rng)
        for text, *tokens in zip(chosen, before, after, prompts, inside, strict=True)
    ]


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?\n])\s+", text) if 20 < len(part) < 400]


def _around(prompt: str, sentences: list[str], rng: random.Random) -> tuple[str, str, str]:
    """What stands before and after the place where a text is set in, and the prompt or nothing."""
    cut = rng.choice((0, rng.randint(0, len(sentences)), rng.randint(0, len(sentences))))
    shown = prompt if rng.random() < WITH_PROMPT else ""
    return " ".join(sentences[max(0, cut - 6) : cut]), " ".join(sentences[cut : cut + 6]), shown


def _set_into_calm(
    text: Text,
    before: list[int],
    after: list[int],
    prompt: list[int],
    inside: list[int],
    rng: random.Random,
) -> Example:
    room = WINDOW - 3 - min(len(prompt), MOST_PROMPT) - len(inside)
    kept = min(len(before), rng.randint(0, room) if after else room)
    answer = [*before[len(before) - kept :], *inside, *after][: room + len(inside)]
    example = _example(text, answer, prompt)
    return replace(example, weight=WEIGHT["mixed"])
