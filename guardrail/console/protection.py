"""What every request to the console must show, and what every answer says to the browser."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guardrail.errors import RequestError

if TYPE_CHECKING:
    from starlette.datastructures import Headers

__all__ = [
    "SECURITY_HEADERS",
    "check_host",
    "check_origin",
    "comes_by_link",
    "make_form_token",
    "same_token",
]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # `no-referrer` would make browsers say `Origin: null` with forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}

_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_OTHER_SITES = frozenset({"cross-site", "same-site"})


def check_host(headers: Headers) -> None:
    """Raises RequestError (421) unless the browser was led here by a name of this machine.

    Without keys the address alone lets somebody in. A page elsewhere can point a name of its own
    at 127.0.0.1 (DNS rebinding); its requests then carry that name.
    """
    try:
        host = urlsplit(f"//{headers.get('host', '')}").hostname
    except ValueError:  # such as a bracket without its end
        host = None
    if host not in _LOOPBACK_NAMES:
        raise RequestError(
            "this console takes no keys and is open under http://127.0.0.1 and http://localhost "
            "only; start the server with --keys to reach it by another name",
            status=421,
            code="unknown_host",
        )


def check_origin(method: str, headers: Headers) -> None:
    """Raises RequestError (403) where another site has sent the browser's request.

    A link that leads here is the one thing that another site may do.
    """
    is_link = method == "GET" and headers.get("sec-fetch-mode", "navigate") == "navigate"
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    from_elsewhere = site in _OTHER_SITES and not is_link
    if origin is not None and not (is_link and origin == "null"):
        from_elsewhere |= _find_place(origin) != headers.get("host")
    if from_elsewhere:
        raise RequestError(
            "this request came from another site; open the console itself and try again there",
            status=403,
            code="cross_site",
        )


def _find_place(origin: str) -> str:
    """Host and port of an origin; empty where it is none, which no host is."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def comes_by_link(headers: Headers) -> bool:
    """Whether another site's link led here, so that the browser has kept the cookie back."""
    return headers.get("sec-fetch-site") in _OTHER_SITES


def make_form_token(token: str) -> str:
    """What forms of a session carry; another site can neither read nor compute it."""
    return hashlib.blake2b(b"console form", key=_key(token), digest_size=24).hexdigest()


def same_token(given: str, expected: str) -> bool:
    """Whether they are equal, in a time that says nothing of where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
