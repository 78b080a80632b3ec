"""What is wrong in a file: every mistake at once, each with its place and what was meant."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.errors import ConfigError
from guardrail.expected_values import describe_wrong_value, name_expected
from guardrail.policy.document import find_child
from guardrail.policy.fields import describe_fields, schema_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel, ValidationError

    from guardrail.policy.document import Source
    from guardrail.policy.fields import SchemaTree

__all__ = ["MistakesError", "find_mistakes", "list_mistakes", "raise_mistakes", "suggest_field"]

Place: TypeAlias = tuple[str | int, ...]
"""The names and numbers that lead to a field."""

_MISSING = object()
_FORM = re.compile(r"(?:str|int|float|bool|none|[\w-]+\[.*\])")
"""A form of a value as pydantic names it."""
_ALIKE = 0.7
"""From which similarity on, in [0, 1], another name is suggested."""


class MistakesError(ConfigError):
    """Several mistakes; `file`, `line` and `field` are those of the first.

    Attributes:
        mistakes: all of them, one error each.
    """

    def __init__(self, mistakes: Sequence[ConfigError]) -> None:
        first = mistakes[0]
        lines = [f"{len(mistakes)} mistakes", *(f"  {mistake}" for mistake in mistakes)]
        super().__init__("\n".join(lines), file=first.file)
        self.line, self.field = first.line, first.field
        self.mistakes = tuple(mistakes)


def list_mistakes(error: ConfigError) -> tuple[ConfigError, ...]:
    """The errors that one error stands for."""
    return error.mistakes if isinstance(error, MistakesError) else (error,)


def raise_mistakes(mistakes: Sequence[ConfigError]) -> None:
    """Raises all of them at once, or nothing if there are none."""
    if len(mistakes) > 1:
        raise MistakesError(mistakes)
    if mistakes:
        raise mistakes[0]


def find_mistakes(
    error: ValidationError, model: type[BaseModel], content: Any, source: Source, schema: str
) -> list[ConfigError]:
    """The mistakes that a model found in a content.

    Args:
        error: what the model raised.
        model: the model.
        content: what it was given.
        source: the files in which that is written.
        schema: where the known fields are explained.
    """
    tree = schema_tree(model)
    problems = [
        (*_find_place(problem["loc"], content), problem)
        for problem in _drop_consequences(error.errors(include_url=False))
    ]
    # Of the forms that a value may have, the one that was followed farthest was meant.
    farthest: dict[Place, int] = {}
    for place, choice, _ in problems:
        if choice is not None:
            farthest[choice] = max(farthest.get(choice, 0), len(place))
    found: dict[Place, list[Any]] = {}
    for place, choice, problem in problems:
        if choice is None or len(place) == farthest[choice]:
            found.setdefault(place, []).append(problem)
    return [
        mistake
        for place, together in found.items()
        for mistake in _name_mistakes(place, together, model, tree, content, source, schema)
    ]


def _name_mistakes(
    place: Place,
    problems: list[Any],
    model: type[BaseModel],
    tree: SchemaTree,
    content: Any,
    source: Source,
    schema: str,
) -> Iterator[ConfigError]:
    """One error for all forms that a value could have had; else one for each problem."""
    file, line = source.locate(place)
    suggestion = suggest_field(place, model, tree, content) or f"see {schema}"
    expected = [name_expected(problem) for problem in problems]
    told = [_explain(problem, suggestion) for problem in problems]
    if len(problems) > 1 and all(expected):
        told = [describe_wrong_value(problems[0], expected)]
    for words in told:
        yield ConfigError(words, file=file, line=line, field=".".join(map(str, place)) or None)


def _find_place(location: Place, content: Any) -> tuple[Place, Place | None]:
    """The place of a field, and that of the choice of forms around it, if there is one.

    Pydantic puts the form it tried between the names: `languages`, `list[literal['en']]`, 0.
    """
    place: list[str | int] = []
    choice = None
    for part in location:
        inner = find_child(content, part, missing=_MISSING)
        if inner is _MISSING and _FORM.fullmatch(str(part)):
            choice = choice or tuple(place)
        elif part != "[key]":
            place.append(part)
            content = inner
    return tuple(place), choice


def _drop_consequences(problems: list[Any]) -> list[Any]:
    """The problems without lists that are too short only because an item in them is wrong."""
    ways = [problem["loc"] for problem in problems]
    return [
        problem
        for problem in problems
        if problem["type"] != "too_short"
        or not any(_is_inside(way, problem["loc"]) for way in ways)
    ]


def _is_inside(way: Sequence[object], other: Sequence[object]) -> bool:
    return len(way) > len(other) and list(way[: len(other)]) == list(other)


def _explain(problem: Any, suggestion: str) -> str:
    match problem["type"]:
        case "extra_forbidden":
            return f"there is no such field; {suggestion}"
        case "missing":
            return "this field is required"
        case _:
            return describe_wrong_value(problem)


def suggest_field(
    place: Sequence[str | int], model: type[BaseModel], tree: SchemaTree, content: Any
) -> str:
    """What was meant by a field that does not exist: the same name elsewhere, or one like it."""
    if not place:
        return ""
    *section, name = place
    siblings = [(*section, sibling) for sibling in tree.names(section, content)]
    fields = describe_fields(model)
    # An oracle's fields are those of its kind; nothing of the rest of the file belongs there.
    is_inside_field = any(
        not field.is_section and list(field.place) == section[: len(field.place)]
        for field in fields
    )
    elsewhere = [] if is_inside_field else [field.place for field in fields]
    for candidates, like in ((elsewhere, 1.0), (siblings, _ALIKE), (elsewhere, _ALIKE)):
        names = {str(candidate[-1]) for candidate in candidates}
        for wanted in difflib.get_close_matches(str(name), names, n=1, cutoff=like):
            return _ask((*section, wanted), [c for c in candidates if c[-1] == wanted])
    return ""


def _ask(wanted: Sequence[str | int], candidates: Sequence[Sequence[str | int]]) -> str:
    """Names the candidates that agree with what was written in most of their last names."""
    shared = [_count_shared_end(wanted, candidate) for candidate in candidates]
    best = [
        f"'{'.'.join(map(str, candidate))}'"
        for candidate, count in zip(candidates, shared, strict=True)
        if count == max(shared)
    ]
    return f"did you mean {' or '.join(best)}?"


def _count_shared_end(one: Sequence[object], other: Sequence[object]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
