"""Answers that a gateway took out of a cache: they are not draws of the model.

Only caches of *answers* matter. A provider's cache of prompts keeps states of the model for the
text that requests begin with, and every answer is still drawn: `usage` names the tokens that came
from it (`cached_tokens`), and that does not count here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardrail.types import Json

__all__ = ["CACHED_ANSWER", "names_cache_hit"]

CACHED_ANSWER = "upstream_cached_answer"
"""The code of an answer to a variant that is not counted, because a cache gave it."""

# Known today: cf-aig-cache-status, x-portkey-cache-status, helicone-cache, x-cache, x-cache-status,
# cache-status (RFC 9211), all of which say `hit`, if with other words around it.
_CACHE = re.compile(r"(^|[-_])cache($|[-_])")
_OF_PROMPTS = re.compile(r"prompt|prefix|token|kv[-_]")
_HIT = re.compile(r"(?<![a-z])hit(?![a-z])")
_YES = ("true", "1", "yes")
_BY_ITS_PRESENCE = "x-litellm-cache-key"  # LiteLLM's proxy sends it with answers of its cache
CACHE_FIELDS = ("cache_hit", "cached", "from_cache", "is_cached")


def names_cache_hit(headers: Mapping[str, str], body: Json = None) -> bool:
    """Whether a response says that its answer comes from a cache of answers.

    Args:
        headers: the response's.
        body: its JSON, whose outermost fields are looked at.
    """
    fields = body if isinstance(body, Mapping) else {}
    told = any(fields.get(name) is True for name in CACHE_FIELDS)
    return told or any(_is_hit(name.lower(), value.lower()) for name, value in headers.items())


def _is_hit(name: str, value: str) -> bool:
    if name == _BY_ITS_PRESENCE:
        return bool(value.strip())
    if name == "age":  # RFC 9111: a response with an age was not generated for this request
        return value.strip().isdecimal() and int(value) > 0
    if not _CACHE.search(name) or _OF_PROMPTS.search(name):
        return False
    return bool(_HIT.search(value)) or ("hit" in name and value.strip() in _YES)
