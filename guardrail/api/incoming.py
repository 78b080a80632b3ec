"""A request of any kind once it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.pictures.loader import Source
    from guardrail.types import Chat, Json

__all__ = ["Incoming"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request, read.

    `sources` are its pictures, in the order of their placeholders; the code that opens them empties
    the list, so that no encoded picture is kept during the decision. `include_usage` is
    `stream_options.include_usage`; `echo` is what the answer repeats; `progress` asks for the
    counts while a stream is held.
    """

    chat: Chat
    sources: list[Source] = field(default_factory=list)
    stream: bool = False
    include_usage: bool = False
    echo: Mapping[str, Json] = field(default_factory=dict)
    progress: bool = False
