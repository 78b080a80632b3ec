"""A request to the Responses API, to a chat and its pictures.

Stricter than the chat's reader: a field that a chat completion cannot express is refused
by name and never dropped, since a client would believe that the answer follows the field.
Nothing is stored here, so whatever refers to stored state is refused as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.chat.request import model_at
from guardrail.api.incoming import Incoming
from guardrail.api.request_rules import RequestRules
from guardrail.api.responses.input import INPUT, read_input
from guardrail.api.shapes import (
    ANYTHING,
    FLAG,
    OBJECT,
    TEXT,
    ImageCollector,
    Shape,
    any_of,
    check_fields,
    check_parameters,
    flag,
    invalid_field,
    join_path,
    list_of,
    object_at,
    object_schema,
    one_of,
    read_elsewhere,
    refused_field,
    text_at,
)
from guardrail.api.strict_json import parse_object
from guardrail.errors import RequestError
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from guardrail.images.codec import ImageLimits
    from guardrail.types import Json

__all__ = ["RESPONSES_FIELDS", "read_response"]

_SAME = (
    # Named alike and meaning the same in a chat completion.
    *("temperature", "top_p", "parallel_tool_calls", "user", "safety_identifier", "service_tier"),
    *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
    # Not of this API, but taken by many servers and sent through `extra_body`.
    *("seed", "stop", "top_k", "min_p", "frequency_penalty", "presence_penalty"),
    "repetition_penalty",
)
_ECHOED = (
    *("instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "reasoning"),
    *("safety_identifier", "service_tier", "temperature", "text", "tool_choice", "tools"),
    *("top_p", "user", "prompt_cache_key"),
)
_WITHOUT_EFFECT: Mapping[str, tuple[Json, ...]] = {
    # The values that ask for nothing; any other one is refused.
    "background": (False,),
    "include": ([],),
    "store": (False,),
    "stream_options": ({}, {"include_obfuscation": False}),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
_REFUSALS = {
    "background": "answers are given at once here; leave it out",
    "conversation": "nothing is stored here; send the whole conversation as input",
    "previous_response_id": "nothing is stored here; send the whole conversation as input",
    "store": "nothing is stored here; set it to false or leave it out",
    "truncation": "the input is sent as it is; leave it out or set it to 'disabled'",
}
_CHOICES = ("none", "auto", "required")
_FORMATS: Mapping[Json, Mapping[str, Shape]] = {
    "text": {"type": one_of("text")},
    "json_object": {"type": one_of("json_object")},
    "json_schema": {
        "type": one_of("json_schema"),
        "name": TEXT,
        "schema": OBJECT,
        "description": ANYTHING,
        "strict": ANYTHING,
    },
}
_TEXT_FIELDS: Mapping[str, Shape] = {
    "format": read_elsewhere(
        any_of(
            *(
                object_schema(fields, [n for n in ("type", "name", "schema") if n in fields])
                for fields in _FORMATS.values()
            )
        )
    ),
    "verbosity": TEXT,
}
_REASONING_FIELDS: Mapping[str, Shape] = {"effort": TEXT}
_FUNCTION_FIELDS: Mapping[str, Shape] = {
    "name": TEXT,
    "description": ANYTHING,
    "parameters": ANYTHING,
    "strict": ANYTHING,
}
_TOOL_FIELDS: Mapping[str, Shape] = {"type": one_of("function"), **_FUNCTION_FIELDS}
_CHOICE_FIELDS: Mapping[str, Shape] = {"type": one_of("function"), "name": TEXT}
RESPONSES_FIELDS: Mapping[str, Mapping[str, Json]] = {
    "model": TEXT.schema,
    "input": INPUT,
    "instructions": TEXT.schema,
    "stream": FLAG.schema,
    "max_output_tokens": {"type": "integer", "minimum": 1},
    "text": object_schema(_TEXT_FIELDS),
    "tools": list_of(object_schema(_TOOL_FIELDS, ("type", "name"))),
    "tool_choice": any_of(
        one_of(*_CHOICES).schema, object_schema(_CHOICE_FIELDS, ("type", "name"))
    ),
    "reasoning": object_schema(_REASONING_FIELDS),
    "metadata": {"type": "object", "additionalProperties": TEXT.schema},
    **{name: {"enum": list(values)} for name, values in _WITHOUT_EFFECT.items()},
    **dict.fromkeys(_SAME, ANYTHING.schema),
}
"""JSON Schemas of a request's fields; every other one is refused."""


_AS_BY_DEFAULT = RequestRules()


def read_response(
    raw: bytes, *, max_images: int, limits: ImageLimits, rules: RequestRules = _AS_BY_DEFAULT
) -> Incoming:
    """Reads a request body; slow for a large one.

    Raises:
        RequestError: names the field at fault and what to do, and quotes no content.
    """
    body = parse_object(raw)
    _check_known(body)
    found = ImageCollector(max_images, rules)
    said = (*_instructions(body.get("instructions")), *read_input(body.get("input"), found))
    chat = Chat(
        model=model_at(body.get("model")),
        messages=found.drop_older(said),
        parameters=_parameters(body, rules.allowed),
        pictures=len(found.urls),
        left_out=found.left_out,
    )
    return Incoming(
        chat,
        found.sources(limits),
        flag(body.get("stream"), "stream"),
        echo={name: body[name] for name in _ECHOED if body.get(name) is not None},
    )


def _check_known(body: Mapping[str, Json]) -> None:
    for name, value in body.items():
        if value is None or (name in RESPONSES_FIELDS and name not in _WITHOUT_EFFECT):
            continue
        if any(
            type(value) is type(idle) and value == idle for idle in _WITHOUT_EFFECT.get(name, ())
        ):
            continue
        why = "cannot be carried over to a chat completion; leave it out"
        raise refused_field(join_path("", name), _REFUSALS.get(name, why))
    _check_metadata(body.get("metadata"))


def _check_metadata(value: Json) -> None:
    """It is repeated in the answer and goes nowhere else."""
    for text in object_at(value or {}, "metadata").values():
        text_at(text, "metadata")


def _instructions(value: Json) -> tuple[Mapping[str, Json], ...]:
    if value is None:
        return ()
    return ({"role": "system", "content": text_at(value, "instructions")},)


def _parameters(body: Mapping[str, Json], allowed: Collection[str]) -> dict[str, Json]:
    made = {
        "max_completion_tokens": _limit(body.get("max_output_tokens")),
        "reasoning_effort": _effort(body.get("reasoning")),
        "tools": _tools(body.get("tools")),
        "tool_choice": _tool_choice(body.get("tool_choice")),
        **_text(body.get("text")),
        **{name: body.get(name) for name in _SAME},
    }
    parameters = {name: value for name, value in made.items() if value is not None}
    check_parameters(parameters, allowed)
    return parameters


def _limit(value: Json) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise invalid_field("max_output_tokens", "must be a whole number of at least 1")
    return value


def _effort(value: Json) -> str | None:
    if value is None:
        return None
    reasoning = object_at(value, "reasoning")
    check_fields(reasoning, _REASONING_FIELDS, "reasoning")
    return reasoning.get("effort")


def _text(value: Json) -> dict[str, Json]:
    text = object_at({} if value is None else value, "text")
    check_fields(text, _TEXT_FIELDS, "text")
    verbosity = text.get("verbosity")
    return {"response_format": _format(text.get("format")), "verbosity": verbosity}


def _format(value: Json) -> dict[str, Json] | None:
    at = "text.format"
    if value is None:
        return None
    given = object_at(value, at)
    kind = text_at(given.get("type"), f"{at}.type")
    if kind not in _FORMATS:
        raise invalid_field(f"{at}.type", f"must be one of {', '.join(_FORMATS)}")
    check_fields(given, _FORMATS[kind], at)
    if kind != "json_schema":
        return {"type": kind}
    text_at(given.get("name"), f"{at}.name")
    object_at(given.get("schema"), f"{at}.schema")
    schema = {name: part for name, part in given.items() if name != "type" and part is not None}
    return {"type": kind, "json_schema": schema}


def _tools(value: Json) -> list[Json] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise invalid_field("tools", "must be a list of functions")
    return [_tool(tool, f"tools[{i}]") for i, tool in enumerate(value)] or None


def _tool(value: Json, at: str) -> dict[str, Json]:
    tool = object_at(value, at)
    if tool.get("type") != "function":
        raise RequestError(
            f"{at}.type: only tools of the type function can be guarded; what others bring to the "
            "model would not be seen here",
            param=f"{at}.type",
            code="unsupported_tool",
        )
    check_fields(tool, _TOOL_FIELDS, at)
    text_at(tool.get("name"), f"{at}.name")
    given = {name: tool[name] for name in _FUNCTION_FIELDS if tool.get(name) is not None}
    return {"type": "function", "function": given}


def _tool_choice(value: Json) -> Json:
    at = "tool_choice"
    if value is None or (isinstance(value, str) and value in _CHOICES):
        return value
    if not isinstance(value, dict) or value.get("type") != "function":
        raise invalid_field(at, f"must be one of {', '.join(_CHOICES)} or name a function")
    check_fields(value, _CHOICE_FIELDS, at)
    return {"type": "function", "function": {"name": text_at(value.get("name"), f"{at}.name")}}
