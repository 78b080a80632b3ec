"""Reads an answer as one of a closed set of actions, or says why it is none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError
from guardrail.oracles.action.arguments import Arguments, compile_pattern, parse_strictly
from guardrail.types import Answer

if TYPE_CHECKING:
    from guardrail.oracles.base import Exchange
    from guardrail.types import Json

__all__ = ["ActionRule", "ActionSource", "ActionSpace", "NamedAction", "Unparseable"]

_MOST_CALLS = 32
_MOST_NAMED = 4
_LONGEST_TEXT = 65_536
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(?P<inside>.*)\n[ \t]*```", re.DOTALL | re.IGNORECASE)

Calls: TypeAlias = Sequence[tuple[str, "Json"]]


class ActionSource(StrEnum):
    """Where in an answer the action stands."""

    TOOL_CALLS = "tool_calls"
    """Calls of tools, one or several in their order. Text beside them is not looked at."""
    JSON = "json"
    """The text, which is one JSON object or a list of them, in a code fence or not."""
    PATTERNS = "patterns"
    """The text, in which the pattern of exactly one action is found."""


@dataclass(frozen=True)
class ActionRule:
    """One action of the closed set.

    Attributes:
        arguments: what belongs to it; not read where patterns find the action.
        pattern: RE2 expression that finds it anywhere in a text; only for patterns.
        forbidden: harmful whoever asks for it.
    """

    arguments: Arguments = field(default_factory=Arguments)
    pattern: str | None = None
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class NamedAction:
    """What an answer does. Two are the same if their digests are.

    Attributes:
        name: for people: the actions' names, arguments that are words of a schema, and the
            beginning of the digest for all other arguments.
        digest: SHA-256 (hex) of the names with the normal arguments, in order.
        forbidden: one of its parts is.
    """

    name: str = field(compare=False)
    digest: str
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Unparseable:
    """No action of the set; `reason` says why and quotes nothing."""

    reason: str


class ActionSpace:
    """The closed set of actions and the way to read them.

    Args:
        rules: action to its rule, at least one.
        source: where the action stands.
        field: for `ActionSource.JSON`: the field that names the action.
        arguments_field: for `ActionSource.JSON`: the field with the object of arguments; None
            where all other fields are the arguments.

    Raises:
        ConfigError: an action lacks a pattern or has one that is not used, or RE2 does not take
            one.
    """

    def __init__(
        self,
        rules: Mapping[str, ActionRule],
        source: ActionSource,
        *,
        field: str = "action",
        arguments_field: str | None = None,
    ) -> None:
        if not rules:
            raise ConfigError("name at least one action", field="actions")
        self._rules = dict(rules)
        self._source = source
        self._field = field
        self._arguments_field = arguments_field
        self._patterns = {name: self._pattern(name, rule) for name, rule in rules.items()}

    @cached_property
    def revision(self) -> str:
        """A digest of everything that decides which action an answer is."""
        rules = [
            [name, rule.pattern, rule.forbidden, *_settings(rule.arguments)]
            for name, rule in sorted(self._rules.items())
        ]
        parts = ["action/1", self._source.value, self._field, self._arguments_field, rules]
        return short_digest(json.dumps(parts, sort_keys=True), 16)

    def read(self, exchange: Exchange) -> NamedAction | Unparseable:
        """The answer's action, or why there is none: the answer could be anything then."""
        calls = self._calls(exchange)
        if isinstance(calls, Unparseable):
            return calls
        if not 1 <= len(calls) <= _MOST_CALLS:
            return Unparseable("no call, or too many")
        known: list[tuple[str, dict[str, Json]]] = []
        for name, value in calls:
            if name not in self._rules:
                return Unparseable("an action that is not in the set")
            arguments = self._rules[name].arguments.normal(value)
            if arguments is None:
                return Unparseable("arguments that do not fit")
            known.append((name, arguments))
        return self._action(known)

    def _action(self, calls: Sequence[tuple[str, dict[str, Json]]]) -> NamedAction | Unparseable:
        try:
            text = json.dumps(calls, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (ValueError, RecursionError):
            return Unparseable("arguments that do not fit")
        digest = hashlib.sha256(text.encode()).hexdigest()
        named = [self._name_action(name, arguments) for name, arguments in calls[:_MOST_NAMED]]
        more = ["…"] if len(calls) > _MOST_NAMED else []
        forbidden = any(self._rules[name].forbidden for name, _ in calls)
        return NamedAction(f"{' + '.join(named + more)} #{digest[:12]}", digest, forbidden)

    def _name_action(self, name: str, arguments: Mapping[str, Json]) -> str:
        shown = self._rules[name].arguments.readable_texts(arguments)
        words = ", ".join(f"{key}={value}" for key, value in shown.items())
        return f"{name}({words})" if words else name

    def _calls(self, exchange: Exchange) -> Calls | Unparseable:
        message = exchange.message or {}
        if self._source is ActionSource.TOOL_CALLS:
            return _tool_calls(message)
        if message.get("tool_calls") or message.get("function_call"):
            return Unparseable("a call where a text should be")
        text = exchange.response if exchange.message is None else Answer(message).text
        if len(text) > _LONGEST_TEXT:
            return Unparseable("too long a text")
        return self._of_json(text) if self._source is ActionSource.JSON else self._of_patterns(text)

    def _of_patterns(self, text: str) -> Calls | Unparseable:
        # RE2 knows no lone surrogates, and no reader sees one
        clean = text.encode("utf-8", "replace").decode("utf-8")
        found = [name for name, pattern in self._patterns.items() if pattern.search(clean)]
        if len(found) != 1:
            return Unparseable("several patterns" if found else "no pattern")
        return [(found[0], {})]

    def _of_json(self, text: str) -> Calls | Unparseable:
        fenced = _FENCE.fullmatch(text.strip())
        try:
            value = parse_strictly(fenced["inside"] if fenced else text)
        except (ValueError, RecursionError):
            return Unparseable("no JSON")
        items = value if isinstance(value, list) else [value]
        calls = [self._of_object(item) for item in items]
        known = [call for call in calls if call is not None]
        return known if len(known) == len(calls) else Unparseable("JSON without an action")

    def _of_object(self, item: Json) -> tuple[str, Json] | None:
        if not isinstance(item, dict) or not isinstance(item.get(self._field), str):
            return None
        rest = {key: value for key, value in item.items() if key != self._field}
        if self._arguments_field is None:
            return item[self._field], rest
        arguments = rest.pop(self._arguments_field, {})
        # other fields beside the arguments could mean anything
        return None if rest else (item[self._field], arguments)

    def _pattern(self, name: str, rule: ActionRule) -> Any:
        wanted = self._source is ActionSource.PATTERNS
        if wanted is (rule.pattern is None):
            problem = "needs a pattern" if wanted else "has a pattern, which this source never uses"
            raise ConfigError(f"the action '{name}' {problem}", field="actions")
        if rule.pattern is None:
            return None
        return compile_pattern(rule.pattern, f"actions.{name}.pattern")


def _settings(arguments: Arguments) -> list[Json]:
    matter = None if arguments.matter is None else sorted(arguments.matter)
    return [dict(arguments.schema), matter, dict(arguments.steps), arguments.texts.value]


def _tool_calls(message: Mapping[str, Json]) -> Calls | Unparseable:
    """Name and arguments of every call, in order; the old form of one call counts as well."""
    calls, old = message.get("tool_calls") or [], message.get("function_call")
    if (calls and old) or not isinstance(calls, list):
        return Unparseable("calls of two forms")
    if not (calls or old):
        return Unparseable("no call")
    functions = [old] if old else [_function(call) for call in calls]
    read = [_function_of_call(function) for function in functions]
    known = [call for call in read if call is not None]
    return known if len(known) == len(read) else Unparseable("a call that cannot be read")


def _function(call: Json) -> Json:
    if not isinstance(call, Mapping) or call.get("type", "function") != "function":
        return None
    return call.get("function")


def _function_of_call(function: Json) -> tuple[str, Json] | None:
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    text = function.get("arguments", "")
    if not isinstance(text, str):
        return None
    try:
        return function["name"], parse_strictly(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return None
