"""Reads policies and other YAML files; a mistake is named by file, line and field."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from guardrail.errors import ConfigError
from guardrail.policy.schema import Policy

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "SHIPPED",
    "line_of",
    "load_policy",
    "named_policy",
    "parse_policy",
    "parse_yaml",
    "read_file",
    "shipped_policy",
]

SHIPPED = ("default", "quick", "strict", "observe", "detoxify", "judge", "action", "semantic")
"""Names of the policies that ship with the package."""

_M = TypeVar("_M", bound=BaseModel)
_LARGEST_BYTES = 1024 * 1024


def load_policy(path: str | Path) -> Policy:
    """The policy in a YAML or JSON file.

    Raises:
        ConfigError: the file cannot be read, or a field in it is wrong.
    """
    file = Path(path)
    return parse_policy(read_file(file, "policy"), file=str(file)).placed(file.parent)


def parse_policy(data: bytes, *, file: str) -> Policy:
    """The policy in YAML text (JSON is YAML). Raises ConfigError."""
    return parse_yaml(
        Policy,
        data,
        file=file,
        shape="a policy is a mapping of fields, such as 'name: default'",
        schema="'guardrail policy schema'",
    )


def read_file(file: Path, what: str) -> bytes:
    """The bytes of a file that people write. Raises ConfigError."""
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"the {what} cannot be read ({error.strerror}); check the path", file=str(file)
        ) from error
    if len(data) > _LARGEST_BYTES:
        raise ConfigError(f"a {what} has at most {_LARGEST_BYTES} bytes", file=str(file))
    return data


def named_policy(name: str) -> Policy:
    """A shipped policy by name, else a file. Raises ConfigError."""
    is_name = name.isidentifier() and not Path(name).exists()
    return load_policy(shipped_policy(name) if is_name else name)


def parse_yaml(model: type[_M], data: bytes, *, file: str, shape: str, schema: str) -> _M:
    """YAML text as a model.

    Args:
        model: what it must be.
        data: the text.
        file: its name, for messages.
        shape: what to say where it is no mapping.
        schema: where the known fields are told.

    Raises:
        ConfigError: names the line and field of the first mistake.
    """
    try:
        node = yaml.compose(data, Loader=yaml.SafeLoader)
        content = yaml.load(data, Loader=_UniqueKeys)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        problem = getattr(error, "problem", None) or "a value in it cannot be read"
        raise ConfigError(f"this is no valid YAML: {problem}", file=file, line=line) from error
    if not isinstance(content, dict):
        raise ConfigError(shape, file=file)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _named(error, node, file, schema) from error


def shipped_policy(name: str) -> Path:
    """The path of a policy that ships with the package (`default`, `strict`, `observe`, …).

    Raises:
        ConfigError: there is none of that name.
    """
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "policies", here.parent / "policies"):
        if (path := folder / f"{name}.yaml").is_file():
            return path
    raise ConfigError(
        f"there is no file and no shipped policy '{name}'; those that ship are {', '.join(SHIPPED)}"
    )


def line_of(file: str, field: str) -> int | None:
    """The line (from 1) at which a field, or the section it would stand in, stands in a file."""
    try:
        node = yaml.compose(Path(file).read_bytes(), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return _line(node, [int(part) if part.isdecimal() else part for part in field.split(".")])


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping that names a key twice: the first value would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the field '{key.value}' stands here twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _named(error: ValidationError, node: yaml.Node | None, file: str, schema: str) -> ConfigError:
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    place = first["loc"]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ConfigError(
        f"{_words(first, schema)}{more}",
        file=file,
        line=_line(node, place),
        field=".".join(str(part) for part in place) or None,
    )


def _words(problem: Any, schema: str) -> str:
    match problem["type"]:
        case "extra_forbidden":
            return f"there is no such field; see {schema}"
        case "missing":
            return "this field is required"
        case _:
            return str(problem["msg"]).removeprefix("Value error, ")


def _line(node: yaml.Node | None, place: Sequence[str | int]) -> int | None:
    """The line (from 1) of the deepest node on the way that exists."""
    line = None if node is None else node.start_mark.line + 1
    for part in place:
        found = _child(node, part)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _child(node: yaml.Node | None, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Where a field or an item starts, and its value."""
    if isinstance(node, yaml.MappingNode):
        return next(((k, v) for k, v in node.value if k.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None
