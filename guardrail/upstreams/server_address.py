"""Where a server in OpenAI's form is, and what every call to it brings: checked before the first.

No message quotes an address, a header or a key.
"""

from __future__ import annotations

import re
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guardrail.required_option import require_option

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "call_headers",
    "check_base_url",
    "environment_proxy",
    "hidden_values",
]

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_QUERY = re.compile(r"(api-version=[A-Za-z0-9.-]{1,64})?")  # a key has no place there
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


def check_base_url(base_url: str) -> tuple[str, str]:
    """The URL without a trailing slash, and its query with the question mark.

    A message never quotes it, as it may hold a password.

    Raises:
        ConfigError: it is no URL, or holds what does not belong there.
    """
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    require_option(
        bool(usable), "base_url", "must be an http or https URL, as http://127.0.0.1:8000/v1"
    )
    plain = not (parts.username or parts.password or parts.fragment)
    plain = plain and bool(_QUERY.fullmatch(parts.query))
    require_option(
        plain,
        "base_url",
        "must hold no user, password or fragment, and of a query api-version alone; use api_key",
    )
    require_option(
        bool(_PRINTABLE.fullmatch(base_url)), "base_url", "must be plain ASCII, no blanks"
    )
    path, mark, query = base_url.partition("?")
    path = path.rstrip("/").removesuffix("/chat/completions") if query else path.rstrip("/")
    return path, mark + query if query else ""


def call_headers(
    api_key: str | None, headers: Mapping[str, str], *, is_azure: bool
) -> dict[str, str]:
    """The headers of every call: our own, unless given, and those given. Raises ConfigError."""
    for name, value in headers.items():
        good = _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
        require_option(bool(good), "headers", "names must be tokens and values printable ASCII")
    defaults = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",  # answers are small, and nothing can unpack to more
        "User-Agent": "guardrail",
        "Cache-Control": "no-cache, no-store",  # a stored answer is not a draw of the model
    }
    given = {name.lower() for name in headers}
    if api_key is not None:
        key = api_key.strip()
        require_option(
            bool(_PRINTABLE.fullmatch(key)), "api_key", "must be printable ASCII, no blanks"
        )
        name, value = ("api-key", key) if is_azure else ("Authorization", f"Bearer {key}")
        require_option(name.lower() not in given, "headers", f"leave {name} to api_key")
        defaults[name] = value
    return {**{k: v for k, v in defaults.items() if k.lower() not in given}, **headers}


def hidden_values(api_key: str | None, headers: Mapping[str, str]) -> list[str]:
    """The key and the values of headers, any of which may be one: no message may show them."""
    return [value.strip() for value in (api_key or "", *headers.values()) if value.strip()]


def environment_proxy(url: str) -> str | None:
    """The proxy that the environment names for this URL.

    Asked once: aiohttp's own `trust_env` asks in a thread, for every call, and reads ~/.netrc.
    """
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)
