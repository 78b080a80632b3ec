"""What LiteLLM's Generic Guardrail API sends, to a chat with pictures or to an answer.

A request is the chat as LiteLLM shows it; a response is judged as one assistant message made of
everything that LiteLLM found in it. What is not understood is refused, and so is what LiteLLM
extracted but did not show in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from guardrail.api.chat.request import incoming_chat
from guardrail.api.request_rules import AS_BY_DEFAULT, RequestRules
from guardrail.api.shapes import (
    ANYTHING,
    LIST,
    OBJECTS,
    TEXTS,
    Shape,
    check_fields,
    invalid_field,
    one_of,
    strings,
)
from guardrail.types import Answer, Chat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.incoming import Incoming
    from guardrail.images.codec import ImageLimits
    from guardrail.types import Json

__all__ = ["LITELLM_FIELDS", "GivenAnswer", "read_question"]

LITELLM_FIELDS: Mapping[str, Shape] = {
    "input_type": one_of("request", "response"),
    "structured_messages": LIST,
    "texts": TEXTS,
    "tool_calls": OBJECTS,
    "images": TEXTS,
    "tools": ANYTHING,
    "model": ANYTHING,
    # About the call, not of it.
    **dict.fromkeys(
        (
            *("litellm_call_id", "litellm_trace_id", "litellm_version", "request_data"),
            *("request_headers", "additional_provider_specific_params"),
        ),
        ANYTHING,
    ),
}
"""The fields of a question."""
_UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """A response: the answer to judge, and a chat that stands for the question."""

    chat: Chat
    answer: Answer


def read_question(
    body: Mapping[str, Json],
    *,
    tests_texts: bool,
    model: str | None,
    max_images: int,
    limits: ImageLimits,
    rules: RequestRules = AS_BY_DEFAULT,
) -> Incoming | GivenAnswer | None:
    """What is to be decided; None for a request that no test decides.

    Args:
        body: as it was parsed.
        tests_texts: whether requests without pictures are decided by a test, see `Rules.tests`.
        model: certifies requests in place of the one that LiteLLM names.
        max_images: most pictures.
        limits: of each picture.
        rules: how messages are read.

    Raises:
        RequestError: names the field at fault, and quotes no content.
    """
    check_fields(body, LITELLM_FIELDS, "")
    match _input_type(body.get("input_type")):
        case "response":
            return _read_response(body)
        case "request":
            named = model or body.get("model")
            return _read_request(
                body,
                named,
                tests_texts=tests_texts,
                max_images=max_images,
                limits=limits,
                rules=rules,
            )


def _input_type(value: Json) -> Literal["request", "response"]:
    if value == "request":
        return "request"
    if value == "response":
        return "response"
    raise invalid_field("input_type", "must be request or response")


def _read_request(
    body: Mapping[str, Json],
    model: Json,
    *,
    tests_texts: bool,
    max_images: int,
    limits: ImageLimits,
    rules: RequestRules,
) -> Incoming | None:
    images = body.get("images") or []
    messages = body.get("structured_messages") or []
    if not messages and not images and not tests_texts:
        return None
    if not messages:
        raise invalid_field(
            "structured_messages", "must show the messages that a test is to decide about"
        )
    chat = {"model": model or _UNNAMED, "messages": messages, "tools": body.get("tools")}
    given = {name: value for name, value in chat.items() if value is not None}
    incoming = incoming_chat(given, max_images=max_images, limits=limits, rules=rules.whole)
    shown = set(strings(messages))
    if len(images) > incoming.chat.pictures or not shown.issuperset(images):
        raise invalid_field(
            "images", "must all stand in structured_messages, where they can be certified"
        )
    if not incoming.sources and not tests_texts:
        return None
    if not model:
        raise invalid_field(
            "model", "must be named for requests to be certified; set litellm_model here"
        )
    return incoming


def _read_response(body: Mapping[str, Json]) -> GivenAnswer:
    texts = body.get("texts") or []
    calls = body.get("tool_calls") or []
    images = body.get("images") or []
    if not calls and not images and not "".join(texts).strip():
        raise invalid_field("texts", "there is nothing to judge in this response")
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": text} for text in texts],
        "tool_calls": calls,
        "images": bool(images),  # marks the answer as not wholly judged; nothing reads pictures
    }
    model = body.get("model")
    chat = Chat(model if isinstance(model, str) else _UNNAMED, ())
    return GivenAnswer(chat, Answer({name: value for name, value in message.items() if value}))
