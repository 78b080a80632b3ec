"""What a connection is told that met a bound before the app had a request to answer."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from guardrail.api.errors import error_reply
from guardrail.api.strict_json import encode_json

if TYPE_CHECKING:
    from guardrail.api.refusals import RefusedBound

__all__ = [
    "BUSY",
    "CROWDED",
    "HEAD_TOO_LARGE",
    "HEAD_TOO_LATE",
    "MALFORMED",
    "PIPELINED",
    "TOO_MANY_HEADERS",
    "TRAILERS",
    "Refusal",
    "make_malformed",
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status and its words, and the bound under which it is counted."""

    status: int
    code: str
    message: str
    bound: RefusedBound

    def response(self) -> bytes:
        """The whole HTTP answer, with OpenAI's form of an error; the connection ends with it."""
        reply = error_reply(self.status, self.message, code=self.code)
        body = encode_json(reply.body)
        headers = {
            **reply.headers,
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
        }
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def make_malformed(what: str) -> Refusal:
    """A request that other servers may read in another way."""
    return Refusal(400, "malformed_request", f"the HTTP request {what}", "malformed")


MALFORMED = make_malformed("cannot be read; send HTTP/1.1 as RFC 9112 has it")
TRAILERS = Refusal(400, "malformed_request", "the HTTP request has trailers; send none", "trailers")
PIPELINED = Refusal(
    400,
    "malformed_request",
    "too many requests were sent before the first was answered; wait for answers",
    "pipelined",
)
HEAD_TOO_LARGE = Refusal(
    431,
    "headers_too_large",
    "the request line and header fields are too large; send fewer or shorter ones",
    "head_bytes",
)
TOO_MANY_HEADERS = Refusal(
    431, "headers_too_large", "the request has too many header fields; send fewer", "headers"
)
HEAD_TOO_LATE = Refusal(
    408,
    "request_timeout",
    "the header fields did not arrive in time; send them faster",
    "head_time",
)
BUSY = Refusal(503, "overloaded", "too many connections are open here; retry later", "connections")
CROWDED = Refusal(
    503,
    "overloaded",
    "too many connections are open from this address; use fewer, or retry later",
    "connections_per_address",
)
