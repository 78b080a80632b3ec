"""Writes into every shipped policy what `guardrail policy check` says of it: `make policies`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.cli.policy import promise_lines
from guardrail.policy.compile import compile_policy
from guardrail.policy.facts import describe_rules
from guardrail.policy.load import SHIPPED, load_policy, shipped_policy

if TYPE_CHECKING:
    from pathlib import Path

_START = "policy check policies/"


def header_of(path: Path) -> list[str]:
    """The block that stands in the file now, without the line above it and the one below."""
    lines = path.read_text().splitlines()
    start, end = _block(lines)
    return lines[start:end]


def promised_header(path: Path) -> list[str]:
    """The block that should stand there."""
    policy = load_policy(path)
    rules = compile_policy(policy, file=str(path))
    facts = describe_rules(rules, reference_kind=policy.oracle.reference_kind)
    return [f"#{line}" for line in promise_lines(rules, facts)]


def _block(lines: list[str]) -> tuple[int, int]:
    start = next(i for i, line in enumerate(lines) if _START in line and line.endswith(":")) + 2
    end = next(i for i in range(start, len(lines)) if lines[i] == "#")
    return start, end


def main() -> None:
    for name in SHIPPED:
        path = shipped_policy(name)
        wanted = promised_header(path)  # from the file as it is: comments do not matter
        lines = path.read_text().splitlines()
        start, end = _block(lines)
        lines[start:end] = wanted
        path.write_text("\n".join(lines) + "\n")
        print(f"{path.name}: {len(wanted)} lines")  # noqa: T201 (a script)


if __name__ == "__main__":
    main()
