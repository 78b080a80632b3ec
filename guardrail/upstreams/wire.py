"""An answer from a response in OpenAI's form, and the response from its bytes.

Reading is strict: whatever is not exactly one usable answer becomes an UpstreamError, whose
message never quotes what the provider sent.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError
from guardrail.message_form import TEXT_PARTS
from guardrail.types import Answer, Json, Usage
from guardrail.upstreams.cached import names_cache_hit
from guardrail.upstreams.in_band import find_error, in_band_fault

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "EMPTY_ANSWER",
    "answer_from",
    "model_names",
    "parse_json",
]

EMPTY_ANSWER = "upstream_empty_answer"
"""The code of a model that said nothing: a fault of the answer, but a sign of life."""

_MALFORMED = "upstream_malformed_response"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LOOK_AT_URL = "check that its base URL leads to a chat model"
_LOOK_AT_LOG = "see the upstream's own log"
_FILTERED = "content_filter"
_BROKEN_OFF = frozenset({"abort", "error"})  # vLLM's and SGLang's words for it
_SPOKEN_PARTS = frozenset({"text", "output_text", "refusal"})  # the others are reasoning
_CHOICE_FIELDS = {"index", "message", "finish_reason"}
_RESPONSE_FIELDS = {"id", "object", "created", "model", "choices", "usage"}


def parse_json(raw: bytes) -> Json:
    """A response body as JSON, or an UpstreamError that may pass on a retry.

    NaN, infinities and unpaired surrogates are refused: they could not be sent on.
    """
    try:
        # decoded as UTF-8, since json.loads would let unpaired surrogates through
        parsed = _DECODER.decode(raw.decode("utf-8-sig"))
        if _SURROGATE.search(raw):
            json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        parsed = _GARBAGE
    if parsed is _GARBAGE:
        raise _malformed_error("a body that is not JSON", _LOOK_AT_URL, in_answer=False)
    return parsed


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_DECODER = json.JSONDecoder(parse_constant=_refuse)  # made once

_GARBAGE = object()


def answer_from(
    response: Json,
    headers: Mapping[str, str] | None = None,
    *,
    hidden: Collection[str] = (),
) -> Answer:
    """The answer in a chat completion.

    A refusal, or an answer that the provider's own filter ended, is an answer.

    Args:
        response: its body.
        headers: the response's, which say whether a cache gave it.
        hidden: keys, which the code of no fault may show.

    Raises:
        UpstreamError: it holds no usable answer, or more than one, or an error in its place.
    """
    body = _object(response, "a body", _LOOK_AT_URL)
    error = find_error(body)
    if error is not None:
        raise in_band_fault(error, headers, hidden=hidden)
    choice = _only_choice(body)
    if choice.get("error"):
        raise in_band_fault(choice["error"], headers, hidden=hidden)
    finish_reason = choice.get("finish_reason") or "stop"
    if not isinstance(finish_reason, str):
        raise _malformed_error("a finish_reason that is not text")
    if finish_reason in _BROKEN_OFF:
        raise _malformed_error("an answer that it had broken off itself")
    message = choice.get("message")
    if message is None and finish_reason == _FILTERED:
        message = {"role": "assistant", "content": None}
    message = _as_clients_take_it(_object(message, "a message"))
    if not _says_something(message) and finish_reason != _FILTERED:
        raise _empty_error(message, finish_reason, response.get("usage"))
    model = response.get("model")
    return Answer(
        message=message,
        finish_reason=finish_reason,
        model=model if isinstance(model, str) else "",
        usage=_usage(response.get("usage")),
        extra={**_without(response, _RESPONSE_FIELDS), **_without(choice, _CHOICE_FIELDS)},
        cached=names_cache_hit(headers or {}, response),
    )


def model_names(response: Json) -> list[str]:
    """The ids in a list of models. Raises UpstreamError."""
    body = _object(response, "a body", _LOOK_AT_URL)
    models = body.get("data")
    if models is None and body.get("object") == "list":
        models = []  # Ollama's word for none
    if not isinstance(models, list):
        raise _malformed_error("no list of models", _LOOK_AT_URL)
    names = [model.get("id") for model in models if isinstance(model, dict)]
    return [name for name in names if isinstance(name, str)]


def _only_choice(response: Mapping[str, Json]) -> Mapping[str, Json]:
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices:
        raise _malformed_error("no choice", _LOOK_AT_LOG if "choices" in response else _LOOK_AT_URL)
    if len(choices) > 1:
        raise _malformed_error("more choices than were asked for", transient=False)
    return _object(choices[0], "a choice")


def _as_clients_take_it(message: Mapping[str, Json]) -> Mapping[str, Json]:
    """The message with what servers leave out of it, or write otherwise, as clients take that.

    No role is the assistant's, a call of no type is one of a function, and arguments that are
    missing are none. Arguments that are an object become its text, as OpenAI writes them.
    """
    calls, function = message.get("tool_calls"), message.get("function_call")
    changed: dict[str, Json] = {}
    if "role" in message and not message["role"]:
        changed["role"] = "assistant"
    if isinstance(calls, list):
        changed["tool_calls"] = [_with_arguments(call) for call in calls]
    if isinstance(function, dict):
        changed["function_call"] = _filled(function)
    return {**message, **changed} if changed else message


def _with_arguments(call: Json) -> Json:
    if not isinstance(call, dict):
        return call
    typed = {**call, "type": "function"} if "type" in call and not call["type"] else call
    function = typed.get("function")
    return {**typed, "function": _filled(function)} if isinstance(function, dict) else typed


def _filled(function: Mapping[str, Json]) -> Mapping[str, Json]:
    arguments = function.get("arguments")
    if arguments is None:
        return {**function, "arguments": "{}"}
    if isinstance(arguments, dict):
        return {**function, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return function


def _says_something(message: Mapping[str, Json]) -> bool:
    """Whether the message holds anything for the client. Raises UpstreamError."""
    if message.get("role", "assistant") != "assistant":
        raise _malformed_error("a message that is not the assistant's")
    said = [
        _has_content(message.get("content")),
        _has_text(message.get("refusal"), "a refusal"),
        _has_calls(message.get("tool_calls")),
        _has_call(message.get("function_call")),
    ]
    return any(said)


def _empty_error(message: Mapping[str, Json], finish_reason: str, usage: Json) -> UpstreamError:
    """The error for an answer that says nothing, with the cause as far as it can be seen."""
    if finish_reason != "length":
        return UpstreamError(
            "the model's answer is empty; see the upstream's own log",
            transient=True,
            code=EMPTY_ANSWER,
            in_answer=True,
        )
    cause = "its reasoning used" if _has_reasoned(message, usage) else "it used up"
    return UpstreamError(
        f"the model's answer is empty because {cause} all of max_tokens; raise max_tokens, or ask "
        "for less reasoning",
        code=EMPTY_ANSWER,
        in_answer=True,
    )


def _has_reasoned(message: Mapping[str, Json], usage: Json) -> bool:
    counts = usage if isinstance(usage, dict) else {}
    details = counts.get("completion_tokens_details")
    tokens = details.get("reasoning_tokens") if isinstance(details, dict) else 0
    return bool(tokens or any(message.get(name) for name in ("reasoning_content", "reasoning")))


def _has_content(content: Json) -> bool:
    if not isinstance(content, list):
        return _has_text(content, "content")
    checked = [_has_part(_object(part, "a content part")) for part in content]
    return any(checked)


def _has_part(part: Mapping[str, Json]) -> bool:
    kind = part.get("type")
    if not isinstance(kind, str):
        raise _malformed_error("a content part without a type")
    if kind not in _SPOKEN_PARTS:
        return False
    text = part.get(TEXT_PARTS[kind][0])
    if not isinstance(text, str):
        raise _malformed_error("a content part without its text")
    return bool(text.strip())


def _has_text(value: Json, what: str) -> bool:
    if value is not None and not isinstance(value, str):
        raise _malformed_error(f"{what} of a wrong type")
    return bool(value and value.strip())


def _has_calls(calls: Json) -> bool:
    if calls is None:
        return False
    if not isinstance(calls, list):
        raise _malformed_error("tool_calls that are not a list")
    checked = [_has_tool_call(_object(call, "a tool call")) for call in calls]
    return any(checked)


def _has_tool_call(call: Mapping[str, Json]) -> bool:
    if call.get("type", "function") == "function":
        return _has_call(_object(call.get("function"), "a function"))
    custom = _object(call.get("custom"), "a custom tool call")
    return _strings(custom, "name", "input")


def _has_call(function: Json) -> bool:
    return function is not None and _strings(
        _object(function, "a function call"), "name", "arguments"
    )


def _strings(value: Mapping[str, Json], *names: str) -> bool:
    if not all(isinstance(value.get(name), str) for name in names):
        raise _malformed_error("a tool call without its name or arguments")
    return True


def _object(value: Json, what: str, remedy: str = _LOOK_AT_LOG) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise _malformed_error(f"{what} that is not a JSON object", remedy)
    return value


def _usage(value: Json) -> Usage:
    """The tokens; as uncounted where the provider does not count them or counts nonsense."""
    counts = value if isinstance(value, dict) else {}
    prompt, written = _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))
    return Usage(prompt or 0, written or 0, calls=1, uncounted=int(None in (prompt, written)))


def _count(value: Json) -> int | None:
    """A whole number, which some servers write as 12.0."""
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if (type(value) is int or whole) and value >= 0 else None


def _without(fields: Mapping[str, Json], names: Collection[str]) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if name not in names}


def _malformed_error(
    what: str, remedy: str = _LOOK_AT_LOG, *, transient: bool = True, in_answer: bool = True
) -> UpstreamError:
    return UpstreamError(
        f"the upstream answered with {what}; {remedy}",
        transient=transient,
        code=_MALFORMED,
        in_answer=in_answer,
    )
