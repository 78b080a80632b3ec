"""A reply as Starlette sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from guardrail.api.errors import reply_to_error
from guardrail.api.strict_json import encode_json
from guardrail.server.access import note_fault
from guardrail.server.error_form import form_error

if TYPE_CHECKING:
    from starlette.types import Scope

    from guardrail.api.errors import Reply

__all__ = ["fault_response", "json_response"]


def json_response(reply: Reply) -> Response:
    return _JsonResponse(reply)


def fault_response(scope: Scope, error: Exception) -> Response:
    """The answer to a request that ended with a fault, which the access log is told of."""
    note_fault(scope, error)
    return json_response(form_error(scope, reply_to_error(error)))


class _JsonResponse(Response):
    """Starlette's own, with its headers written at once instead of looked through."""

    def __init__(self, reply: Reply) -> None:
        self.status_code = reply.status
        self.body = encode_json(reply.body)
        self.background = None
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in reply.headers.items()
        ]
        size = str(len(self.body)).encode("latin-1")
        self.raw_headers = [
            *headers,
            (b"content-length", size),
            (b"content-type", b"application/json"),
        ]
