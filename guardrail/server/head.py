"""What is wrong with a head that the parser took: too large, or read differently by others.

httptools itself refuses what else differs: Content-Length beside Transfer-Encoding or twice, folded
header fields, bare line feeds, NUL and other control characters, and blanks before the colon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.server.refusal import HEAD_TOO_LARGE, TOO_MANY_HEADERS, make_malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.api.wire_limits import WireLimits
    from guardrail.server.refusal import Refusal

__all__ = ["find_fault"]

_CODED = make_malformed("has a Transfer-Encoding that is not chunked, or one in HTTP/1.0")
_VERSION = make_malformed("is neither HTTP/1.1 nor HTTP/1.0")
_HOSTS = make_malformed("must name one Host")


def find_fault(
    version: str, url: bytes, headers: Sequence[tuple[bytes, bytes]], limits: WireLimits
) -> Refusal | None:
    """The refusal of this head, if it is not taken; names of headers are in lower case."""
    size, hosts = len(url), 0
    for name, value in headers:
        size += len(name) + len(value) + 4  # with colon, blank and line end
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and (
            version != "1.1" or value.strip().lower() != b"chunked"
        ):
            return _CODED
    if size > limits.max_head_bytes:
        return HEAD_TOO_LARGE
    if len(headers) > limits.max_headers:
        return TOO_MANY_HEADERS
    if version not in ("1.0", "1.1"):
        return _VERSION
    return _HOSTS if hosts > 1 or (hosts < 1 and version == "1.1") else None
