"""Where work runs: at once on the event loop, or in a thread; the one place that decides it.

Handing work to a thread takes about 50 µs on an idle machine (median of 2,000 empty calls) and
more on a busy one, and two running threads compete for the interpreter. So small work
runs at once. Large work would keep every other request waiting, so it goes to a thread. Each kind
of work has a limit of its own in the table below: a byte of a JPEG costs more than a byte of JSON.

    text = await offload(EXTRACT_TEXT, text_size(message), extract_text, answer)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from operator import le
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from guardrail.types import Json

__all__ = [
    "CANONICAL_CHAT",
    "DECODE_PICTURES",
    "ENCODE_LOSSY",
    "ENCODE_PNG",
    "EXTRACT_TEXT",
    "FIND_LANGUAGE",
    "FIND_PLAN",
    "READ_BODY",
    "READ_PICTURE_TEXT",
    "SCORE_TEXT",
    "InlineLimit",
    "chat_size",
    "offload",
    "text_size",
]

# Made once: `list | tuple` in a function makes a new type at each call, which takes longer than
# the question. A dict first, as other mappings are looked for at length.
_LISTS = (list, tuple)
_MAPPINGS = (dict, Mapping)
_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class InlineLimit:
    """The largest work of one kind that runs at once; sizes in the order in which they are named.

    Args:
        most: the largest size of each unit.
    """

    def __init__(self, **most: int) -> None:
        self.most = tuple(most.values())
        self._units = tuple(most)

    def __repr__(self) -> str:
        limits = (f"{unit}={most}" for unit, most in zip(self._units, self.most, strict=True))
        return f"InlineLimit({', '.join(limits)})"

    def allows(self, *size: int) -> bool:
        """Whether work of this size runs at once."""
        if len(size) != len(self.most):
            raise ValueError(f"sizes are given as {', '.join(self._units)}")
        return all(map(le, size, self.most))


READ_BODY = InlineLimit(bytes=1 << 15)
"""JSON of a request's body: so much is parsed in about the time of waking a thread."""

CANONICAL_CHAT = InlineLimit(chars=1 << 15, values=1 << 10)
"""A chat's canonical form and digest, by `chat_size`: below the time of waking a thread."""

EXTRACT_TEXT = InlineLimit(chars_and_values=10_000)
"""The text of an answer, by `text_size`: the worst of this size takes some 15 ms."""

FIND_LANGUAGE = InlineLimit(chars=1 << 13)
"""Whether a text is English: some 0.6 ms for as many characters."""

FIND_PLAN = InlineLimit(pictures=0)
"""The plan of a test: seconds where it is not known yet; a request without pictures has none."""

SCORE_TEXT = InlineLimit(chars=1024)
"""Scores of a small text model: below the time of waking its thread."""

DECODE_PICTURES = InlineLimit(bytes=1 << 15, pixels=1 << 16, processes=0)
"""All pictures of a request: decoded faster than a thread is woken; those that take a process of
their own never at once."""

READ_PICTURE_TEXT = InlineLimit(pixels=0)
"""Text recognition: hundreds of milliseconds for the smallest picture, so never at once."""

ENCODE_PNG = InlineLimit(bytes=1 << 20)
"""Raw bytes of a variant; a PNG only stores them, in well under a millisecond."""

ENCODE_LOSSY = InlineLimit(bytes=1 << 17)
"""Raw bytes of a variant as JPEG or WebP, encoded in well under a millisecond."""


async def offload(
    limit: InlineLimit,
    size: int | tuple[int, ...],
    function: Callable[[*_Ts], _T],
    *arguments: *_Ts,
    executor: Executor | None = None,
) -> _T:
    """What `function(*arguments)` returns, called at once where the limit allows its size.

    Args:
        limit: one of the table.
        size: of this work, in the limit's units.
        function: what is to be done; must not need the event loop.
        arguments: its arguments.
        executor: whose threads do large work; None for the event loop's own.
    """
    if limit.allows(*((size,) if isinstance(size, int) else size)):
        return function(*arguments)
    return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)


def chat_size(*values: Json) -> tuple[int, int]:
    """The size of JSON values for `CANONICAL_CHAT`; correct as far as it is within the limit."""
    most_chars, most_values = CANONICAL_CHAT.most
    return _count_json(values, most_chars=most_chars, most_values=most_values)


def text_size(*values: Json) -> int:
    """The size of JSON values for `EXTRACT_TEXT`; correct as far as it is within the limit."""
    (most,) = EXTRACT_TEXT.most
    return sum(_count_json(values, most_chars=most, most_values=most))


def _count_json(roots: tuple[Json, ...], *, most_chars: int, most_values: int) -> tuple[int, int]:
    """Characters of all texts and names of fields, and values of every kind, containers included.

    Counts until one of the two is beyond its limit, so in time bounded by the limits.

    `{"a": ["bc", 1]}` has 3 characters ("a", "bc") and 4 values (object, array, text, number).
    """
    found: list[Json] = list(roots)
    chars, values = 0, len(found)
    for item in found:  # which grows meanwhile
        if chars > most_chars or values > most_values:
            break
        if isinstance(item, str):
            chars += len(item)
        elif isinstance(item, _MAPPINGS):
            chars += sum(map(len, item))
            values += len(item)
            found += item.values()
        elif isinstance(item, _LISTS):
            values += len(item)
            found += item
    return chars, values
