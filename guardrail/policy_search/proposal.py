"""The proposed policy as a file: what it changes, each with its reason beside it."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.counted_noun import count_of
from guardrail.policy.shipped import shipped_names
from guardrail.policy_search.numbers import FIELDS
from guardrail.policy_search.search import goal_radius
from guardrail.policy_search.wording import (
    describe_change,
    describe_check,
    describe_error,
    describe_why,
)
from guardrail.printable import show_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.policy_search.tuned import Tuned

__all__ = ["write_proposal"]

_WIDTH = 98


def write_proposal(tuned: Tuned, policy_name: str, own_name: str, folder: Path, data: str) -> str:
    """The text of the proposed policy's file.

    Args:
        tuned: a search that proposes something.
        policy_name: the policy that was tuned, as it was named on the command line.
        own_name: what that policy calls itself.
        folder: where the file will stand.
        data: what the requests are called.
    """
    proposed = tuned.proposed
    assert proposed is not None  # the caller asks only then
    measured = proposed.measured
    head = [
        (
            f"Proposed by `guardrail tune` on {data}. Confirmed on {measured.ordinary:,} ordinary "
            f"and {count_of(measured.forbidden, 'forbidden request')} that the search did not look "
            f"at; {describe_error(tuned.design)}:"
        ),
        *(f"- {describe_check(check)}" for check in proposed.checks),
        (
            "It speaks of requests drawn like these, under the model and the oracle they were "
            "measured with. Measure it anew when either changes."
        ),
    ]
    lines = [line for text in head for line in _comment(text, "")]
    lines += ["", f"name: {_tuned_name(own_name)}", f"extends: {_base(policy_name, folder)}", ""]
    lines += ["goals:"]
    lines += [
        f"  {goal.kind.value}: {json.dumps(goal.text)}"
        for goal in sorted(tuned.design.goals, key=lambda goal: goal.kind.value)
    ]
    changes = proposed.candidate.changes(tuned.base)
    if not changes:
        return (
            "\n".join([*lines, "", *_comment("The policy's own numbers meet its goals.", "")])
            + "\n"
        )
    tree: dict[str, Any] = {}
    for name, (old, new) in changes.items():
        *sections, field = FIELDS[name].split(".")
        section = tree
        for part in sections:
            section = section.setdefault(part, {})
        why = describe_why(name, tuned, goal_radius(tuned.design.goals))
        section[field] = (f"{describe_change(name, old, new)}. Why: {why}.", new)
    return "\n".join([*lines, "", *_write(tree, 0)]) + "\n"


def _write(tree: dict[str, Any], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, value in tree.items():
        if isinstance(value, dict):
            yield f"{indent}{name}:"
            yield from _write(value, depth + 1)
        else:
            yield from _comment(value[0], indent)
            yield f"{indent}{name}: {json.dumps(value[1])}"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        show_text(text), _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )


def _tuned_name(name: str) -> str:
    return f"{name[:58]}-tuned"


def _base(policy_name: str, folder: Path) -> str:
    """What `extends` says: a shipped policy by name, a file by its path from the new one."""
    if policy_name in shipped_names() and not Path(policy_name).is_file():
        return policy_name
    return json.dumps(os.path.relpath(Path(policy_name).resolve(), folder.resolve()))
