"""What a provider says in place of an answer: its status, or an error inside a 200.

Messages never quote what a provider sent, since providers quote keys and content back. Only its
machine-readable word is passed on as the code, where it plainly is one.
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

__all__ = [
    "CONTENT_FILTER",
    "REFUSALS_FOR_ALL",
    "RETRY_AFTER_MAX_S",
    "STATUS_OF_WORD",
    "UPSTREAM_AUTH",
    "error_words",
    "is_refusal",
    "retry_after_s",
    "status_fault",
    "timeout_fault",
]

UPSTREAM_AUTH = "upstream_auth"
"""The code of a provider that takes not the client's key, which it never sees, but the guard's."""

CONTENT_FILTER = "content_filter"
"""The code of a provider whose own filter refused the request."""

RETRY_AFTER_MAX_S = 3600.0
"""The longest pause that a provider may ask for; longer ones are cut to it."""

REFUSALS_FOR_ALL = frozenset({401, 402, 403, 404})
"""Statuses by which a provider refuses the key, the account, the model or the address: what one
call meets, all meet."""

_BAD_REQUEST = 400
_TOO_MANY = 429
_AUTH = (401, 403)
_TRANSIENT_4XX = {408, 409, 425, 429}
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,47}")
_FILTER_WORDS = frozenset(
    # OpenAI and litellm, Azure (inside and out), Alibaba.
    {CONTENT_FILTER, "content_policy_violation", "ResponsibleAIPolicyViolation"}
    | {"data_inspection_failed", "DataInspectionFailed"}
)
_QUOTA_WORDS = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
    | {"insufficient_balance", "insufficient_user_quota"}
)
STATUS_OF_WORD = {
    **dict.fromkeys(_FILTER_WORDS, 400),
    **dict.fromkeys(_QUOTA_WORDS, 429),
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "RateLimitError": 429,
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 529,
}
"""What known words stand for: of errors inside a 200 that give no number. Messages say them."""
_SHORTEST_KEY = 8  # a hidden value shorter than this is not a key, and part of too many words
_REMEDIES = {
    400: "check that the model takes this request, its pictures and its parameters",
    402: "the provider wants to be paid; check the account that the upstream's key belongs to",
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
    if 300 <= status <= 399:
        return _redirect_fault(status, headers.get("location", ""))
    words = error_words(raw, hidden)
    word = next(iter(words), None)
    said = f"HTTP {status}" + (f" ({word})" if word in STATUS_OF_WORD else "")
    if status in _AUTH:
        return _auth_error(status, said)
    spent = status == _TOO_MANY and not _QUOTA_WORDS.isdisjoint(words)
    transient = (status in _TRANSIENT_4XX or 500 <= status <= 599) and not spent
    if status == _BAD_REQUEST and not _FILTER_WORDS.isdisjoint(words):
        word, remedy = CONTENT_FILTER, "the provider's own filter refused this request"
    elif spent:
        remedy = "the provider's quota is used up; raise it, or check the account's billing"
    else:
        remedy = _REMEDIES.get(status, "retry later" if transient else "see the upstream's own log")
    return UpstreamError(
        f"the upstream answered {said}; {remedy}",
        status=status if 400 <= status <= 599 else 502,
        transient=transient,
        retry_after_s=retry_after_s(headers) if transient else None,
        code=word,
        undrawn=status in undrawn,
    )


def is_refusal(fault: UpstreamError) -> bool:
    """Whether the provider's own filter refused the request: an outcome, and no fault."""
    return fault.status == _BAD_REQUEST and fault.code in _FILTER_WORDS


def _auth_error(status: int, said: str) -> UpstreamError:
    """No 401 or 403 for the client: the key is the guard's, and the client's own may be right."""
    return UpstreamError(
        f"the upstream refused the guard's own access: {said}; check the API key that the upstream "
        "was given, and that it may use this model",
        code=UPSTREAM_AUTH,
        upstream_status=status,
    )


def _redirect_fault(status: int, location: str) -> UpstreamError:
    """No call is sent on: its key would go to wherever an answer points."""
    start = location[:8].lower()
    where = "another path" if start.startswith("/") else "another address"
    if start == "https://":
        where = "an https address"
    return UpstreamError(
        f"the upstream answered HTTP {status}, a redirect to {where}, which is not followed; set "
        "its base URL to where it leads (https for http, the path up to and with /v1)",
        code="upstream_redirect",
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


def error_words(raw: bytes, hidden: Collection[str]) -> list[str]:
    """The provider's machine-readable words, the most telling first; those that plainly are.

    SGLang, and vLLM in the past, have no `error` around the fields; Azure has another inside.
    """
    try:
        body = json.loads(raw)
        error = body if body.get("object") == "error" else body["error"]
        words = [error.get("code"), error.get("type")]
        inner = error.get("innererror") or error.get("error")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return []
    words += [inner.get("code"), inner.get("type")] if isinstance(inner, dict) else []
    return [word for word in words if _is_token(word, hidden)]


def _is_token(word: Json, hidden: Collection[str]) -> bool:
    if not isinstance(word, str) or not _TOKEN.fullmatch(word):
        return False
    keys = [key for key in hidden if len(key) >= _SHORTEST_KEY]
    return not any(key in word or word in key for key in keys)
