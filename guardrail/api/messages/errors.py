"""Errors as Anthropic's clients expect them: `{"type": "error", "error": {...}, "request_id"}`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from guardrail.api.chat.reply import new_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.errors import Reply

__all__ = ["REQUEST_ID", "anthropic_error"]

REQUEST_ID = "request-id"
"""The header in which Anthropic's clients look for it."""

_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_FULL_HOUSE = "overloaded"  # in the codes of what is full, here or at the upstream


def anthropic_error(reply: Reply, request_id: str) -> Reply:
    """An error of `error_reply` in Anthropic's form, with the same status and headers.

    Code and field stand under `details`, where Anthropic's clients look for a code; the
    `guardrail` object stays where it is.
    """
    told = reply.body["error"]
    name = request_id or new_name()
    error = {
        "type": _type(reply.status, told["code"] or ""),
        "message": told["message"],
        "details": {"error_code": told["code"], "param": told["param"]},
    }
    beside = {key: value for key, value in reply.body.items() if key != "error"}
    return replace(
        reply,
        body={"type": "error", "error": error, "request_id": name, **beside},
        headers={**reply.headers, REQUEST_ID: name},
    )


def _type(status: int, code: str) -> str:
    if status == 503 and _FULL_HOUSE in code:
        return "overloaded_error"
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
