"""A streamed chat completion, put together chunk by chunk.

What openai-python joins (`ChatCompletionStreamState`) is joined in the same way: texts are
continued, objects and lists are joined by name and `index`, numbers are added up, null says
nothing. The whole is then read as strictly as one that came in one piece, by the same reader.

It differs where openai-python would lose or spoil something. Identifiers that every chunk repeats
are kept once. Calls are kept apart by `index` and `id`, not by their place in a list. Parts of a
content, which have no index, are continued by parts of their kind. Values that cannot be joined
are an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from guardrail.types import Answer, Usage
from guardrail.upstreams.cached import CACHE_FIELDS
from guardrail.upstreams.in_band import broken_stream_error, find_error, in_band_fault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from guardrail.types import Json

__all__ = ["Gathered"]

_KEPT = ("id", "model", "system_fingerprint", "service_tier")
_KEPT_OF_CHOICE = ("finish_reason", "stop_reason")
_IDENTIFIERS = frozenset({"format", "id", "index", "role", "type"})
"""Fields that name something: repeated ones are the same, and no text of the answer."""


class Gathered:
    """The completion so far.

    Args:
        hidden: keys, which no error may quote.

    Attributes:
        message: the assistant message, growing.
        chars: characters of text in it.
        chunks: pieces that came; about as many as the answer has tokens.
    """

    def __init__(self, *, hidden: Collection[str] = ()) -> None:
        self.message: dict[str, Json] = {"role": "assistant", "content": None}
        self.chars = 0
        self.chunks = 0
        self._hidden = hidden
        self._calls = _Calls()
        self._choice: dict[str, Json] = {}
        self._response: dict[str, Json] = {}

    @property
    def finished(self) -> bool:
        """Whether the model has said that it ended; an empty reason says nothing."""
        return bool(self._choice.get("finish_reason"))

    def add(self, chunk: Json) -> None:
        """Takes one chunk. Raises UpstreamError where it is none, or an error."""
        if not isinstance(chunk, dict):
            raise broken_stream_error("a chunk that is not an object")
        self._check_no_error(chunk)
        for name in _KEPT:
            if chunk.get(name):
                self._response.setdefault(name, chunk[name])
        self._response |= {name: True for name in CACHE_FIELDS if chunk.get(name) is True}
        if chunk.get("usage"):
            self._response["usage"] = chunk["usage"]
        if chunk.get("model") and chunk["model"] != self._response["model"]:
            raise broken_stream_error("chunks of two models")
        choices = chunk.get("choices") or []
        if not isinstance(choices, list):
            raise broken_stream_error("choices that are not a list")
        for choice in choices:
            self._add_choice(choice)

    def completion(self) -> dict[str, Json]:
        """What came, in the form of a chat completion."""
        return {**self._response, "choices": [{**self._choice, "message": self.message}]}

    def broken_off(self) -> Answer:
        """What came before it was broken off, as an answer that is not whole."""
        model = str(self._response.get("model", ""))
        return Answer(self.message, "length", model=model, usage=Usage(calls=1))

    def _check_no_error(self, part: Mapping[str, Json]) -> None:
        error = find_error(part)
        if error is not None:
            raise in_band_fault(error, hidden=self._hidden)

    def _add_choice(self, choice: Json) -> None:
        if not isinstance(choice, dict) or choice.get("index", 0) != 0:
            raise broken_stream_error("another choice than the one that was asked for")
        self._check_no_error({"choices": [], **choice})
        self.chunks += 1
        self._choice |= {name: choice[name] for name in _KEPT_OF_CHOICE if choice.get(name)}
        if choice.get("logprobs"):
            self._choice["logprobs"] = _join(self._choice.get("logprobs"), choice["logprobs"])
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise broken_stream_error("a delta that is not an object")
        for name, value in delta.items():
            self._add_field(name, value)

    def _add_field(self, name: str, value: Json) -> None:
        self.chars += sum(map(len, _texts(value, name)))
        if name == "role":
            self.message[name] = value or "assistant"
        elif name == "tool_calls" and isinstance(value, list):
            for call in value:
                self._calls.add(call)
                self.message[name] = self._calls.in_order()
        elif name == "content":
            self.message[name] = _join_content(self.message[name], value)
        elif value is not None:
            self.message[name] = _join(self.message.get(name), value)


class _Calls:
    """The tool calls of one message; each has an index and an id of its own.

    Some servers give no index, or the same one to every call. There a call begins where a new id
    comes with a name; pieces without an id go on with the call that came last at their index.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[int, dict[str, Json]]] = []
        self._has_index: bool | None = None

    def in_order(self) -> list[Json]:
        """By index, those of one index as they came."""
        return [call for _, call in sorted(self._calls, key=lambda entry: entry[0])]

    def add(self, piece: Json) -> None:
        """Takes a piece of one call. Raises UpstreamError where it is not clear of which."""
        index = piece.get("index") if isinstance(piece, dict) else True
        has_index = index is not None
        if type(index) not in (int, type(None)) or self._has_index not in (None, has_index):
            _fail_unclear_call()
        self._has_index = has_index
        call = self._find(index or 0, piece)
        for name, value in piece.items():
            if name != "index":
                call[name] = _join(call.get(name), value, name)

    def _find(self, index: int, piece: Mapping[str, Json]) -> dict[str, Json]:
        """The call that a piece belongs to; a new one where it begins one."""
        known = [call for place, call in self._calls if place == index]
        if not known:
            return self._begin(index)
        last, given, name = known[-1], piece.get("id"), _called(piece, "name")
        same = next((call for call in known if given and call.get("id") == given), None)
        if given and same is None and last.get("id"):
            return self._begin(index) if name else _fail_unclear_call()
        call = same or last
        named = _called(call, "name")
        # A name that goes on comes before the arguments. The official clients disagree on a whole
        # name that comes again: one joins it, one replaces.
        has_begun = bool(_called(call, "arguments") or _called(call, "input"))
        is_new = (same is None or name == named) if given else not self._has_index
        return _fail_unclear_call() if name and named and (has_begun or is_new) else call

    def _begin(self, index: int) -> dict[str, Json]:
        call: dict[str, Json] = {}
        self._calls.append((index, call))
        return call


def _called(call: Mapping[str, Json], field: str) -> Json:
    """A field of the function or the custom tool that a call is of."""
    inner = call.get("function") or call.get("custom")
    return inner.get(field) if isinstance(inner, dict) else None


def _fail_unclear_call() -> NoReturn:
    raise broken_stream_error("a piece of a tool call of which it is not clear where it belongs")


def _join_content(before: Json, value: Json) -> Json:
    """A content that grows; a text beside parts is a part."""
    if isinstance(before, list) and isinstance(value, str):
        value = [{"type": "text", "text": value}] if value else None
    if isinstance(before, str) and isinstance(value, list):
        before = [{"type": "text", "text": before}] if before else None
    return _join(before, value)


def _join(before: Json, value: Json, name: str = "") -> Json:
    """A value continued by a piece of it, `name` being that of its field. Raises UpstreamError."""
    if value is None or value in ("", [], {}):
        return value if before is None else before
    if before is None or before in ("", [], {}):
        return value
    if name in _IDENTIFIERS or isinstance(value, bool):
        if type(before) is type(value) and before == value:
            return before
        raise broken_stream_error("a name or a mark that changed in the middle")
    match before, value:
        case (str(), str()) | (int() | float(), int() | float()):
            return before + value
        case dict(), dict():
            names = dict.fromkeys((*before, *value))
            return {inner: _join(before.get(inner), value.get(inner), inner) for inner in names}
        case list(), list():
            return _join_lists(before, value)
        case _:
            raise broken_stream_error("a field that came again in another form")


def _join_lists(before: list[Json], more: list[Json]) -> list[Json]:
    """Items with an index are joined with that of the same index and type, others appended."""
    items = list(before)
    for item in more:
        place = _continued(items, item)
        if place is None:
            items.append(item)
        else:
            items[place] = _join(items[place], item)
    return items


def _continued(items: list[Json], item: Json) -> int | None:
    """The place of the item that this one goes on with; None where it is a new one."""
    if not isinstance(item, dict):
        return None
    if type(item.get("index")) is int:
        key = (item["index"], item.get("type"))
        same = (
            place
            for place, one in enumerate(items)
            if isinstance(one, dict) and (one.get("index"), one.get("type", key[1])) == key
        )
        return next(same, None)
    last = items[-1] if items else None
    kind = item.get("type")
    is_text = isinstance(kind, str) and set(item) == {"type", kind}
    return len(items) - 1 if is_text and isinstance(last, dict) and _goes_on(last, item) else None


def _goes_on(last: Mapping[str, Json], part: Mapping[str, Json]) -> bool:
    """Whether both are parts of one kind that hold nothing but their text, or parts of it."""
    kind = part["type"]
    return set(last) == set(part) and last["type"] == kind and type(last[kind]) is type(part[kind])


def _texts(value: Json, name: str) -> Iterator[str]:
    """Every text in a field of a delta but identifiers, without recursion."""
    left = [(name, value)]
    while left:
        field, item = left.pop()
        if isinstance(item, str):
            if field not in _IDENTIFIERS:
                yield item
        elif isinstance(item, dict):
            left += item.items()
        elif isinstance(item, list):
            left += [(field, inner) for inner in item]
