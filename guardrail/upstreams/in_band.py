"""Errors that come inside an answer of HTTP 200 or inside a stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError
from guardrail.upstreams.faults import status_fault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from guardrail.types import Json

__all__ = ["broken_stream_error", "find_error", "in_band_fault"]

_STATUS_FIELDS = ("code", "status", "status_code", "http_status", "type")
_STATUS_OF_WORD = {
    # The words that OpenAI and Anthropic document, where no number stands beside them.
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 529,
}


def broken_stream_error(what: str) -> UpstreamError:
    """The error for a stream that is not one answer."""
    return UpstreamError(
        f"the upstream's stream held {what}, or broke off; check that its base URL leads to a "
        "chat model",
        transient=True,
        code="upstream_malformed_response",
    )


def find_error(body: Mapping[str, Json]) -> Json:
    """The error that a response, a chunk or a choice is; None where it is none.

    Beside OpenAI's `{"error": {...}}` there are `{"object": "error", ...}` (SGLang and vLLM),
    `{"type": "error", ...}` (Anthropic), and objects without choices that hold a message.
    """
    if body.get("error"):
        return body["error"]
    if "error" in (body.get("object"), body.get("type")):
        return body
    if "choices" not in body and any(body.get(name) for name in ("message", "detail", "errors")):
        return body
    return None


def in_band_fault(error: Json, *, hidden: Collection[str] = ()) -> UpstreamError:
    """The fault for an error that came inside an answer: that of the status which it names.

    An answer may have been drawn before, so it never counts as undrawn.

    Args:
        error: what `find_error` found; its text is never quoted.
        hidden: keys; a code that holds one of them, or is part of one, is dropped.
    """
    status = next(_statuses(error), None)
    if status is None:
        return UpstreamError(
            "the upstream sent an error in place of an answer, or in the middle of one; see the "
            "upstream's own log",
            transient=True,
            code="upstream_malformed_response",
        )
    return status_fault(status, {}, json.dumps({"error": error}).encode(), hidden=hidden)


def _statuses(error: Json) -> Iterator[int]:
    """The statuses that it names, numbers before words, its own before those of what it wraps."""
    inner = error.get("error") if isinstance(error, dict) else None
    places = [place for place in (error, inner) if isinstance(place, dict)]
    values = [place.get(name) for place in places for name in _STATUS_FIELDS]
    numbers = [int(v) for v in values if type(v) is int or (isinstance(v, str) and _is_number(v))]
    yield from (number for number in numbers if 400 <= number <= 599)
    yield from (_STATUS_OF_WORD[v] for v in values if isinstance(v, str) and v in _STATUS_OF_WORD)


def _is_number(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isdigit()
