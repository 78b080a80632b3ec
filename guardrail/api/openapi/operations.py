"""The guarded routes, field by field, for the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.api.chat.parameters import CHAT_FIELDS
from guardrail.api.chat.request import MESSAGES as CHAT_MESSAGES
from guardrail.api.litellm.request import LITELLM_FIELDS
from guardrail.api.messages.request import MESSAGES_FIELDS
from guardrail.api.openapi.document import ANTHROPIC_ERROR, describe_operation
from guardrail.api.responses.request import RESPONSES_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.types import Json

__all__ = ["CHAT", "CHECK", "LITELLM", "MESSAGES", "RESPONSES"]

_PICTURE = "data:image/png;base64,..."
_MODEL: Mapping[str, Json] = {"type": "string", "pattern": r"\S"}
_MODEL_WORDS = "A name from GET /v1/models."
_STREAM_WORDS = "Send events; everything is held back until the verdict, comments keep it alive."
_KEPT = "Passed on unchanged."
_NOT_USED = "Not used."
_CHAT_WORDS = {
    "model": _MODEL_WORDS,
    "messages": "OpenAI's messages. Content is text or a list of text, refusal and image_url "
    "parts; pictures are base64 data URLs (PNG, JPEG, WebP, GIF, BMP or TIFF), or links where the "
    "policy's images.remote allows them, and may stand in any role.",
    "stream": _STREAM_WORDS,
    "stream_options": "`include_usage` as at OpenAI; with `stream` only.",
    "n": "1 or nothing: one choice is guarded per request.",
    "tools": "Functions and custom tools; tools that run at the provider are refused.",
    "logprobs": "Of the answer's own tokens.",
    "top_logprobs": "0 or nothing: other tokens are not judged.",
    "modalities": "`text` or nothing.",
    "store": "false or nothing.",
    "progress": "With `stream`: events that tell how many answers were judged so far, if the "
    "policy's block.details tells counts, and else that the decision is under way.",
}
_CHAT_EXAMPLE: Mapping[str, Json] = {
    "model": "gpt-4o-mini",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": _PICTURE}},
            ],
        }
    ],
}
_CHAT = {"model": _MODEL, "messages": CHAT_MESSAGES, **CHAT_FIELDS}

CHAT = describe_operation(
    "Chat completions, guarded.",
    _CHAT,
    _CHAT_WORDS,
    required=("model", "messages"),
    example=_CHAT_EXAMPLE,
    answer="A chat completion with a `guardrail` object: verdict, certificate, record.",
    open_to_more=True,
)

CHECK = describe_operation(
    "Verdict and certificate for a chat, without its answer.",
    {**_CHAT, "progress": {"type": "boolean"}},
    _CHAT_WORDS,
    required=("model", "messages"),
    example=_CHAT_EXAMPLE,
    answer="The `guardrail` object alone: verdict and certificate, no answer of the model.",
    open_to_more=True,
)

_RESPONSES_WORDS = {
    "model": _MODEL_WORDS,
    "input": "Text, or message, function_call and function_call_output items. Parts are "
    "input_text, output_text, refusal and input_image (a base64 data URL, or a link where the "
    "policy's images.remote allows it).",
    "instructions": "A system message before the input.",
    "stream": _STREAM_WORDS,
    "max_output_tokens": "Sent as `max_completion_tokens`.",
    "text": "`format` (text, json_object or json_schema) and `verbosity`.",
    "tools": "Functions and custom tools; tools that run at the provider are left out beside them "
    "and refused alone.",
    "tool_choice": "none, auto, required or one tool.",
    "reasoning": "`effort`; summaries are not sent.",
    "metadata": "Repeated in the answer.",
    "store": "false or nothing: nothing is stored here.",
    "background": "false or nothing.",
    "include": "Accepted, and named in `guardrail.withheld`.",
    "client_metadata": "Accepted, and named in `guardrail.withheld`.",
    "truncation": "disabled or nothing.",
    "top_logprobs": "0 or nothing.",
    "stream_options": "`include_obfuscation` false, or nothing.",
}
RESPONSES = describe_operation(
    "The Responses API, guarded; nothing is stored.",
    {**RESPONSES_FIELDS, "model": _MODEL},
    {**dict.fromkeys(RESPONSES_FIELDS, _KEPT), **_RESPONSES_WORDS},
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

_MESSAGES_WORDS = {
    "model": _MODEL_WORDS,
    "max_tokens": "Sent as `max_completion_tokens`.",
    "messages": "Blocks are text, image (base64, or a link where the policy's images.remote "
    "allows it), tool_use, tool_result with texts and images, thinking and redacted_thinking.",
    "system": "A system message before the others.",
    "stream": "Send events; everything is held back until the verdict, pings keep it alive.",
    "stop_sequences": "Sent as `stop`.",
    "tools": "Tools with an `input_schema` of the client's own; all others are refused.",
    "tool_choice": "auto, any, none or one tool; `disable_parallel_tool_use`.",
    "thinking": "A budget is sent as `reasoning_effort`; thoughts are sent back where it is "
    "enabled or adaptive.",
    "output_config": "`effort` is sent as `reasoning_effort`, `format` as `response_format`.",
    "metadata": "Accepted, and named in `guardrail.withheld`.",
    "cache_control": "Accepted, and named in `guardrail.withheld`.",
    "service_tier": "standard_only is sent as `default`.",
    "context_management": "What clears nothing.",
    "mcp_servers": "Empty or nothing.",
    "speed": "standard or nothing.",
}
MESSAGES = describe_operation(
    "Anthropic's Messages API, guarded.",
    {**MESSAGES_FIELDS, "model": _MODEL},
    {**dict.fromkeys(MESSAGES_FIELDS, _KEPT), **_MESSAGES_WORDS},
    required=("model", "max_tokens", "messages"),
    example={
        "model": "gpt-4o-mini",
        "max_tokens": 1024,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "..."},
                    },
                ],
            }
        ],
    },
    answer="A message with a `guardrail` object: verdict, certificate, record.",
    error=ANTHROPIC_ERROR,
)

_LITELLM_WORDS = {
    "input_type": "What is to be judged.",
    "structured_messages": "The chat of a request, which is certified where it has pictures or "
    "the policy covers suffixes.",
    "texts": "The texts of a response; the oracle judges them.",
    "tool_calls": "The tool calls of a response; judged as well.",
    "images": "Must stand in structured_messages; a response with pictures is not scanned.",
    "tools": "Functions that go with the chat.",
    "model": "Certifies requests, unless the proxy is set to another one.",
}
LITELLM = describe_operation(
    "LiteLLM's Generic Guardrail API.",
    {name: shape.schema for name, shape in LITELLM_FIELDS.items()},
    {**dict.fromkeys(LITELLM_FIELDS, _NOT_USED), **_LITELLM_WORDS},
    required=("input_type",),
    example={"input_type": "response", "texts": ["A tabby cat."], "request_data": {}},
    answer="`action` NONE or BLOCKED, with `blocked_reason`; every fault blocks.",
    streams=False,
    condition={
        "if": {"properties": {"input_type": {"const": "request"}}},
        "then": {
            "properties": {
                "structured_messages": {
                    "anyOf": [CHAT_MESSAGES, {"type": "null"}, {"type": "array", "maxItems": 0}]
                }
            }
        },
    },
)
