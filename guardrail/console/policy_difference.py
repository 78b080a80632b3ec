"""Two versions of a policy side by side: their lines, and what the difference means."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

from guardrail.errors import CertificationError, ConfigError
from guardrail.replay.difference import Strictness, compare_policies
from guardrail.replay.wording import describe_numbers, format_value

if TYPE_CHECKING:
    from guardrail.policy.schema import Policy

__all__ = ["DiffLine", "describe_difference", "diff_lines"]

_CONTEXT = 3
_MOST_LINES = 2_000


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line: `added`, `removed`, `same`, or `gap` where lines are left out."""

    kind: str
    text: str


def diff_lines(old: str, new: str) -> list[DiffLine]:
    """What differs, with some lines around it; empty where nothing does."""
    found = []
    compared = difflib.unified_diff(old.splitlines(), new.splitlines(), n=_CONTEXT, lineterm="")
    for number, line in enumerate(compared):
        if number < 2:  # the names of the files
            continue
        if number > _MOST_LINES:
            found.append(DiffLine("gap", "… more lines"))
            break
        kind = {"+": "added", "-": "removed", " ": "same"}.get(line[:1], "gap")
        found.append(DiffLine(kind, line if kind == "gap" else line[1:]))
    return found


def describe_difference(old: Policy | None, new: Policy | None) -> dict[str, Any] | None:
    """The meaning in words, for the template; None where one of the two cannot be used."""
    if old is None or new is None:
        return None
    try:
        found = compare_policies(old, new)
    except (ConfigError, CertificationError):
        return None
    numbers = [describe_numbers(one) for one in found.numbers]
    return {
        "strictness": found.strictness.value,
        "words": _describe(found.strictness),
        "fields": [
            {
                "field": one.field,
                "old": format_value(one.old),
                "new": format_value(one.new),
                "meaning": one.meaning,
                "strictness": one.strictness.value,
            }
            for one in found.fields
        ],
        "numbers": [
            (name, before, numbers[1].get(name, "–"), before != numbers[1].get(name))
            for name, before in numbers[0].items()
        ],
    }


def _describe(strictness: Strictness) -> str:
    match strictness:
        case Strictness.STRICTER:
            return "Stricter: nothing in it is looser."
        case Strictness.LOOSER:
            return "Looser: it promises less, or lets through more, and nothing in it is stricter."
        case Strictness.AS_STRICT:
            return "As strict: it promises the same. What it costs may differ."
        case Strictness.NEITHER:
            return "Neither stricter nor looser as a whole: only traffic shows what it does."
        case _:
            assert_never(strictness)
