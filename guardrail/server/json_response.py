"""A reply as Starlette sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from guardrail.api.strict_json import encode_json

if TYPE_CHECKING:
    from guardrail.api.errors import Reply

__all__ = ["json_response"]


def json_response(reply: Reply) -> Response:
    return Response(
        encode_json(reply.body),
        status_code=reply.status,
        headers=dict(reply.headers),
        media_type="application/json",
    )
