"""A request of any kind once it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.records.sent_pictures import SentPictures

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
    counts while a stream is held; `words_once` is said of clients that show content and refusal
    one after the other; `withheld` names what of the request the model is not told; `keeps_items`
    is whether later requests may name parts of the answer by their ids; `request_id` is what the
    request is logged by, empty where nobody said. `sent` holds the encoded pictures that records
    keep, once they are there, and none where they keep none.
    """

    chat: Chat
    sources: list[Source] = field(default_factory=list)
    stream: bool = False
    include_usage: bool = False
    echo: Mapping[str, Json] = field(default_factory=dict)
    progress: bool = False
    words_once: bool = False
    withheld: tuple[str, ...] = ()
    keeps_items: bool = False
    request_id: str = ""
    sent: SentPictures = field(default_factory=SentPictures, compare=False)
