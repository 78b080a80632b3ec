"""Prompt suffixes: the shorter requests of which one is the request before a suffix was added.

Words: a suffix is white space and then at most d words with white space between them. View j takes
off the white space at the end, and then j times the last word and the white space before it. Of a
request with a suffix of j words, view j is the request without it, to the last code point (white
space at its end taken off). Characters: view j takes off the last j code points.

White space is what `str.isspace` says. Nothing is normalised: the text that is left is a beginning
of the text that was sent (Kumar et al. 2023, arXiv 2309.02705, erase tokens of the model instead).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.types import Json

__all__ = ["cut_characters", "cut_words", "last_user_text", "with_last_user_text"]


def cut_words(text: str, most: int) -> tuple[str, ...]:
    """Views 0 to at most `most`; none is without a word, so there may be fewer, or none."""
    views: list[str] = []
    rest = text.rstrip()
    while rest and len(views) <= most:
        views.append(rest)
        rest = rest[: _last_word(rest)].rstrip()
    return tuple(views)


def cut_characters(text: str, most: int) -> tuple[str, ...]:
    """Views 0 to at most `most`; none is empty."""
    return tuple(text[: len(text) - j] for j in range(min(most + 1, len(text))))


def _last_word(text: str) -> int:
    """Where the last word of a text begins that does not end in white space."""
    return len(text) - len(text.rsplit(None, 1)[-1])


def last_user_text(chat: CanonicalChat) -> str | None:
    """The last text of the last message of the user; None where that has none."""
    place = _place(chat)
    if place is None:
        return None
    message, part = place
    content = chat.messages[message]["content"]
    if part is None:
        return str(content)
    return str(content[part]["text"])


def with_last_user_text(chat: CanonicalChat, text: str) -> CanonicalChat:
    """The same request with another text there, and nothing else changed.

    Raises:
        ValueError: there is none.
    """
    place = _place(chat)
    if place is None:
        raise ValueError("the chat has no text of the user")
    index, part = place
    message = dict(chat.messages[index])
    if part is None:
        message["content"] = text
    else:
        parts = list(message["content"])
        parts[part] = {**parts[part], "text": text}
        message["content"] = parts
    messages = (*chat.messages[:index], message, *chat.messages[index + 1 :])
    return dataclasses.replace(chat, messages=messages)


def _place(chat: CanonicalChat) -> tuple[int, int | None] | None:
    """Message and part of the text; the part is None where the content is one text."""
    for index in range(len(chat.messages) - 1, -1, -1):
        message = chat.messages[index]
        if message.get("role") == "user":
            return _place_in(index, message)
    return None


def _place_in(index: int, message: Mapping[str, Json]) -> tuple[int, int | None] | None:
    content = message.get("content")
    if isinstance(content, str):
        return index, None
    parts = content if isinstance(content, list) else []
    for part in range(len(parts) - 1, -1, -1):
        if isinstance(parts[part], dict) and isinstance(parts[part].get("text"), str):
            return index, part
    return None
