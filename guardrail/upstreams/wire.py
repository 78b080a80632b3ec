"""The OpenAI wire both ways: a request's body from a chat, an answer from a response.

Reading is strict: whatever is not exactly one usable answer becomes an UpstreamError, whose
message never quotes what the provider sent.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from guardrail.errors import RequestError, UpstreamError
from guardrail.message_form import TEXT_PARTS
from guardrail.types import Answer, Chat, Json, Pixels, Usage
from guardrail.upstreams.base import fill_images
from guardrail.upstreams.cached import names_cache_hit
from guardrail.upstreams.in_band import find_error, in_band_fault

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = [
    "EMPTY_ANSWER",
    "RequestFrame",
    "TokenLimitName",
    "answer_from",
    "check_pictures",
    "model_names",
    "parse_json",
    "provider_seed",
    "request_frame",
    "request_parameters",
]

TokenLimitName: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
"""OpenAI's names, old and new, of the most tokens that an answer may take."""

EMPTY_ANSWER = "upstream_empty_answer"
"""The code of a model that said nothing: a fault of the answer, but a sign of life."""

_MALFORMED = "upstream_malformed_response"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)  # made once
_NOT_SENT = {"stream", "stream_options", "seed"}
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
_DROPPED_SEED_BITS = 63 - 31  # Gemini's seed is a signed 32-bit integer; all others take more
_LOOK_AT_URL = "check that its base URL leads to a chat model"
_LOOK_AT_LOG = "see the upstream's own log"
_FILTERED = "content_filter"
_BROKEN_OFF = frozenset({"abort", "error"})  # vLLM's and SGLang's words for it
_SPOKEN_PARTS = frozenset({"text", "output_text", "refusal"})  # the others are reasoning
_CHOICE_FIELDS = {"index", "message", "finish_reason"}
_RESPONSE_FIELDS = {"id", "object", "created", "model", "choices", "usage"}


# Requests


def check_pictures(chat: Chat, pictures: Sequence[Pixels]) -> None:
    """Raises UpstreamError where the pictures are not those that the chat refers to."""
    if chat.pictures != len(pictures):
        raise UpstreamError(
            f"the chat refers to {chat.pictures} pictures but {len(pictures)} were given",
            status=500,
        )


def request_parameters(chat: Chat) -> dict[str, Json]:
    """The request's parameters unchanged, less those that ask for a stream or name a seed.

    Variants that all draw by one seed of the client are not independent draws.

    Raises:
        RequestError: more than one choice is asked for.
    """
    if chat.parameters.get("n") not in (None, 1):
        raise RequestError(
            "n: one call to the model draws one answer; leave n out or set it to 1", param="n"
        )
    return {name: value for name, value in chat.parameters.items() if name not in _NOT_SENT}


def provider_seed(seed: int) -> int:
    """A call's seed of 63 bits as one that every provider takes, in [0, 2³¹)."""
    return seed >> _DROPPED_SEED_BITS


@dataclass(frozen=True, slots=True)
class RequestFrame:
    """The JSON body of a call with its pictures left out: pieces of it, and numbers of pictures.

    Calls for the same chat differ in their pictures alone, so one frame serves for all of them.
    """

    pieces: tuple[bytes | int, ...]

    def body(self, urls: Sequence[bytes]) -> list[bytes]:
        """The body in pieces, with `urls[i]` (ASCII, plain in JSON) as picture i.

        Pictures are by far the largest part: they are neither copied nor escaped.
        """
        return [urls[piece] if isinstance(piece, int) else piece for piece in self.pieces]


def request_frame(
    chat: Chat,
    model: str,
    *,
    url_start: str = "",
    stream: bool = False,
    token_limit_name: TokenLimitName | None = None,
) -> RequestFrame:
    """The frame of every call for this chat; `url_start` stands before each picture.

    A limit of tokens goes under `token_limit_name`, if there is one, whatever it was called.

    Raises:
        RequestError: a parameter is not JSON.
        UpstreamError: a picture has no place in the messages.
    """
    parameters = _limit(request_parameters(chat), token_limit_name)
    body = {**parameters, "model": model, "messages": chat.messages}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if not chat.pictures:
        return RequestFrame((_encode(body),))
    mark = secrets.token_hex(16)  # unguessable, so that no text of a client can hold it
    marks = [f"{url_start}{mark}.{i}." for i in range(chat.pictures)]
    body["messages"] = fill_images(chat.messages, marks)
    start, *rest = _encode(body).split(mark.encode() + b".")
    pieces: list[bytes | int] = [start]
    for piece in rest:
        number, _, after = piece.partition(b".")
        pieces += [int(number), after]
    if set(pieces[1::2]) != set(range(chat.pictures)):
        raise UpstreamError("a picture of the chat has no place in its messages", status=500)
    return RequestFrame(tuple(pieces))


def _limit(parameters: dict[str, Json], name: TokenLimitName | None) -> dict[str, Json]:
    """The parameters with their limit under one name; the smaller one where they hold two."""
    given = [parameters[limit] for limit in _TOKEN_LIMITS if parameters.get(limit) is not None]
    if name is None or not given:
        return parameters
    counts = [limit for limit in given if type(limit) is int]
    chosen = min(counts) if len(counts) == len(given) else given[-1]  # the server refuses nonsense
    return {**_without(parameters, _TOKEN_LIMITS), name: chosen}


def _encode(body: Json) -> bytes:
    try:
        return _ENCODER.encode(body).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise RequestError("the request holds a value that JSON cannot express") from None


# Responses


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
