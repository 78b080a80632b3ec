"""What the schema says of each field: its text and range, and what may stand at a place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from guardrail.policy.document import find_child

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

__all__ = ["FieldText", "SchemaTree", "describe_fields", "schema_tree"]

_OWN = "x-"
_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}


@dataclass(frozen=True, slots=True)
class FieldText:
    """One field or section.

    Attributes:
        place: the names that lead to it.
        text: what it means, in one paragraph.
        bounds: the numbers that it may have, as `above 0, at most 4`; empty without any.
        words: the words that it may be; empty where any is taken.
        is_section: whether it is a group of fields.
    """

    place: tuple[str, ...]
    text: str
    bounds: str
    words: tuple[str, ...]
    is_section: bool


@dataclass(frozen=True, slots=True)
class SchemaTree:
    """A JSON Schema, to walk through by the places of fields."""

    schema: dict[str, Any]

    def find(self, place: Sequence[str | int], content: Any) -> dict[str, Any] | None:
        """The schema of a field in a file with that content; None where there can be none."""
        entry: dict[str, Any] | None = self.schema
        for part in place:
            entry = None if entry is None else self._step(entry, part, content)
            content = find_child(content, part)
        return entry

    def names(self, place: Sequence[str | int], content: Any) -> tuple[str, ...]:
        """The fields that the section at a place may have."""
        entry = self.find(place, content)
        for part in place:
            content = find_child(content, part)
        section = None if entry is None else self._section(entry, content)
        return tuple(section["properties"]) if section else ()

    def is_choice(self, place: Sequence[str | int], content: Any) -> bool:
        """Whether one of several kinds of sections stands at a place."""
        entry = self.find(place, content)
        forms = [] if entry is None else list(self.alternatives(entry))
        return sum("properties" in form for form in forms) > 1

    def drop_idle(self, content: Any) -> Any:
        """A file's content without what says nothing.

        That is a section with nothing in it (all of it may stand in comments), which is as if it
        were left out, and at the top what begins with `x-`: people put there what anchors repeat.
        """
        if isinstance(content, dict):
            content = {k: v for k, v in content.items() if not str(k).startswith(_OWN)}
        return self._drop_empty(content, self.schema)

    def _drop_empty(self, content: Any, entry: dict[str, Any] | None) -> Any:
        if entry is None or not isinstance(content, dict | list):
            return content
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        steps = [(name, value, self._step(entry, name, content)) for name, value in pairs]
        kept = {
            name: self._drop_empty(value, step)
            for name, value, step in steps
            if isinstance(content, list) or not (value is None and self._is_section(step))
        }
        return kept if isinstance(content, dict) else list(kept.values())

    def _is_section(self, entry: dict[str, Any] | None) -> bool:
        """Whether fields must stand there, and nothing else."""
        forms = [] if entry is None else list(self.alternatives(entry))
        return bool(forms) and all("properties" in form for form in forms)

    def alternatives(self, entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """An entry with its references followed, one for each form that it may have."""
        if "$ref" in entry:
            yield from self.alternatives(self.schema["$defs"][entry["$ref"].rsplit("/", 1)[-1]])
        elif forms := entry.get("anyOf") or entry.get("oneOf"):
            for form in forms:
                yield from self.alternatives(form)
        else:
            yield entry

    def _step(self, entry: dict[str, Any], part: str | int, content: Any) -> dict[str, Any] | None:
        if isinstance(part, int):
            lists = [form for form in self.alternatives(entry) if "items" in form]
            return lists[0]["items"] if lists else None
        section = self._section(entry, content)
        if section is not None:
            found: dict[str, Any] | None = section["properties"].get(part)
            return found
        values = [form.get("additionalProperties") for form in self.alternatives(entry)]
        return next((value for value in values if isinstance(value, dict)), None)

    def _section(self, entry: dict[str, Any], content: Any) -> dict[str, Any] | None:
        """The group of fields that an entry is: of several kinds, the one that is named."""
        groups = [form for form in self.alternatives(entry) if "properties" in form]
        if len(groups) < 2:
            return groups[0] if groups else None
        kind = content.get("kind") if isinstance(content, dict) else None
        for group in groups:
            names = group["properties"].get("kind", {})
            if kind == names.get("const") if kind is not None else "default" in names:
                return group
        return None


@cache
def schema_tree(model: type[BaseModel]) -> SchemaTree:
    """The tree of a model's JSON Schema."""
    return SchemaTree(model.model_json_schema())


def describe_fields(model: type[BaseModel]) -> tuple[FieldText, ...]:
    """Every section and field of a model, in the order of a file.

    A choice among several kinds of sections counts as one field, and so does a mapping whose keys
    are free.
    """
    tree = schema_tree(model)
    return tuple(_describe(tree, tree.schema, ()))


def _describe(
    tree: SchemaTree, section: dict[str, Any], place: tuple[str, ...]
) -> Iterator[FieldText]:
    for name, entry in section["properties"].items():
        forms = [form for form in tree.alternatives(entry) if form.get("type") != "null"]
        inner = forms[0] if len(forms) == 1 else {}
        text = entry.get("description") or inner.get("description") or ""
        yield FieldText(
            (*place, name),
            " ".join(text.split()),
            next(filter(None, map(_bounds, forms)), ""),  # of a number that a word may stand for
            tuple(map(str, inner.get("enum", ()))),
            is_section="properties" in inner,
        )
        if "properties" in inner:
            yield from _describe(tree, inner, (*place, name))


def _bounds(entry: dict[str, Any]) -> str:
    return ", ".join(f"{words} {entry[key]}" for key, words in _BOUNDS.items() if key in entry)
