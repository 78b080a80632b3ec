"""What every reader of a request shares: faults that name their field, and pictures taken out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.api.pictures.loader import source_at
from guardrail.errors import RequestError
from guardrail.types import image_placeholder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.api.pictures.loader import Source
    from guardrail.images.codec import ImageLimits
    from guardrail.types import Json

__all__ = [
    "ImageCollector",
    "check_parameters",
    "flag",
    "invalid_field",
    "join_path",
    "object_at",
    "refused_field",
    "strings",
    "text_at",
]

_STEERING = frozenset(
    # Gateways and SDKs take these from the request and send the call elsewhere, replace its
    # content behind the guard, or switch guards on and off.
    {"api_base", "api_key", "base_url", "custom_llm_provider", "extra_body", "extra_headers"}
    | {"extra_query", "guardrails", "mock_response", "model_list"}
    # One answer of one model is drawn for each variant: whether a call is repeated is decided here.
    | {"fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "models", "route"}
    | {"context_window_fallback_dict", "num_retries", "max_retries", "retry_policy"}
    # Media outside the messages.
    | {"attachments", "file_ids", "files", "image", "image_url", "images", "video", "videos"}
)
_SHARED = frozenset(
    # What makes one call depend on another: caches of answers, and state that a provider keeps.
    # Caches of prompts (`prompt_cache_key`, `cache_salt`, `cache_prompt`) keep no answers.
    {"cache", "caching", "cache_key", "cache_ttl", "semantic_cache", "use_cache", "ttl"}
    | {"previous_response_id", "previous_interaction_id", "conversation", "conversation_id"}
    | {"session", "session_id", "thread", "thread_id", "chat_id", "container"}
    | {"cached_content", "cachedContent", "context", "background", "batch"}
)
_DATA_URL = re.compile(
    r"\s*data:[^,]{0,256};base64\s*,|\s*data:(image|audio|video)/", re.IGNORECASE
)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")


@dataclass(slots=True)
class ImageCollector:
    """The pictures met so far, as (URL, JSON path); `most` are allowed."""

    most: int
    urls: list[tuple[str, str]] = field(default_factory=list)

    def add(self, url: str, at: str) -> str:
        """The placeholder of one more picture. Raises RequestError."""
        if len(self.urls) == self.most:
            raise RequestError(
                f"{at}: more than {self.most} pictures in one request; send fewer",
                param=at,
                code="too_many_images",
            )
        self.urls.append((url, at))
        return image_placeholder(len(self.urls) - 1)

    def sources(self, limits: ImageLimits) -> list[Source]:
        """All of them, in order, nothing fetched or decoded yet. Raises RequestError."""
        return [source_at(url, at, limits) for url, at in self.urls]


def check_parameters(parameters: Mapping[str, Json]) -> None:
    """Refuses what would steer the call or bring a picture past the guard. Raises RequestError."""
    for name, value in parameters.items():
        if name in _STEERING and value is not None:
            raise refused_field(name, "is not taken from requests; leave it out")
        if name in _SHARED and value is not None:
            raise refused_field(
                name,
                "would tie the calls about one request together, which must be independent of "
                "each other; leave it out",
            )
        if any(_DATA_URL.match(text) for text in strings(value)):
            raise refused_field(
                join_path("", name),
                "holds a data URL, which would not be guarded here; send pictures as parts of "
                "messages",
            )


def strings(value: Json) -> Iterator[str]:
    """Every text value inside, without recursion."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict | list):
            left.extend(item.values() if isinstance(item, dict) else item)


def flag(value: Json, at: str) -> bool:
    if value is not None and not isinstance(value, bool):
        raise invalid_field(at, "must be true or false")
    return bool(value)


def text_at(value: Json, at: str) -> str:
    if not isinstance(value, str):
        raise invalid_field(at, "must be text")
    return value


def object_at(value: Json, at: str) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise invalid_field(at, "must be an object")
    return value


def join_path(at: str, name: str) -> str:
    """The path of a field whose name the client chose; odd names are not repeated."""
    plain = name if _PLAIN_NAME.fullmatch(name) else "?"
    return f"{at}.{plain}" if at else plain


def invalid_field(at: str, what: str) -> RequestError:
    return RequestError(f"{at}: {what}", param=at, code="invalid_value")


def refused_field(at: str, what: str) -> RequestError:
    return RequestError(f"{at}: {what}", param=at, code="unsupported_parameter")
