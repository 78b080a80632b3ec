"""Short harm inside calm text or inside one field of a message, to measure dilution."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from .chat import calm_text
from .lines import HARMFUL_LINES, harmful_line
from .parts import Part, PartRandom

Position: TypeAlias = Literal["begin", "middle", "end", "random"]
Field: TypeAlias = Literal[
    "content",
    "content_part",
    "reasoning_content",
    "refusal",
    "tool_name",
    "tool_key",
    "tool_value",
]
POSITIONS: tuple[Position, ...] = get_args(Position)
FIELDS: tuple[Field, ...] = get_args(Field)


@dataclass(frozen=True, slots=True)
class HarmfulSentence:
    """A sentence and the category of its harm."""

    text: str
    category: str


@dataclass(frozen=True, slots=True)
class DilutedAnswer:
    """One harmful sentence in calm text.

    Attributes:
        answer: the whole text.
        sentence: what was inserted.
        calm: the text without it.
        position: where it was asked to stand.
        place: how many calm sentences stand before it.
    """

    answer: str
    sentence: HarmfulSentence
    calm: str
    position: Position
    place: int


@dataclass(frozen=True, slots=True)
class FieldMessage:
    """An assistant message in OpenAI's form; one field of it holds harm, the others are calm.

    Attributes:
        message: the message, ready to be JSON.
        sentence: the harm; in a name of a tool or an argument its words are joined by `_`.
        field: where it stands.
    """

    message: dict[str, Any]
    sentence: HarmfulSentence
    field: Field


def harmful_sentences(seed: int, count: int = 200, part: Part = "all") -> list[HarmfulSentence]:
    """Distinct harmful sentences, the categories in turn; `part` as in `make_answers`."""
    rng = PartRandom(f"harm {seed}", part)
    categories = list(HARMFUL_LINES)
    found: dict[str, HarmfulSentence] = {}
    while len(found) < count:
        category = categories[len(found) % len(categories)]
        text = harmful_line(rng, category)
        found.setdefault(text, HarmfulSentence(text, category))
    return list(found.values())


def calm_texts(seed: int, count: int = 50, words: int = 500, part: Part = "all") -> list[str]:
    """Distinct harmless texts of at least so many words and at most 40 more."""
    rng = PartRandom(f"calm {seed}", part)
    return [calm_text(rng, words, hard_share=0) for _ in range(count)]


def insert_harm(
    seed: int,
    position: Position = "random",
    *,
    words: int = 500,
    sentence: HarmfulSentence | None = None,
    calm: str | None = None,
) -> DilutedAnswer:
    """A calm text with one harmful sentence at the position.

    Args:
        seed: of the sentence, the text and a random position.
        position: before all sentences, after half of them, after all, or anywhere.
        words: length of the calm text, in words.
        sentence: taken instead of a made one.
        calm: taken instead of a made text; its sentences must end in a mark and a blank.
    """
    rng = random.Random(f"insert {seed}")
    sentence = sentence or harmful_sentences(seed, 1 + rng.randrange(8))[-1]
    calm = calm if calm is not None else calm_texts(seed, 1, words)[0]
    starts = _sentence_starts(calm)
    place = {"begin": 0, "middle": len(starts) // 2, "end": len(starts)}.get(
        position, rng.randrange(len(starts) + 1)
    )
    if place == len(starts):
        answer = f"{calm} {sentence.text}"
    else:
        answer = f"{calm[: starts[place]]}{sentence.text} {calm[starts[place] :]}"
    return DilutedAnswer(answer, sentence, calm, position, place)


def insert_in_field(
    seed: int, field: Field, *, words: int = 60, sentence: HarmfulSentence | None = None
) -> FieldMessage:
    """An assistant message whose chosen field holds the sentence; its other texts are calm.

    Every message has content, reasoning and a tool call, so that only the place of the harm
    differs; `refusal` is set only where it is the chosen field.

    Args:
        seed: of the sentence and the texts.
        field: the field that holds the sentence.
        words: length of each calm text, in words.
        sentence: taken instead of a made one.
    """
    rng = random.Random(f"field {seed}")
    sentence = sentence or harmful_sentences(seed, 1 + rng.randrange(8))[-1]
    texts = [calm_text(rng, words, hard_share=0) for _ in range(3)]
    name, arguments = "save_note", {"title": "Notes", "body": calm_text(rng, words, hard_share=0)}
    message: dict[str, Any] = {"role": "assistant", "content": texts[0]}
    message["reasoning_content"] = texts[1]
    match field:
        case "content" | "reasoning_content" | "refusal":
            message[field] = sentence.text
        case "content_part":
            parts = [texts[0], sentence.text, texts[2]]
            message["content"] = [{"type": "text", "text": part} for part in parts]
        case "tool_name":
            name = _as_name(sentence.text)
        case "tool_key":
            arguments[_as_name(sentence.text)] = "yes"
        case "tool_value":
            arguments["comment"] = sentence.text
    function = {"name": name, "arguments": json.dumps(arguments)}
    message["tool_calls"] = [{"id": f"call_{seed}", "type": "function", "function": function}]
    return FieldMessage(message, sentence, field)


def _sentence_starts(text: str) -> list[int]:
    """Where sentences begin, which is after a mark and a blank or line break."""
    return [found.start() for found in re.finditer(r"(?:^|(?<=[.!?]\s)|(?<=\n\n))(?=\S)", text)]


def _as_name(text: str) -> str:
    """The words as one name of at most 64 signs, which is OpenAI's limit."""
    words = "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
    name = ""
    for word in words:
        if len(name) + len(word) + 1 > 64:
            break
        name += f"_{word}" if name else word
    return name
