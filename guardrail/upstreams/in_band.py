"""Errors that come inside an answer of HTTP 200 or inside a stream."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError
from guardrail.upstreams.faults import STATUS_OF_WORD, error_words, status_fault

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from guardrail.types import Json

__all__ = ["broken_stream_error", "find_error", "in_band_fault"]

_STATUS_FIELDS = ("code", "status", "status_code", "http_status", "type")
_DIGITS = re.compile(r"[0-9]+")
_MALFORMED = "upstream_malformed_response"


def broken_stream_error(what: str, *, in_answer: bool = True) -> UpstreamError:
    """The error for a stream that is not one answer.

    Args:
        what: it held.
        in_answer: whether what it held could be read, so that the upstream is up for all others.
    """
    return UpstreamError(
        f"the upstream's stream held {what}, or broke off; see the upstream's own log",
        transient=True,
        code=_MALFORMED,
        in_answer=in_answer,
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


def in_band_fault(
    error: Json, headers: Mapping[str, str] | None = None, *, hidden: Collection[str] = ()
) -> UpstreamError:
    """The fault for an error that came inside an answer: that of the status which it names.

    An answer may have been drawn before and be withheld, so it never counts as undrawn, and it is
    the outcome of its variant whatever status it names.

    Args:
        error: what `find_error` found; its text is never quoted.
        headers: the response's, which may say when to come back.
        hidden: keys; a code that holds one of them, or is part of one, is dropped.
    """
    raw = json.dumps({"error": error}, default=str).encode()
    status = _find_status(error, error_words(raw, hidden))
    if status is None:
        return UpstreamError(
            "the upstream sent an error in place of an answer, or in the middle of one; see the "
            "upstream's own log",
            transient=True,
            code=_MALFORMED,
            in_answer=True,
        )
    fault = status_fault(status, headers or {}, raw, hidden=hidden)
    return UpstreamError(
        str(fault).replace("HTTP", "with an error inside a 200: HTTP", 1),
        status=fault.status,
        transient=fault.transient,
        retry_after_s=fault.retry_after_s,
        code=fault.code,
        in_answer=True,
        upstream_status=fault.upstream_status,
    )


def _find_status(error: Json, words: Collection[str]) -> int | None:
    """The status that an error names: numbers before words, its own before what it wraps."""
    inner = error.get("error") if isinstance(error, dict) else None
    places = [place for place in (error, inner) if isinstance(place, dict)]
    for value in (place.get(name) for place in places for name in _STATUS_FIELDS):
        number = int(value[:4]) if isinstance(value, str) and _DIGITS.fullmatch(value) else value
        if type(number) is int and 400 <= number <= 599:
            return number
    return next((STATUS_OF_WORD[word] for word in words if word in STATUS_OF_WORD), None)
