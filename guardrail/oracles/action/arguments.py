"""Arguments of an action, checked against a schema and brought to one form."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guardrail.canonical import parse_strict
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.types import Json

__all__ = ["Arguments", "Texts", "compile_pattern", "parse_strictly"]

_LONGEST = 65_536  # characters of arguments or of an answer that are read at all
_SHOWN = 40
_FAULTS = (ValueError, RecursionError, OverflowError)


class Texts(StrEnum):
    """When two texts among the arguments are the same."""

    EXACT = "exact"
    """Character by character."""
    TRIMMED = "trimmed"
    """As above, but for blanks: around the text none count, within it any number is one."""
    FOLDED = "folded"
    """As above, but for upper and lower case and for compatible forms of a character (NFKD)."""

    def same(self, text: str) -> str:
        """The form that all texts have which are the same as this one."""
        if self is Texts.FOLDED:
            # Unicode's compatibility caseless matching (D146): each step can undo the other.
            for form in ("NFD", "NFKD"):
                text = unicodedata.normalize(form, text).casefold()
            text = unicodedata.normalize("NFKD", text)
        return text if self is Texts.EXACT else " ".join(text.split())


@dataclass(frozen=True)
class Arguments:
    """What the arguments of one action may be, and which of them are the same.

    Numbers in an argument that has a step s are replaced by the nearest multiple of it: two calls
    are the same if every number lies within the same interval of length s around one.

    Attributes:
        schema: JSON Schema (2020-12) of the object of arguments; what does not fit is not an
            action. References lead within the schema, and patterns are RE2's.
        matter: the arguments in which two calls must agree; None for all of them.
        steps: argument to the step to which the numbers in it are rounded, each above 0.
        texts: when two texts are the same.

    Raises:
        ConfigError: the schema or an option cannot be used.
    """

    schema: Mapping[str, Json] = field(default_factory=dict)
    matter: frozenset[str] | None = None
    steps: Mapping[str, float] = field(default_factory=dict)
    texts: Texts = Texts.FOLDED

    def __post_init__(self) -> None:
        _check_schema(self.schema)
        for name, step in self.steps.items():
            if not 0.0 < step < math.inf:
                raise ConfigError("must be above 0 and finite", field=f"steps.{name}")

    def normal(self, value: Json) -> dict[str, Json] | None:
        """The arguments that matter in their one form; None where they do not fit the schema."""
        try:
            filled = self._fill_defaults(self.schema, value)
            if not isinstance(filled, dict) or not self._validator.is_valid(filled):
                return None
            return {
                name: self._form(part, self.steps.get(name))
                for name, part in filled.items()
                if self.matter is None or name in self.matter
            }
        except _FAULTS:
            return None

    def readable_texts(self, normal: Mapping[str, Json]) -> dict[str, str]:
        """Those of the normal arguments that a person may read: words of the schema's own."""
        parts = self.schema.get("properties", {})
        found = {}
        for name, value in normal.items():
            for word in _words(parts.get(name)):
                if self.texts.same(word) == value:
                    found[name] = word
        return dict(sorted(found.items()))

    @cached_property
    def _validator(self) -> Any:
        return _validator(self.schema)

    def _fill_defaults(self, schema: Json, value: Json) -> Json:
        """With defaults in place, and texts of an enumeration spelt as the schema spells them."""
        if not isinstance(schema, Mapping):
            return value
        if isinstance(value, str):
            words = (word for word in _texts(schema) if self.texts.same(word))
            return next((w for w in words if self.texts.same(w) == self.texts.same(value)), value)
        if isinstance(value, list):
            return [self._fill_defaults(schema.get("items"), item) for item in value]
        if not isinstance(value, Mapping):
            return value
        parts = schema.get("properties", {})
        defaults = {
            name: part["default"]
            for name, part in parts.items()
            if isinstance(part, Mapping) and "default" in part
        }
        return {
            name: self._fill_defaults(parts.get(name), item)
            for name, item in {**defaults, **value}.items()
        }

    def _form(self, value: Json, step: float | None) -> Json:
        if isinstance(value, str):
            return self.texts.same(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int | float):
            return _round_to_step(value, step)
        if isinstance(value, list):
            return [self._form(item, step) for item in value]
        return {name: self._form(item, step) for name, item in value.items()}


def parse_strictly(text: str) -> Json:
    """JSON that all parsers read the same: no key twice, every number finite, not too long.

    Raises:
        ValueError: it is not of that kind.
    """
    if len(text) > _LONGEST:
        raise ValueError("too long")
    return parse_strict(text)


def compile_pattern(pattern: str, name: str) -> Any:
    """The pattern for RE2, which takes linear time whatever text it meets. Raises ConfigError."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ConfigError(
            "RE2 does not take this pattern; it knows no backreferences and no look-around",
            field=name,
        ) from error


def _round_to_step(value: Json, step: float | None) -> Json:
    """The number of the nearest multiple; without a step the number, 3.0 as 3."""
    if step is not None:
        return math.floor(value / step + 0.5)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _texts(schema: Json) -> list[str]:
    """The texts of an enumeration."""
    return [word for word in schema.get("enum", ()) if isinstance(word, str)]


def _words(schema: Json) -> list[str]:
    """The texts of an enumeration that can be shown in a line."""
    texts = _texts(schema) if isinstance(schema, Mapping) else []
    return [text for text in texts if text.isprintable() and len(text) <= _SHOWN]


def _check_schema(schema: Mapping[str, Json]) -> None:
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except (jsonschema.SchemaError, RecursionError) as error:
        place = "/".join(map(str, getattr(error, "absolute_path", ())))
        raise ConfigError(
            f"not a JSON Schema: {place or 'its root'} does not follow draft 2020-12",
            field="schema",
        ) from error
    if schema.get("type", "object") != "object":
        raise ConfigError("arguments are an object; set type: object", field="schema")
    for name, value in _keywords(schema):
        _check_keyword(schema, name, value)


def _check_keyword(schema: Mapping[str, Json], name: str, value: Json) -> None:
    if name in ("$ref", "$dynamicRef") and isinstance(value, str):
        _check_reference(schema, value)
    elif name == "$id" and isinstance(value, str):
        raise ConfigError("leave $id out: references lead within the schema", field="schema")
    elif name == "patternProperties":
        raise ConfigError("write the names out; names by pattern are not read", field="schema")
    elif name == "pattern" and isinstance(value, str):
        compile_pattern(value, "schema")


def _check_reference(schema: Mapping[str, Json], reference: str) -> None:
    """Leads to a place within the schema: nothing is ever fetched."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    registry: Registry[Any] = Registry().with_resource("", DRAFT202012.create_resource(schema))
    try:
        registry.resolver().lookup(reference)
    except Unresolvable as error:
        raise ConfigError(
            "a $ref leads to nothing within the schema; put its target there",
            field="schema",
        ) from error


def _keywords(schema: Json) -> Iterator[tuple[str, Json]]:
    """Every pair of name and value, at any depth."""
    left = [schema]
    while left:
        item = left.pop()
        if isinstance(item, Mapping):
            yield from item.items()
            left += item.values()
        elif isinstance(item, list):
            left += item


def _validator(schema: Mapping[str, Json]) -> Any:
    """A validator that fetches nothing and looks for patterns in linear time."""
    import jsonschema
    from referencing import Registry

    draft = jsonschema.Draft202012Validator
    kind = jsonschema.validators.extend(draft, {"pattern": _pattern})
    return kind(schema, registry=Registry())


def _pattern(validator: Any, pattern: str, instance: Json, schema: Json) -> Iterator[Any]:
    import jsonschema

    del schema
    fits = not validator.is_type(instance, "string")
    if not fits and not compile_pattern(pattern, "schema").search(instance):
        yield jsonschema.ValidationError("the pattern does not fit")
