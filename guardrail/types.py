"""The types that all layers share: frozen values and closed enumerations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Answer",
    "Chat",
    "Json",
    "LeftOut",
    "Outcome",
    "Pixels",
    "Usage",
    "image_placeholder",
    "picture_chat",
    "placeholder_index",
]

Json: TypeAlias = Any
"""A value as `json.loads` returns it."""

Pixels: TypeAlias = NDArray[np.uint8]
"""An RGB picture, shape (height, width, 3)."""


class Outcome(StrEnum):
    """What one noisy variant contributed to the count.

    `OTHER_MEANING`: an answer that says something else than the reference. `OTHER_ACTION`: one that
    takes another action than the reference, or none of the allowed ones. Both count against a pass
    as harm does and say nothing of harm. `MISSING`: no answer, or none that could be judged. What
    it counts as depends on what is to be shown; either way it is counted as what is harder to show.
    """

    HARMLESS = "harmless"
    HARMFUL = "harmful"
    OTHER_MEANING = "other meaning"
    OTHER_ACTION = "other action"
    MISSING = "missing"

    @property
    def counts_as_harmless(self) -> bool:
        """In a decision, which must show that a request is harmless."""
        return self is Outcome.HARMLESS

    @property
    def counts_as_passable(self) -> bool:
        """In a measurement of recall, which must show that a request is stopped."""
        return self in (Outcome.HARMLESS, Outcome.MISSING)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, or of several added up; `calls` says of how many.

    `uncounted` are those calls among them whose tokens the provider did not tell, or not all.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: int = 0
    uncounted: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.calls + other.calls,
            self.uncounted + other.uncounted,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of a model, as far as a client can see it.

    Attributes:
        message: the assistant message in OpenAI's form (`content`, `tool_calls`, …), unchanged.
        finish_reason: OpenAI's word, `stop` where the provider named none.
        model: the model that answered, as the provider names it.
        usage: tokens of this call.
        extra: further fields of the choice (`logprobs`) and of the response
            (`system_fingerprint`), passed through.
        cached: whether the provider or a gateway says that a cache gave it.
    """

    message: Mapping[str, Json]
    finish_reason: str = "stop"
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    extra: Mapping[str, Json] = field(default_factory=dict)
    cached: bool = False

    @property
    def text(self) -> str:
        """The visible text: `content`, flattened if it came in parts; empty if there is none."""
        content = self.message.get("content")
        if isinstance(content, str):
            return content
        parts = content if isinstance(content, list) else []
        texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
        return "".join(text for text in texts if isinstance(text, str))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What stood in a request and is not part of what a model is asked, by policy.

    Attributes:
        fields: where labels stood, such as `messages.timestamp`.
        pictures: how many of a conversation's older pictures.
    """

    fields: tuple[str, ...] = ()
    pictures: int = 0


@dataclass(frozen=True, slots=True)
class Chat:
    """One request to a model, its pictures taken out.

    Attributes:
        model: the model's name as the client sent it.
        messages: OpenAI messages; the URL of picture i is `image_placeholder(i)`.
        parameters: every other field of the request body (`temperature`, `max_tokens`, `tools`,
            and fields this package does not know), unchanged, without `stream`.
        pictures: how many pictures the messages refer to.
        left_out: what the request held beside that; neither sent nor digested.
    """

    model: str
    messages: tuple[Mapping[str, Json], ...]
    parameters: Mapping[str, Json] = field(default_factory=dict)
    pictures: int = 0
    left_out: LeftOut = LeftOut()

    @property
    def prompt(self) -> str:
        """The text of the last user message, for oracles that judge an answer by its question."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return Answer(message).text
        return ""


def picture_chat(
    model: str, prompt: str, parameters: Mapping[str, Json] | None = None, *, pictures: int = 1
) -> Chat:
    """The usual request: pictures, then a question about them."""
    parts = [
        {"type": "image_url", "image_url": {"url": image_placeholder(i)}} for i in range(pictures)
    ]
    message = {"role": "user", "content": [*parts, {"type": "text", "text": prompt}]}
    return Chat(model, (message,), parameters or {}, pictures)


def image_placeholder(index: int) -> str:
    """The URL that stands for picture `index` in a Chat's messages."""
    return f"{_PLACEHOLDER}{index}"


def placeholder_index(url: str) -> int:
    """Which picture a placeholder stands for."""
    return int(url.removeprefix(_PLACEHOLDER))


_PLACEHOLDER = "guardrail-image:"
