"""What a field must be, in plain words, for what pydantic found wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from guardrail.counted_noun import count_of

__all__ = ["describe_wrong_value", "name_expected"]

_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "a text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "dict": "a section of fields",
    "model": "a section of fields",
    "mapping": "a section of fields",
    "none": "nothing",
}
"""By the beginning of pydantic's name of a mistake: `bool_type`, `bool_parsing`, …"""


def describe_wrong_value(problem: Mapping[str, Any], expected: list[str] | None = None) -> str:
    """What stands in a field and what should, quoting nothing of a text.

    Args:
        problem: one of pydantic's.
        expected: what may stand there, where that is more than the one problem says.
    """
    if problem["type"] == "invalid_key":
        return "the name of a field is a text; put it in quotes"
    wanted = expected or [name_expected(problem)]
    if not any(wanted):
        return str(problem["msg"]).removeprefix("Value error, ")
    return f"{_name_value(problem['input'], wanted)}give {' or '.join(dict.fromkeys(wanted))}"


def name_expected(problem: Mapping[str, Any]) -> str:
    """What the field must be; empty where the problem's own message says it."""
    kind, context = str(problem["type"]), problem.get("ctx", {})
    match kind:
        case "literal_error" | "enum":
            return str(context["expected"])
        case "greater_than":
            return f"a number above {context['gt']:g}"
        case "greater_than_equal":
            return f"a number of at least {context['ge']:g}"
        case "less_than":
            return f"a number below {context['lt']:g}"
        case "less_than_equal":
            return f"a number of at most {context['le']:g}"
        case "finite_number":
            return "a finite number"
        case "string_too_short":
            return f"a text of at least {count_of(context['min_length'], 'character')}"
        case "string_too_long":
            return f"a text of at most {count_of(context['max_length'], 'character')}"
        case "too_short":
            return f"at least {count_of(context['min_length'], 'item')}"
        case "too_long":
            return f"at most {count_of(context['max_length'], 'item')}"
        case "string_pattern_mismatch":
            return f"a text of the pattern {context['pattern']}"
        case _:
            return _EXPECTED.get(kind.partition("_")[0], "")


def _name_value(value: Any, expected: list[str]) -> str:
    """What stands there, where that is of another kind than what should."""
    if value is None:
        return "nothing stands here; "
    if isinstance(value, bool):
        return f"this is {str(value).lower()}; "
    if isinstance(value, int | float):
        is_text_wanted = any("text" in words or "'" in words for words in expected)
        return "this is a number (a text that looks like one has quotes); " * is_text_wanted
    if isinstance(value, str):
        if any("number" in words for words in expected):
            return "this is a text (a number has no quotes, and no zeros before it); "
        return (
            "" if any("text" in words or "'" in words for words in expected) else "this is a text; "
        )
    if isinstance(value, list | tuple):
        return "" if any("item" in words for words in expected) else "this is a list; "
    return "this is a section of fields; " if isinstance(value, Mapping) else "this is no text; "
