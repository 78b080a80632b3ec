"""Prompt suffixes: the shorter requests of which one is the request before a suffix was added.

Words: a suffix is white space and then at most d words with white space between them. View j takes
off the white space at the end, and then j times the last word and the white space before it. Of a
request with a suffix of j words, view j is the request without it, to the last code point (white
space at its end taken off). Characters: view j takes off the last j code points.

The text is the last one of the user that has a word, or a character: what a suffix stands behind is
found again in the request without it. Texts without any, behind it, switch no view off.

White space is what `str.isspace` says. Nothing is normalised: the text that is left is a beginning
of the text that was sent (Kumar et al. 2023, arXiv 2309.02705, erase tokens of the model instead).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from guardrail.engine.threats import SuffixUnit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.engine.threats import Suffix

__all__ = ["find_ends", "last_user_text", "with_last_user_text"]


def find_ends(text: str, suffix: Suffix) -> tuple[int, ...]:
    """How many characters of the text each view has, view 0 first; none without a view.

    Not the texts themselves: a hundred views of a text of megabytes would take gigabytes.
    """
    match suffix.unit:
        case SuffixUnit.WORDS:
            return _find_word_ends(text, suffix.most)
        case SuffixUnit.CHARACTERS:
            return tuple(len(text) - j for j in range(min(suffix.most + 1, len(text))))
        case _:
            assert_never(suffix.unit)


def _find_word_ends(text: str, most: int) -> tuple[int, ...]:
    words = text.rsplit(None, most + 1)[-(most + 1) :]
    ends, rest = [], len(text)
    for word in reversed(words):
        rest = text.rfind(word, 0, rest)  # nothing but white space stands behind it
        ends.append(rest + len(word))
    return tuple(ends)


def last_user_text(chat: CanonicalChat, unit: SuffixUnit) -> str | None:
    """The last text of the user with a word in it, or a character; None where there is none."""
    found = _find(chat, unit)
    return None if found is None else found.text


def with_last_user_text(chat: CanonicalChat, unit: SuffixUnit, text: str) -> CanonicalChat:
    """The same request with another text there, and nothing else changed.

    Raises:
        ValueError: there is none.
    """
    found = _find(chat, unit)
    if found is None:
        raise ValueError("the chat has no text of the user")
    index, part = found.message, found.part
    message = dict(chat.messages[index])
    if part is None:
        message["content"] = text
    else:
        parts = list(message["content"])
        parts[part] = {**parts[part], "text": text}
        message["content"] = parts
    messages = (*chat.messages[:index], message, *chat.messages[index + 1 :])
    return dataclasses.replace(chat, messages=messages)


@dataclass(frozen=True, slots=True)
class _Found:
    """A text and where it stands; `part` is None where the content is that one text."""

    text: str
    message: int
    part: int | None = None


def _find(chat: CanonicalChat, unit: SuffixUnit) -> _Found | None:
    return next((found for found in _user_texts(chat) if _has_any(found.text, unit)), None)


def _user_texts(chat: CanonicalChat) -> Iterator[_Found]:
    """Texts of the user, the last one first."""
    for index in range(len(chat.messages) - 1, -1, -1):
        message = chat.messages[index]
        content = message.get("content") if message.get("role") == "user" else None
        if isinstance(content, str):
            yield _Found(content, index)
        parts = content if isinstance(content, list) else []
        for place in range(len(parts) - 1, -1, -1):
            text = parts[place].get("text") if isinstance(parts[place], dict) else None
            if isinstance(text, str):
                yield _Found(text, index, place)


def _has_any(text: str, unit: SuffixUnit) -> bool:
    match unit:
        case SuffixUnit.WORDS:
            return bool(text) and not text.isspace()
        case SuffixUnit.CHARACTERS:
            return bool(text)
        case _:
            assert_never(unit)
