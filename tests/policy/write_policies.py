"""Writes what is generated from the policy's schema: `make policies`.

That is `policies/default.yaml` as a whole, the head of the other shipped policies (what `guardrail
policy check` says of them), and the tables of `docs/policy.md`. A test holds the files equal.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from guardrail.cli.policy import promise_lines
from guardrail.oracles.kinds.default import DefaultOptions
from guardrail.oracles.registry import builtin_kinds
from guardrail.policy.compile import compile_policy
from guardrail.policy.facts import describe_rules
from guardrail.policy.fields import describe_fields
from guardrail.policy.load import load_policy
from guardrail.policy.schema import Policy, PolicyFile
from guardrail.policy.shipped import shipped_names, shipped_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.policy.fields import FieldText

PAGE = Path(__file__).parents[2] / "docs" / "policy.md"
_WIDTH = 100
_START = "by `guardrail policy check "
_TABLE = re.compile(r"(<!-- fields: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ORACLE_FIELDS = ("kind", "models", "threshold")  # the others are in docs/oracles.md
_HEAD = """\
# The default policy: a promise for small changes of a picture, at some three dozen calls a request.
# Chosen on the built-in model (benchmarks/filters/policies.md): 71 of 72 clean scenes passed, at
# 37.5 calls each, and all of 36 forbidden ones were stopped. More noise stopped more of what is
# clean; a larger radius for the same noise takes more than 40 calls.
#
# What it promises and costs, by `guardrail policy check default`:
#
{promise}
#
# Fields left out keep the values shown here; a field that is not known is an error. So a policy of
# a name alone is this one, and one that differs says only what differs. `make policies` writes this
# file from the fields' texts in guardrail/policy/schema.py. As a table: docs/policy.md; for
# editors: `guardrail policy schema`; the words: docs/glossary.md.
"""


def generate_files() -> Iterator[tuple[Path, str]]:
    """Every file with the text that it should hold."""
    for name in shipped_names():
        path = shipped_policy(name)
        yield path, write_default() if name == "default" else replace_head(path)
    yield PAGE, _TABLE.sub(lambda m: f"{m[1]}{write_table(m[2])}\n{m[3]}", PAGE.read_text())


def replace_head(path: Path) -> str:
    """A policy's text with what it promises now."""
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if _START in line and line.endswith(":")) + 2
    end = next(i for i in range(start, len(lines)) if lines[i] == "#")
    lines[start:end] = _promise(load_policy(path))
    return "\n".join(lines) + "\n"


def write_default() -> str:
    """The default policy, every field with its text and value."""
    policy = Policy(name="default")  # not from its file, which may be of yesterday's fields
    values = policy.model_dump(mode="json", by_alias=True)
    texts = {field.place: field for field in describe_fields(PolicyFile)}
    lines = []
    for name in Policy.model_fields:
        lines += ["", *_write_entry((name,), values[name], texts)]
        if name == "version":
            lines += ["", *_comment(texts[("extends",)], ""), "# extends: strict"]
    return _HEAD.format(promise="\n".join(_promise(policy))) + "\n".join(lines) + "\n"


def write_table(section: str) -> str:
    """A table of the fields of a part of the policy: `basic` or `advanced`."""
    values = Policy(name="default").model_dump(mode="json", by_alias=True)
    rows = ["| field | default | range | what it means |", "|---|---|---|---|"]
    for field in describe_fields(PolicyFile):
        if field.is_section or (field.place[0] == "advanced") != (section == "advanced"):
            continue
        value = values
        for name in field.place:
            value = value.get(name)
        is_required = field.place == ("name",)
        default = "required" if is_required else f"`{_write_value(value)}`"
        if field.place == ("oracle",):
            default = f"`{{kind: {value['kind']}, threshold: {value['threshold']}}}`"
        within = field.bounds or ", ".join(f"`{word}`" for word in field.words)
        text = re.sub(r"([|*])", r"\\\1", field.text)
        rows.append(f"| `{'.'.join(field.place)}` | {default} | {within} | {text} |")
    return "\n".join(rows)


def _promise(policy: Policy) -> list[str]:
    rules = compile_policy(policy)
    facts = describe_rules(rules, reference_kind=policy.oracle.reference_kind)
    return [f"#{line}" for line in promise_lines(rules, facts)]


def _write_entry(
    place: tuple[str, ...], value: Any, texts: dict[tuple[str, ...], FieldText]
) -> Iterator[str]:
    indent = "  " * (len(place) - 1)
    field = texts[place]
    yield from _comment(field, indent)
    if place == ("oracle",):
        yield f"{indent}{place[-1]}:"
        yield from _write_oracle(value)
    elif field.is_section:
        yield f"{indent}{place[-1]}:"
        for i, name in enumerate(value):
            yield from [""] if i else []
            yield from _write_entry((*place, name), value[name], texts)
    else:
        yield f"{indent}{place[-1]}: {_write_value(value)}"


def _write_oracle(value: dict[str, Any]) -> Iterator[str]:
    """The default oracle, the other kinds by their names."""
    texts = {field.place[0]: field for field in describe_fields(DefaultOptions)}
    others = ", ".join(kind for kind in builtin_kinds() if kind != value["kind"])
    yield from _wrap(
        f"{DefaultOptions.__doc__} The other kinds: {others}, and module:name for Python code.",
        "  ",
    )
    yield f"  kind: {value['kind']}"
    for name in _ORACLE_FIELDS[1:]:
        yield ""
        yield from _comment(texts[name], "  ")
        yield f"  {name}: {_write_value(value[name])}"


def _comment(field: FieldText, indent: str) -> list[str]:
    bounds = f" Range: {field.bounds}." if field.bounds else ""
    return _wrap(field.text.replace("`", "") + bounds, indent)


def _wrap(text: str, indent: str) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=prefix,
        subsequent_indent=prefix,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _write_value(value: Any) -> str:
    if isinstance(value, str) and (yaml.safe_load(value) == value or value == "off"):
        return value
    return json.dumps(value)


def main() -> None:
    for path, text in generate_files():
        path.write_text(text)
        print(path)  # noqa: T201 (a script)


if __name__ == "__main__":
    main()
