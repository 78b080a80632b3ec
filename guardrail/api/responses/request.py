"""A request to the Responses API, to a chat and its pictures.

Stricter than the chat's reader: a field that a chat completion cannot express is refused by name,
since a client would believe that the answer follows the field. Only what asks for extras beside the
answer is left out, and so are tools of the provider beside those of the client: agents always send
them. The answer names these under `guardrail.withheld`. Nothing is stored for good, so whatever
refers to stored state is refused as well.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from guardrail.api.chat.request import model_at
from guardrail.api.incoming import Incoming
from guardrail.api.items import recall_nothing
from guardrail.api.request_rules import AS_BY_DEFAULT, RequestRules
from guardrail.api.responses.input import INPUT, InputContext, read_input
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
from guardrail.errors import RequestError
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from guardrail.api.items import Recall
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
    "store": (False,),
    "stream_options": ({}, {"include_obfuscation": False}),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
}
_INCLUDES = (
    *("reasoning.encrypted_content", "message.input_image.image_url"),
    *("message.output_text.logprobs", "code_interpreter_call.outputs"),
    *("computer_call_output.output.image_url", "file_search_call.results"),
    *("web_search_call.results", "web_search_call.action.sources"),
)
_REFUSALS = {
    "background": "answers are given at once here; leave it out",
    "conversation": "nothing is stored here; send the whole conversation as input",
    "previous_response_id": "nothing is stored here; send the whole conversation as input",
    "store": "nothing is stored here; set it to false or leave it out",
    "truncation": "the input is sent as it is; leave it out or set it to 'disabled'",
}
_CHOICES = ("none", "auto", "required")
_PLAIN_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}")
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
_REASONING_FIELDS: Mapping[str, Shape] = {
    "effort": TEXT,
    "summary": TEXT,
    "generate_summary": TEXT,
}
_NOT_CARRIED_OVER = ("summary", "generate_summary")
_FUNCTION_FIELDS: Mapping[str, Shape] = {
    "name": TEXT,
    "description": ANYTHING,
    "parameters": ANYTHING,
    "strict": ANYTHING,
}
_CUSTOM_FIELDS: Mapping[str, Shape] = {"name": TEXT, "description": ANYTHING, "format": OBJECT}
_TOOLS: Mapping[Json, Mapping[str, Shape]] = {
    "function": {"type": one_of("function"), **_FUNCTION_FIELDS},
    "custom": {"type": one_of("custom"), **_CUSTOM_FIELDS},
}
_CHOICE_FIELDS: Mapping[str, Shape] = {"type": one_of(*_TOOLS), "name": TEXT}
RESPONSES_FIELDS: Mapping[str, Mapping[str, Json]] = {
    "model": TEXT.schema,
    "input": INPUT,
    "instructions": TEXT.schema,
    "stream": FLAG.schema,
    "max_output_tokens": {"type": "integer", "minimum": 1},
    "text": object_schema(_TEXT_FIELDS),
    "tools": list_of({"type": "object", "required": ["type"]}),
    "include": {"type": "array", "items": {"enum": list(_INCLUDES)}},
    "client_metadata": OBJECT.schema,
    "tool_choice": any_of(
        one_of(*_CHOICES).schema, object_schema(_CHOICE_FIELDS, ("type", "name"))
    ),
    "reasoning": object_schema(_REASONING_FIELDS),
    "metadata": {"type": "object", "additionalProperties": TEXT.schema},
    **{name: {"enum": list(values)} for name, values in _WITHOUT_EFFECT.items()},
    **dict.fromkeys(_SAME, ANYTHING.schema),
}
"""JSON Schemas of a request's fields; every other one is refused."""


def read_response(
    body: Mapping[str, Json],
    *,
    max_images: int,
    limits: ImageLimits,
    rules: RequestRules = AS_BY_DEFAULT,
    recall: Recall = recall_nothing,
) -> Incoming:
    """Reads a request body.

    Raises:
        RequestError: names the field at fault and what to do, and quotes no content.
    """
    _check_known(body)
    found = ImageCollector(max_images, rules)
    context = InputContext(found, recall, _leave_out(body))
    said = (*_instructions(body.get("instructions")), *read_input(body.get("input"), context))
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
        withheld=tuple(context.withheld),
        keeps_items=body.get("store") is None,
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


def _leave_out(body: Mapping[str, Json]) -> list[str]:
    """What is taken and not carried over, by name. Raises RequestError."""
    include = body.get("include") or []
    if not isinstance(include, list) or any(name not in _INCLUDES for name in include):
        raise refused_field("include", f"must be a list of {', '.join(_INCLUDES)}")
    reasoning = object_at(body.get("reasoning") or {}, "reasoning")
    named = [f"include: {name}" for name in include]
    named += [f"reasoning.{name}" for name in _NOT_CARRIED_OVER if reasoning.get(name)]
    if object_at(body.get("client_metadata") or {}, "client_metadata"):
        named.append("client_metadata")
    return named + [f"tools: {kind}" for kind in _provider_tools(body)]


def _provider_tools(body: Mapping[str, Json]) -> list[str]:
    """The kinds of tools that the provider would run, where the client's own stand beside them.

    None where there are no others, or where one is chosen: a client that offers nothing else waits
    for what they bring.
    """
    tools = body.get("tools")
    kinds = [_kind(tool) for tool in tools] if isinstance(tools, list) else []
    if not any(kind in _TOOLS for kind in kinds) or isinstance(body.get("tool_choice"), dict):
        return []
    return sorted({kind for kind in kinds if kind not in _TOOLS and _PLAIN_KIND.fullmatch(kind)})


def _kind(tool: Json) -> str:
    """The type of a tool, empty where there is none."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    return kind if isinstance(kind, str) else ""


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
        "tools": _tools(body.get("tools"), _provider_tools(body)),
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


def _tools(value: Json, left_out: Collection[str]) -> list[Json] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise invalid_field("tools", "must be a list of tools")
    kept = [(i, tool) for i, tool in enumerate(value) if _kind(tool) not in left_out]
    return [_tool(tool, f"tools[{i}]") for i, tool in kept] or None


def _tool(value: Json, at: str) -> dict[str, Json]:
    tool = object_at(value, at)
    kind = _kind(tool)
    if kind not in _TOOLS:
        raise RequestError(
            f"{at}.type: only tools of the types function and custom can be guarded; what others "
            "bring to the model would not be seen here",
            param=f"{at}.type",
            code="unsupported_tool",
        )
    check_fields(tool, _TOOLS[kind], at)
    text_at(tool.get("name"), f"{at}.name")
    given = {n: tool[n] for n in _TOOLS[kind] if n != "type" and tool.get(n) is not None}
    if "format" in given:
        given["format"] = _custom_format(given["format"])
    return {"type": kind, kind: given}


def _custom_format(given: Mapping[str, Json]) -> Mapping[str, Json]:
    """A grammar is one object more deep in a chat."""
    if given.get("type") != "grammar":
        return given
    grammar = {name: part for name, part in given.items() if name != "type"}
    return {"type": "grammar", "grammar": grammar}


def _tool_choice(value: Json) -> Json:
    at = "tool_choice"
    if value is None or (isinstance(value, str) and value in _CHOICES):
        return value
    kind = _kind(value)
    if kind not in _TOOLS:
        raise invalid_field(at, f"must be one of {', '.join(_CHOICES)} or name a tool of yours")
    check_fields(value, _CHOICE_FIELDS, at)
    return {"type": kind, kind: {"name": text_at(value.get("name"), f"{at}.name")}}
