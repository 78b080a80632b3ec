"""A streamed chat completion, put together chunk by chunk.

The whole is read as strictly as one that came in one piece, by the same reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.errors import UpstreamError
from guardrail.upstreams.wire import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guardrail.types import Json

__all__ = ["Events", "Gathered", "broken_stream_error"]

_KEPT = ("id", "model", "system_fingerprint", "service_tier")
_GROWING = frozenset({"arguments", "input"})


class Events:
    """Server-sent events out of bytes as they come; `done` after the closing one."""

    def __init__(self) -> None:
        self.done = False
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Json]:
        """The data of every event that is complete by now. Raises UpstreamError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            name, _, value = line.strip().partition(b":")
            if name == b"data" and not self.done:
                value = value.strip()
                self.done = value == b"[DONE]"
                if not self.done:
                    yield parse_json(value)


class Gathered:
    """The completion so far.

    Attributes:
        message: the assistant message, growing.
        chars: characters of text in it.
        chunks: pieces that came; about as many as the answer has tokens.
        finished: whether the model has said that it ended.
    """

    def __init__(self) -> None:
        self.message: dict[str, Json] = {"role": "assistant", "content": None}
        self.chars = 0
        self.chunks = 0
        self._calls: dict[int, dict[str, Json]] = {}
        self._choice: dict[str, Json] = {}
        self._response: dict[str, Json] = {}

    @property
    def finished(self) -> bool:
        return self._choice.get("finish_reason") is not None

    def add(self, chunk: Json) -> None:
        """Takes one chunk. Raises UpstreamError where it is none, or an error."""
        if not isinstance(chunk, dict):
            raise broken_stream_error("a chunk that is not an object")
        if chunk.get("error") or chunk.get("object") == "error":
            raise broken_stream_error("an error")
        self._response |= {name: chunk[name] for name in _KEPT if chunk.get(name)}
        if chunk.get("usage"):
            self._response["usage"] = chunk["usage"]
        choices = chunk.get("choices") or []
        if not isinstance(choices, list):
            raise broken_stream_error("choices that are not a list")
        for choice in choices:
            self._add_choice(choice)

    def completion(self) -> dict[str, Json]:
        """What came, in the form of a chat completion."""
        return {**self._response, "choices": [{**self._choice, "message": self.message}]}

    def _add_choice(self, choice: Json) -> None:
        if not isinstance(choice, dict) or choice.get("index", 0) != 0:
            raise broken_stream_error("another choice than the one that was asked for")
        self.chunks += 1
        if choice.get("finish_reason") is not None:
            self._choice["finish_reason"] = choice["finish_reason"]
        if isinstance(choice.get("logprobs"), dict):
            _grow(self._choice.setdefault("logprobs", {}), choice["logprobs"])
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise broken_stream_error("a delta that is not an object")
        for name, value in delta.items():
            self._add_field(name, value)

    def _add_field(self, name: str, value: Json) -> None:
        if name == "tool_calls" and isinstance(value, list):
            for call in value:
                self._add_call(call)
        elif name == "function_call" and isinstance(value, dict):
            self.chars += _merge_call(self.message.setdefault(name, {}), value)
        elif name == "role":
            self.message[name] = value or "assistant"
        elif value is not None:
            _grow(self.message, {name: value})
            self.chars += len(value) if isinstance(value, str) else 0

    def _add_call(self, call: Json) -> None:
        index = call.get("index", 0) if isinstance(call, dict) else None
        if type(index) is not int:
            raise broken_stream_error("a tool call without its place")
        if index not in self._calls:
            self._calls[index] = {}
            self.message["tool_calls"] = [self._calls[i] for i in sorted(self._calls)]
        given = {name: value for name, value in call.items() if name != "index"}
        self.chars += _merge_call(self._calls[index], given)


def broken_stream_error(what: str) -> UpstreamError:
    """The error for a stream that is not one answer."""
    return UpstreamError(
        f"the upstream's stream held {what}, or broke off; check that its base URL leads to a "
        "chat model",
        transient=True,
        code="upstream_malformed_response",
    )


def _merge_call(call: dict[str, Json], more: Mapping[str, Json]) -> int:
    """Adds a piece of a call; characters that it brought. Names come whole, arguments grow."""
    grown = 0
    for name, value in more.items():
        if isinstance(value, dict):
            inner = call.setdefault(name, {})
            if not isinstance(inner, dict):
                raise broken_stream_error("a tool call of two forms")
            grown += _merge_call(inner, value)
        elif name in _GROWING and isinstance(value, str) and isinstance(call.get(name), str):
            call[name] += value
            grown += len(value)
        elif value is not None and (value or name not in call):
            call[name] = value
            grown += len(value) if isinstance(value, str) else 0
    return grown


def _grow(into: dict[str, Json], more: Mapping[str, Json]) -> None:
    """Texts and lists are continued, everything else is replaced."""
    for name, value in more.items():
        before = into.get(name)
        same = isinstance(before, str | list) and type(before) is type(value)
        into[name] = before + value if same else value
