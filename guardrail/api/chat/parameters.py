"""The fields of a chat request beside its messages: passed on unchanged, or refused by name.

Unknown ones are passed on, since providers have fields of their own. A field is refused if it
would have to be dropped here, or would bring an answer that was not judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.shapes import (
    FLAG,
    OBJECTS,
    Shape,
    check_fields,
    check_parameters,
    flag,
    invalid_field,
    object_at,
    object_schema,
    refused_field,
)
from guardrail.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from guardrail.types import Json

__all__ = ["CHAT_FIELDS", "chat_parameters", "streaming"]

_OWN_FIELDS = frozenset({"model", "messages", "stream", "stream_options"})
_REFUSED = {
    "audio": "a spoken answer cannot be judged; leave it out",
}
_TOOLS = ("function", "custom")
STREAM_OPTIONS: Mapping[str, Shape] = {
    "include_usage": FLAG,
    "include_obfuscation": FLAG,
    "continuous_usage_stats": FLAG,  # vLLM's
}
"""The fields of `stream_options`."""
_NO_STREAM_OPTIONS = {
    "include_obfuscation": "is not done here; set it to false",
    "continuous_usage_stats": "the tokens of all variants are known only at the end; set it false",
}

CHAT_FIELDS: Mapping[str, Mapping[str, Json]] = {
    # Those that are read here; all others are passed on.
    "stream": FLAG.schema,
    "stream_options": object_schema(STREAM_OPTIONS),
    "n": {"const": 1},
    "tools": OBJECTS.schema,
    "logprobs": {},  # passed on as it is
    "top_logprobs": {"const": 0},
    "modalities": {"const": ["text"]},
    "store": {"const": False},
}
"""JSON Schemas of a chat request's fields beside model and messages."""


def chat_parameters(body: Mapping[str, Json], allowed: Collection[str] = ()) -> dict[str, Json]:
    """What goes to the provider beside model and messages; see `check_parameters` for `allowed`.

    Raises:
        RequestError: names the field at fault.
    """
    parameters = {name: value for name, value in body.items() if name not in _OWN_FIELDS}
    for name, why in _REFUSED.items():
        if parameters.get(name) is not None:
            raise refused_field(name, why)
    _check_n(parameters.get("n"))
    _check_store(parameters.get("store"))
    _check_modalities(parameters.get("modalities"))
    _check_top_logprobs(parameters.get("top_logprobs"))
    _check_tools(parameters.get("tools"))
    check_parameters(parameters, allowed)
    return parameters


def streaming(body: Mapping[str, Json]) -> tuple[bool, bool]:
    """Whether a stream is asked for, and usage at its end. Raises RequestError."""
    stream = flag(body.get("stream"), "stream")
    given = body.get("stream_options")
    if given is None:
        return stream, False
    options, at = object_at(given, "stream_options"), "stream_options"
    if not stream:
        raise invalid_field(at, "belongs to streams only; leave it out or set stream")
    check_fields(options, STREAM_OPTIONS, at)
    for name, why in _NO_STREAM_OPTIONS.items():
        if options.get(name):
            raise refused_field(f"{at}.{name}", why)
    return stream, bool(options.get("include_usage"))


def _check_n(value: Json) -> None:
    if value is None or (value == 1 and type(value) is int):
        return
    if type(value) is not int:
        raise invalid_field("n", "must be 1")
    raise _unsupported_error(
        "n", "only one choice is guarded per request; leave n out or set it to 1"
    )


def _check_store(value: Json) -> None:
    """The noisy variants' answers would be kept, those that were judged harmful as well."""
    if flag(value, "store"):
        raise refused_field("store", "answers are not kept here; set it to false or leave it out")


def _check_modalities(value: Json) -> None:
    if value is not None and value != ["text"]:
        raise _unsupported_error(
            "modalities", "only text can be judged; leave it out or say ['text']"
        )


def _check_top_logprobs(value: Json) -> None:
    """The likeliest tokens side by side spell answers that were not judged."""
    if value is None or (value == 0 and type(value) is int):
        return
    if type(value) is not int:
        raise invalid_field("top_logprobs", "must be 0")
    raise _unsupported_error(
        "top_logprobs",
        "tokens that the answer does not hold are not judged; leave it out, logprobs works alone",
    )


def _check_tools(value: Json) -> None:
    if value is None:
        return
    if not isinstance(value, list):
        raise invalid_field("tools", "must be a list of functions")
    for i, tool in enumerate(value):
        _check_tool(object_at(tool, f"tools[{i}]"), f"tools[{i}]")


def _check_tool(tool: Mapping[str, Json], at: str) -> None:
    kind = tool.get("type", "function" if "function" in tool else None)
    if kind not in _TOOLS:
        raise RequestError(
            f"{at}.type: only tools of the types function and custom can be guarded; what others "
            "bring to the model would not be seen here",
            param=f"{at}.type",
            code="unsupported_tool",
        )


def _unsupported_error(at: str, what: str) -> RequestError:
    return RequestError(f"{at}: {what}", param=at, code="unsupported_value")
