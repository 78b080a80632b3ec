"""A request to Anthropic's Messages API, to a chat and its pictures.

As strict as the reader of the Responses API: what a chat completion cannot express is refused by
name, since a client would believe that the answer follows it. Left out, and named under
`guardrail.withheld`, is what changes no answer: marks for caches of prompts, the name of a user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.chat.request import model_at
from guardrail.api.incoming import Incoming
from guardrail.api.items import recall_nothing
from guardrail.api.messages.input import (
    MESSAGES,
    SYSTEM,
    MessagesContext,
    kind_of,
    read_messages,
    read_system,
)
from guardrail.api.messages.tools import TOOL_CHOICE, TOOLS, read_tool_choice, read_tools
from guardrail.api.request_rules import AS_BY_DEFAULT, RequestRules
from guardrail.api.shapes import (
    ANYTHING,
    FLAG,
    OBJECT,
    TEXT,
    TEXTS,
    ImageCollector,
    Shape,
    check_fields,
    check_parameters,
    flag,
    invalid_field,
    join_path,
    object_at,
    object_schema,
    one_of,
    read_elsewhere,
    refused_field,
)
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.items import Recall
    from guardrail.images.codec import ImageLimits
    from guardrail.types import Json

__all__ = ["MESSAGES_FIELDS", "read_message_request"]

_SAME = ("temperature", "top_p", "top_k")
_SCHEMA_NAME = "answer"  # a chat's schema needs a name, and this form gives it none
_FORMAT_FIELDS: Mapping[str, Shape] = {"type": one_of("json_schema"), "schema": OBJECT}
_OUTPUT_FIELDS: Mapping[str, Shape] = {
    "effort": TEXT,
    "format": read_elsewhere(object_schema(_FORMAT_FIELDS, ("type", "schema"))),
}
_THINKING_FIELDS: Mapping[str, Shape] = {
    "type": one_of("enabled", "adaptive", "between_tools", "disabled"),
    "budget_tokens": read_elsewhere({"type": "integer", "minimum": 1}),
    "display": one_of("summarized", "omitted"),
}
_EFFORTS = ((4096, "low"), (16384, "medium"))  # by budgets of thinking below; else high
_METADATA_FIELDS: Mapping[str, Shape] = {"user_id": TEXT}
_KEEPS_ALL = {"type": "clear_thinking_20251015", "keep": "all"}  # what agents send along
_WITHOUT_EFFECT: Mapping[str, tuple[Json, ...]] = {
    # The values that ask for nothing; any other one is refused.
    "container": (),
    "context_management": ({}, {"edits": []}, {"edits": [_KEEPS_ALL]}),
    "mcp_servers": ([],),
    "speed": ("standard",),
}
_REFUSALS = {
    "container": "what runs or is kept at the provider is not seen here; leave it out",
    "context_management": "the messages are sent as they are; leave it out",
    "mcp_servers": "tools that run at the provider cannot be guarded; call them in the client",
    "output_format": "send it as output_config.format",
}
_TIERS: Mapping[Json, str | None] = {"auto": None, "standard_only": "default"}
MESSAGES_FIELDS: Mapping[str, Mapping[str, Json]] = {
    "model": TEXT.schema,
    "max_tokens": {"type": "integer", "minimum": 1},
    "messages": MESSAGES,
    "system": SYSTEM,
    "stream": FLAG.schema,
    "stop_sequences": TEXTS.schema,
    "tools": TOOLS,
    "tool_choice": TOOL_CHOICE,
    "thinking": object_schema(_THINKING_FIELDS, ("type",)),
    "output_config": object_schema(_OUTPUT_FIELDS),
    "metadata": object_schema(_METADATA_FIELDS),
    "service_tier": {"enum": list(_TIERS)},
    "cache_control": ANYTHING.schema,
    **{name: {"enum": list(values)} for name, values in _WITHOUT_EFFECT.items() if values},
    **dict.fromkeys(_SAME, ANYTHING.schema),
}
"""JSON Schemas of a request's fields; every other one is refused."""


def read_message_request(
    body: Mapping[str, Json],
    *,
    max_images: int,
    limits: ImageLimits,
    rules: RequestRules = AS_BY_DEFAULT,
    recall: Recall = recall_nothing,  # noqa: ARG001 (messages are sent whole)
) -> Incoming:
    """Reads a request body.

    Raises:
        RequestError: names the field at fault and what to do, and quotes no content.
    """
    _check_known(body)
    check_parameters({k: v for k, v in body.items() if k not in ("messages", "system")})
    context = MessagesContext(ImageCollector(max_images, rules), _leave_out(body))
    said = (
        *read_system(body.get("system"), context),
        *read_messages(body.get("messages"), context),
    )
    chat = Chat(
        model=model_at(body.get("model")),
        messages=context.found.drop_older(said),
        parameters=_parameters(body, context.withheld),
        pictures=len(context.found.urls),
        left_out=context.found.left_out,
    )
    return Incoming(
        chat,
        context.found.sources(limits),
        flag(body.get("stream"), "stream"),
        echo={"thinking": True} if _shows_thoughts(body.get("thinking")) else {},
        withheld=tuple(sorted(context.withheld)),
    )


def _check_known(body: Mapping[str, Json]) -> None:
    for name, value in body.items():
        idle = _WITHOUT_EFFECT.get(name)
        known = name in MESSAGES_FIELDS if idle is None else value in idle
        if value is not None and not known:
            why = "cannot be carried over to a chat completion; leave it out"
            raise refused_field(join_path("", name), _REFUSALS.get(name, why))


def _leave_out(body: Mapping[str, Json]) -> set[str]:
    """What is taken and not carried over, by name. Raises RequestError."""
    metadata = object_at(body.get("metadata") or {}, "metadata")
    check_fields(metadata, _METADATA_FIELDS, "metadata")
    named = {"cache_control"} if body.get("cache_control") else set()
    return named | {f"metadata.{name}" for name, value in metadata.items() if value}


def _parameters(body: Mapping[str, Json], withheld: set[str]) -> dict[str, Json]:
    choice, parallel = read_tool_choice(body.get("tool_choice"))
    made = {
        "max_completion_tokens": _limit(body.get("max_tokens")),
        "stop": _stop(body.get("stop_sequences")),
        "tools": read_tools(body.get("tools"), withheld),
        "tool_choice": choice,
        "parallel_tool_calls": parallel,
        "reasoning_effort": _thinking(body.get("thinking"), withheld),
        "service_tier": _tier(body.get("service_tier")),
        **{name: body.get(name) for name in _SAME},
    }
    output = _output(body.get("output_config"))
    parameters = {**made, **{name: value for name, value in output.items() if value is not None}}
    return {name: value for name, value in parameters.items() if value is not None}


def _limit(value: Json) -> int:
    if type(value) is not int or value < 1:
        raise invalid_field("max_tokens", "must be a whole number of at least 1")
    return value


def _stop(value: Json) -> list[str] | None:
    if value is None:
        return None
    TEXTS.check(value, "stop_sequences")
    return list(value) or None


def _tier(value: Json) -> str | None:
    if value is not None and (not isinstance(value, str) or value not in _TIERS):
        raise invalid_field("service_tier", f"must be one of {', '.join(_TIERS)}")
    return _TIERS.get(value)


def _shows_thoughts(thinking: Json) -> bool:
    """Whether the client asked to see thoughts; to be called once the field is read."""
    shown = thinking is not None and thinking.get("display") != "omitted"
    return shown and kind_of(thinking) != "disabled"


def _thinking(value: Json, withheld: set[str]) -> str | None:
    """A budget of thinking as the effort that chats know; every other way is the model's own."""
    if value is None:
        return None
    at, budget_at = "thinking", "thinking.budget_tokens"
    thinking = object_at(value, at)
    check_fields(thinking, _THINKING_FIELDS, at)
    kind, budget = kind_of(thinking), thinking.get("budget_tokens")
    if not kind:
        raise invalid_field(f"{at}.type", "must be one of enabled, adaptive, disabled")
    if budget is not None and (type(budget) is not int or budget < 1):
        raise invalid_field(budget_at, "must be a whole number of at least 1")
    if kind in ("disabled", "between_tools"):
        withheld.add("thinking.type")
    if kind != "enabled" or budget is None:
        return None
    return next((effort for most, effort in _EFFORTS if budget < most), "high")


def _output(value: Json) -> dict[str, Json]:
    at = "output_config"
    output = object_at({} if value is None else value, at)
    check_fields(output, _OUTPUT_FIELDS, at)
    return {
        "reasoning_effort": output.get("effort"),
        "response_format": _format(output.get("format"), f"{at}.format"),
    }


def _format(value: Json, at: str) -> dict[str, Json] | None:
    if value is None:
        return None
    given = object_at(value, at)
    check_fields(given, _FORMAT_FIELDS, at)
    if not kind_of(given):
        raise invalid_field(f"{at}.type", "must be json_schema")
    schema = object_at(given.get("schema"), f"{at}.schema")
    named = {"name": _SCHEMA_NAME, "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}
