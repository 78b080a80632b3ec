"""The request of a call in OpenAI's form: its body from a chat, the pictures left out of it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from guardrail.counted_noun import count_of
from guardrail.errors import RequestError, UpstreamError
from guardrail.upstreams.base import fill_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.types import Chat, Json, Pixels

__all__ = [
    "RequestFrame",
    "TokenLimitName",
    "check_pictures",
    "provider_seed",
    "request_frame",
    "request_parameters",
]

TokenLimitName: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
"""OpenAI's names, old and new, of the most tokens that an answer may take."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)  # made once
_NOT_SENT = {"stream", "stream_options", "seed"}
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
_DROPPED_SEED_BITS = 63 - 31  # Gemini's seed is a signed 32-bit integer; all others take more


def check_pictures(chat: Chat, pictures: Sequence[Pixels]) -> None:
    """Raises UpstreamError where the pictures are not those that the chat refers to."""
    if chat.pictures != len(pictures):
        raise UpstreamError(
            f"the chat refers to {count_of(chat.pictures, 'picture')} but "
            f"{count_of(len(pictures), 'was', 'were')} given",
            status=500,
        )


def request_parameters(chat: Chat) -> dict[str, Json]:
    """The request's parameters unchanged, less those that ask for a stream or name a seed.

    Variants that all draw by one seed of the client are not independent draws.

    Raises:
        RequestError: more than one choice is asked for.
    """
    if chat.parameters.get("n") not in (None, 1):
        raise RequestError(
            "n: one call to the model draws one answer; leave n out or set it to 1", param="n"
        )
    return {name: value for name, value in chat.parameters.items() if name not in _NOT_SENT}


def provider_seed(seed: int) -> int:
    """A call's seed of 63 bits as one that every provider takes, in [0, 2³¹)."""
    return seed >> _DROPPED_SEED_BITS


@dataclass(frozen=True, slots=True)
class RequestFrame:
    """The JSON body of a call with its pictures left out: pieces of it, and numbers of pictures.

    Calls for the same chat differ in their pictures alone, so one frame serves for all of them.
    """

    pieces: tuple[bytes | int, ...]

    def body(self, urls: Sequence[bytes]) -> list[bytes]:
        """The body in pieces, with `urls[i]` (ASCII, plain in JSON) as picture i.

        Pictures are by far the largest part: they are neither copied nor escaped.
        """
        return [urls[piece] if isinstance(piece, int) else piece for piece in self.pieces]


def request_frame(
    chat: Chat,
    model: str,
    *,
    url_start: str = "",
    stream: bool = False,
    token_limit_name: TokenLimitName | None = None,
) -> RequestFrame:
    """The frame of every call for this chat; `url_start` stands before each picture.

    A limit of tokens goes under `token_limit_name`, if there is one, whatever it was called.

    Raises:
        RequestError: a parameter is not JSON.
        UpstreamError: a picture has no place in the messages.
    """
    parameters = _limit(request_parameters(chat), token_limit_name)
    body = {**parameters, "model": model, "messages": chat.messages}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if not chat.pictures:
        return RequestFrame((_encode(body),))
    mark = secrets.token_hex(16)  # unguessable, so that no text of a client can hold it
    marks = [f"{url_start}{mark}.{i}." for i in range(chat.pictures)]
    body["messages"] = fill_images(chat.messages, marks)
    start, *rest = _encode(body).split(mark.encode() + b".")
    pieces: list[bytes | int] = [start]
    for piece in rest:
        number, _, after = piece.partition(b".")
        pieces += [int(number), after]
    if set(pieces[1::2]) != set(range(chat.pictures)):
        raise UpstreamError("a picture of the chat has no place in its messages", status=500)
    return RequestFrame(tuple(pieces))


def _limit(parameters: dict[str, Json], name: TokenLimitName | None) -> dict[str, Json]:
    """The parameters with their limit under one name; the smaller one where they hold two."""
    given = [parameters[limit] for limit in _TOKEN_LIMITS if parameters.get(limit) is not None]
    if name is None or not given:
        return parameters
    counts = [limit for limit in given if type(limit) is int]
    chosen = min(counts) if len(counts) == len(given) else given[-1]  # the server refuses nonsense
    others = {key: value for key, value in parameters.items() if key not in _TOKEN_LIMITS}
    return {**others, name: chosen}


def _encode(body: Json) -> bytes:
    try:
        return _ENCODER.encode(body).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise RequestError("the request holds a value that JSON cannot express") from None
