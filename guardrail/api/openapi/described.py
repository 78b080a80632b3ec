"""The bodies of the guarded routes, field by field, for the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.openapi.about import body
from guardrail.api.openapi.shapes import (
    FLAG,
    ITEMS,
    MESSAGES,
    MODEL,
    OBJECT,
    OBJECTS,
    TEXT,
    TEXTS,
    WHOLE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["CHAT", "CHECK", "LITELLM", "RESPONSES"]

_PICTURE = "data:image/png;base64,..."


def _told(words: str, shape: Mapping[str, Json]) -> Mapping[str, Json]:
    return {"description": words, **shape}


_MODEL = _told("A name from GET /v1/models.", MODEL)
_STREAM = _told(
    "Send events; everything is held back until the verdict, comments keep it alive.", FLAG
)
_MESSAGES = _told(
    "OpenAI's messages. Content is text or a list of text, refusal and image_url parts; pictures "
    "are base64 data URLs (PNG, JPEG, WebP or GIF), or links where the policy's images.remote "
    "allows them, and may stand in any role.",
    MESSAGES,
)
_CHAT_FIELDS: Mapping[str, Mapping[str, Json]] = {
    "model": _MODEL,
    "messages": _MESSAGES,
    "stream": _STREAM,
    "stream_options": _told(
        "`include_usage` as at OpenAI; with `stream` only.",
        {**OBJECT, "properties": {"include_usage": FLAG}},
    ),
    "n": _told("1 or nothing: one choice is guarded per request.", {"const": 1}),
    "tools": _told(
        "Functions and custom tools; tools that run at the provider are refused.", OBJECTS
    ),
    "logprobs": _told("Of the answer's own tokens.", FLAG),
    "top_logprobs": _told("0 or nothing: other tokens are not judged.", {"const": 0}),
    "modalities": _told("`text` or nothing.", {"const": ["text"]}),
    "store": _told("false or nothing.", {"const": False}),
}
_MESSAGE: Mapping[str, Json] = {
    "role": "user",
    "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": _PICTURE}},
    ],
}
_CHAT_EXAMPLE: Mapping[str, Json] = {"model": "gpt-4o-mini", "messages": [_MESSAGE]}
_KEPT = "Passed on unchanged."

CHAT = body(
    _CHAT_FIELDS,
    required=("model", "messages"),
    example=_CHAT_EXAMPLE,
    answer="A chat completion with a `guardrail` object: verdict, certificate, record.",
    more=True,
)

CHECK = body(
    {
        **_CHAT_FIELDS,
        "progress": _told(
            "With `stream`: events that tell how many answers were judged so far, if the policy's "
            "block.details tells counts, and else that the decision is under way.",
            FLAG,
        ),
    },
    required=("model", "messages"),
    example=_CHAT_EXAMPLE,
    answer="The `guardrail` object alone: verdict and certificate, no answer of the model.",
    more=True,
)

RESPONSES = body(
    {
        "model": _MODEL,
        "input": _told(
            "Text, or message, function_call and function_call_output items. Parts are "
            "input_text, output_text, refusal and input_image (a base64 data URL, or a link "
            "where the policy's images.remote allows it).",
            ITEMS,
        ),
        "instructions": _told("A system message before the input.", TEXT),
        "stream": _STREAM,
        "max_output_tokens": _told("Sent as `max_completion_tokens`.", WHOLE),
        "text": "`format` (text, json_object or json_schema) and `verbosity`.",
        "tools": "Functions; tools that run at the provider are refused.",
        "tool_choice": "none, auto, required or one function.",
        "reasoning": "`effort` only.",
        "metadata": "Repeated in the answer.",
        "store": "false or nothing: nothing is stored here.",
        "background": "false or nothing.",
        "include": "Empty or nothing.",
        "truncation": "disabled or nothing.",
        "top_logprobs": "0 or nothing.",
        "stream_options": "`include_obfuscation` false, or nothing.",
        **dict.fromkeys(
            (
                *("temperature", "top_p", "parallel_tool_calls", "user", "safety_identifier"),
                *("service_tier", "prompt_cache_key", "prompt_cache_retention"),
                *("prompt_cache_options", "seed", "stop", "top_k", "min_p"),
                *("frequency_penalty", "presence_penalty", "repetition_penalty"),
            ),
            _KEPT,
        ),
    },
    required=("model", "input"),
    example={
        "model": "gpt-4o-mini",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": _PICTURE},
                ],
            }
        ],
    },
    answer="A response object with a `guardrail` object: verdict, certificate, record.",
)

LITELLM = body(
    {
        "input_type": {"enum": ["request", "response"], "description": "What is to be judged."},
        "structured_messages": _told(
            "The chat of a request; its pictures are certified.", MESSAGES
        ),
        "texts": _told("The texts of a response; the oracle judges them.", TEXTS),
        "tool_calls": _told("The tool calls of a response; judged as well.", OBJECTS),
        "images": _told(
            "Must stand in structured_messages; a response with pictures is not scanned.", TEXTS
        ),
        "tools": "Functions that go with the chat.",
        "model": _told("Certifies the pictures, unless the proxy is set to another one.", TEXT),
        **dict.fromkeys(
            (
                *("litellm_call_id", "litellm_trace_id", "litellm_version", "request_data"),
                *("request_headers", "additional_provider_specific_params"),
            ),
            "Not used.",
        ),
    },
    required=("input_type",),
    example={"input_type": "response", "texts": ["A tabby cat."], "request_data": {}},
    answer="`action` NONE or BLOCKED, with `blocked_reason`; every fault blocks.",
    streams=False,
)
