"""A tool's input, an object in Anthropic's form and a JSON text in OpenAI's, both ways.

A text that is no such object comes wrapped, as Anthropic's own documentation does it, so that
nothing of it is lost and it is the same text again in the next turn:

    '{"city": "Oslo"}'   {"city": "Oslo"}
    '{"city": "Os'       {"INVALID_JSON": '{"city": "Os'}
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from guardrail.api.strict_json import MAX_DEPTH, nests_deeper
from guardrail.canonical import parse_strict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["format_input", "read_input_text"]

_WRAP = "INVALID_JSON"
_DEEPEST = MAX_DEPTH - 10  # so that it fits into the next request


def read_input_text(text: str) -> dict[str, Json]:
    """The input that a model's text of arguments says; an empty one is an empty object."""
    if not text.strip():
        return {}
    try:
        value = parse_strict(text)
        json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair
    except (ValueError, RecursionError):
        return {_WRAP: text}
    is_input = isinstance(value, dict) and {*value} != {_WRAP}
    return value if is_input and not nests_deeper(value, _DEEPEST) else {_WRAP: text}


def format_input(value: Mapping[str, Json]) -> str:
    """The input as the text that a chat carries."""
    wrapped = value.get(_WRAP)
    if len(value) == 1 and isinstance(wrapped, str):
        return wrapped
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
