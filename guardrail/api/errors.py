"""Every error as OpenAI's clients expect it: the right status and `{"error": {...}}`."""

from __future__ import annotations

import logging
import math
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.errors import (
    CertificationError,
    ConfigError,
    GuardrailError,
    LimitError,
    OracleError,
    RequestError,
    StorageError,
    UpstreamError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["Reply", "describe_crash_place", "error_reply", "log_crash", "reply_to_error"]

_log = logging.getLogger("guardrail.server")
_RETRY_AFTER_S = 5.0
_BUSY = (429, 503)
_TYPES = {403: "permission_error", 429: "rate_limit_error"}
_TYPES_OF_CODE = {"insufficient_quota": "insufficient_quota"}
_SPOKEN = (
    RequestError,
    UpstreamError,
    OracleError,
    LimitError,
    CertificationError,
    ConfigError,
    StorageError,
)
_REPEATED_4XX = (408, 409, 429)  # by OpenAI's clients, unless they are told not to
_RECORDS_FAILED = (
    "the decision could not be recorded, and without a record no answer leaves; retry later"
)
_CODES = {503: "service_unavailable", 504: "upstream_timeout"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer with a JSON body."""

    status: int
    body: Mapping[str, Json]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_error(self) -> bool:
        return self.body.get("error") is not None


def error_reply(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    retry_after_s: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error in OpenAI's form; it says when to come back where the provider did, or is busy."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    kind = _TYPES_OF_CODE.get(code or "", kind)
    error = {"message": message, "type": kind, "param": param, "code": code}
    more = dict(headers or {})
    wait_s = retry_after_s
    if wait_s is None and status in _BUSY and "x-should-retry" not in more:
        wait_s = _RETRY_AFTER_S
    if wait_s is not None:
        more["retry-after"] = str(max(1, math.ceil(wait_s)))
    return Reply(status, {"error": error}, more)


def reply_to_error(error: Exception) -> Reply:
    """The reply to any exception; an unforeseen one is reported without details."""
    if not isinstance(error, _SPOKEN):
        return error_reply(500, "the proxy failed; its log names the place", code="internal_error")
    return error_reply(
        error.status,
        _message(error),
        param=getattr(error, "param", None),
        code=getattr(error, "code", None) or _code(error),
        retry_after_s=getattr(error, "retry_after_s", None),
        headers={**_retry_hint(error), **getattr(error, "headers", {})},
    )


def _message(error: GuardrailError) -> str:
    if isinstance(error, ConfigError):
        return f"the guard is not set up rightly: {error.told}"
    if isinstance(error, StorageError):
        return _RECORDS_FAILED  # the error's own words name the operator's files and servers
    return str(error)


def _code(error: GuardrailError) -> str | None:
    if isinstance(error, ConfigError):
        return "misconfigured"
    if isinstance(error, OracleError):
        return "oracle_unavailable"
    if isinstance(error, CertificationError):
        return "guard_failed"
    if isinstance(error, StorageError):
        return "records_failed"
    return _CODES.get(error.status, "upstream_error" if isinstance(error, UpstreamError) else None)


def _retry_hint(error: GuardrailError) -> dict[str, str]:
    """OpenAI's clients repeat every 5xx unless told not to; each repeat costs a whole decision."""
    lasting = (
        isinstance(error, UpstreamError) and not error.transient and error.retry_after_s is None
    )
    repeated = error.status > 500 or error.status in _REPEATED_4XX
    spent = isinstance(error, LimitError) and error.retry_after_s is None
    hopeless = error.status == 500 or (repeated and lasting) or spent
    return {"x-should-retry": "false"} if hopeless else {}


def log_crash(error: BaseException) -> None:
    """Logs where an unforeseen error arose, but not its text, which may quote a request."""
    _log.error("unforeseen %s", describe_crash_place(error))


def describe_crash_place(error: BaseException) -> str:
    """The class of an exception and where it arose, without its text."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    place = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))
    return f"{type(error).__name__} at {place}"
