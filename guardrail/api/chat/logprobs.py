"""Token probabilities of a delivered answer, cut down to what its judged text says already.

A provider's tokens are texts of their own: alternatives to the answer, or tokens that do not add
up to it, would carry words past the oracle. So they are made anew from the answer's own bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["format_logprobs"]

_TEXTS = ("content", "refusal")


def format_logprobs(logprobs: Json, message: Mapping[str, Json]) -> dict[str, Json] | None:
    """The probability of each token of the message; None where they are not exactly those.

    Alternatives are left out, whether asked for or not.
    """
    if not isinstance(logprobs, dict) or any(
        value and name not in _TEXTS for name, value in logprobs.items()
    ):
        return None
    told: dict[str, Json] = {}
    for name in _TEXTS:
        told[name] = _tokens(logprobs.get(name), message.get(name))
        if told[name] is None and logprobs.get(name):
            return None
    return told


def _tokens(entries: Json, text: Json) -> list[Json] | None:
    if entries == []:
        return []
    if not isinstance(entries, list) or not isinstance(text, str):
        return None
    pieces = [_bytes(entry) for entry in entries]
    whole = [piece for piece in pieces if piece is not None]
    if len(whole) < len(pieces) or b"".join(whole) != text.encode():
        return None
    return [_token(piece, entry) for piece, entry in zip(whole, entries, strict=True)]


def _bytes(entry: Json) -> bytes | None:
    """What a token adds to the text; None where the entry has not OpenAI's form."""
    if not isinstance(entry, dict) or type(entry.get("logprob")) not in (int, float):
        return None
    token, given = entry.get("token"), entry.get("bytes")
    if given is None:
        return token.encode() if isinstance(token, str) else None
    if not isinstance(given, list) or any(type(byte) is not int for byte in given):
        return None
    return bytes(given) if all(0 <= byte < 256 for byte in given) else None


def _token(piece: bytes, entry: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "token": piece.decode(errors="backslashreplace"),
        "logprob": entry["logprob"],
        "bytes": list(piece),
        "top_logprobs": [],
    }
