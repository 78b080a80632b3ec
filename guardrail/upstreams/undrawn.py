"""When it is certain that a call drew no answer, so that asking again draws the first one.

A test of harmless rates may take one answer for each variant and no second one: anyone who can turn
harmful answers into faults would otherwise have them drawn again until a harmless one comes. Three
things are certain: the request's body was never sent; a provider that answers for itself refused
the request by the status 429, before any model saw it; or a status came of which the operator says
so in the file of upstreams. A timeout, a reset, a 5xx or an error inside an answer may each stand
for an answer that was drawn and is withheld.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = [
    "DIRECT_HOSTS",
    "DIRECT_PROVIDERS",
    "TOO_MANY_REQUESTS",
    "has_sent_nothing",
    "is_direct",
    "is_direct_provider",
    "response_status",
    "statuses_undrawn",
]

TOO_MANY_REQUESTS = 429

DIRECT_HOSTS = frozenset(
    # Only hosts of providers that serve their own models there, and whose documentation tells of
    # 429 as the refusal of a request for its rate or quota. Left out on purpose: every gateway
    # (OpenRouter, Cloudflare, Portkey, Helicone, LiteLLM's proxy), which may filter answers, retry
    # or fall back before it says 429; clouds that put filters of their own around models of
    # others (Azure, Bedrock, Vertex); and servers of one's own, behind which anything may stand.
    # A host that is missing costs availability, one that is wrongly here costs the promise.
    {
        "api.openai.com",
        "api.anthropic.com",
        "generativelanguage.googleapis.com",
        "api.mistral.ai",
        "api.together.xyz",
        "api.groq.com",
        "api.deepseek.com",
        "api.x.ai",
        "api.fireworks.ai",
        "api.cohere.com",
    }
)
DIRECT_PROVIDERS = frozenset(
    # litellm's names of the providers that it calls at these hosts, unless told of another one.
    {"openai", "anthropic", "gemini", "mistral", "together_ai", "groq", "deepseek", "xai"}
    | {"fireworks_ai", "cohere", "cohere_chat"}
)
_ADDRESS_VARIABLES = ("_API_BASE", "_BASE_URL")


def is_direct(base_url: str) -> bool:
    """Whether a provider of the table answers at this URL, over TLS and at its usual port."""
    try:
        parts = urlsplit(base_url)
        usual = parts.scheme == "https" and parts.port in (None, 443)
    except ValueError:
        return False
    return usual and parts.hostname in DIRECT_HOSTS


def is_direct_provider(model: str, api_base: str | None = None) -> bool:
    """Whether litellm asks a provider of the table for this model, at that provider's own host.

    Args:
        model: litellm's name, the provider first.
        api_base: the address that litellm is told of; None where it is not.
    """
    if api_base is not None:
        return is_direct(api_base)
    provider, slash, _ = model.partition("/")
    stem = provider.partition("_")[0].upper()
    moved = any(
        name.startswith(stem) and name.endswith(_ADDRESS_VARIABLES) and value.strip()
        for name, value in os.environ.items()
    )
    return bool(slash) and provider in DIRECT_PROVIDERS and not moved


def statuses_undrawn(*, direct: bool, listed: Collection[int] = ()) -> frozenset[int]:
    """The statuses by which an upstream says that it drew nothing."""
    return frozenset(listed) | (frozenset({TOO_MANY_REQUESTS}) if direct else frozenset())


def has_sent_nothing(error: BaseException) -> bool:
    """Whether what an HTTP client raised says that no byte of the request's body was sent.

    Looks through what the error was raised from: libraries wrap what they catch. False where two
    layers disagree, as where one takes a reset for a failure to connect.
    """
    import aiohttp
    import httpx

    before_aiohttp = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
    before_httpx = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
    chain = tuple(_chain(error))
    lowest = [e for e in chain if isinstance(e, aiohttp.ClientError)]
    if lowest:
        return all(isinstance(e, before_aiohttp) for e in lowest)
    found = [e for e in chain if isinstance(e, httpx.TransportError)]
    return bool(found) and all(isinstance(e, before_httpx) for e in found)


def response_status(error: BaseException) -> int | None:
    """The status of the one HTTP response that an error comes from; None where that is not sure.

    The errors of litellm themselves do not count: it derives their status from words as well.
    """
    import httpx

    statuses = {
        response.status_code
        for e in _chain(error)
        if not type(e).__module__.startswith("litellm")
        and isinstance(response := getattr(e, "response", None), httpx.Response)
    }
    return statuses.pop() if len(statuses) == 1 else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it was raised from or during."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        e = left.pop()
        if e is not None and id(e) not in seen:
            seen.add(id(e))
            yield e
            left += [e.__cause__, e.__context__]
