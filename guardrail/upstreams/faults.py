"""Responses that are errors: a provider's status to an UpstreamError.

Messages never quote what a provider sent, since providers quote keys and content back.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from guardrail.types import Json

__all__ = ["RETRY_AFTER_MAX_S", "retry_after_s", "status_fault", "timeout_fault"]

RETRY_AFTER_MAX_S = 3600.0
"""The longest pause that a provider may ask for; longer ones are cut to it."""

_TRANSIENT_4XX = {408, 409, 425, 429}
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,47}")
_SHORTEST_KEY = 8  # a hidden value shorter than this is not a key, and part of too many words
_REMEDIES = {
    400: "check that the model takes this request, its pictures and its parameters",
    401: "check the API key that the upstream was given",
    403: "check that the API key may use this model",
    404: "check the upstream's base URL and the model's name",
    413: "send fewer or smaller pictures, or encode the variants as jpeg",
    422: "check that the model takes this request, its pictures and its parameters",
    429: "retry later, or ask the provider for a higher limit",
}


def status_fault(
    status: int,
    headers: Mapping[str, str],
    raw: bytes,
    *,
    hidden: Collection[str] = (),
    undrawn: Collection[int] = (),
) -> UpstreamError:
    """The error for a response whose status is not 200.

    Args:
        status: the response's own; passed on where it lies in 400 to 599.
        headers: the response's, names in any case if the mapping ignores case.
        raw: as much of the response's body as was read.
        hidden: keys; a code that holds one of them, or is part of one, is dropped.
        undrawn: the statuses by which the upstream says that it drew no answer.
    """
    transient = status in _TRANSIENT_4XX or 500 <= status <= 599
    remedy = "retry later" if transient else "see the upstream's own log"
    return UpstreamError(
        f"the upstream answered HTTP {status}; {_REMEDIES.get(status, remedy)}",
        status=status if 400 <= status <= 599 else 502,
        transient=transient,
        retry_after_s=retry_after_s(headers) if transient else None,
        code=_error_code(raw, hidden),
        undrawn=status in undrawn,
    )


def timeout_fault(timeout_s: float) -> UpstreamError:
    """The error for a call that took longer than it may."""
    return UpstreamError(
        f"the upstream did not answer within {timeout_s:g} s; raise timeout_s or check it",
        status=504,
        transient=True,
        code="upstream_timeout",
    )


def retry_after_s(headers: Mapping[str, str], *, now_s: float | None = None) -> float | None:
    """Seconds that the provider asks to wait, in [0, RETRY_AFTER_MAX_S]; None if it does not say.

    `retry-after` holds seconds or an HTTP date; `retry-after-ms` is more precise where it exists.
    """
    milliseconds = _finite(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bound(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _finite(value)
    if seconds is None:
        seconds = _seconds_until(value, time.time() if now_s is None else now_s)
    return None if seconds is None else _bound(seconds)


def _finite(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None and len(text) < 32 else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds_until(date: str | None, now_s: float) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date or "").timestamp() - now_s
    except (ValueError, OverflowError):
        return None


def _bound(seconds: float) -> float:
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)


def _error_code(raw: bytes, hidden: Collection[str]) -> str | None:
    """The provider's machine-readable word; None where it is not plainly one.

    SGLang, and vLLM in the past, have no `error` around the fields.
    """
    try:
        body = json.loads(raw)
        error = body if body.get("object") == "error" else body["error"]
        words = [error.get("code"), error.get("type")]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return next((word for word in words if _is_token(word, hidden)), None)


def _is_token(word: Json, hidden: Collection[str]) -> bool:
    if not isinstance(word, str) or not _TOKEN.fullmatch(word):
        return False
    keys = [key for key in hidden if len(key) >= _SHORTEST_KEY]
    return not any(key in word or word in key for key in keys)
