"""Files of measured facts, written by machine, that hold a digest of themselves."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import yaml
from pydantic import ValidationError

from guardrail.canonical import digest_json, parse_strict
from guardrail.errors import ConfigError
from guardrail.expected_values import describe_wrong_value
from guardrail.files import read_file
from guardrail.section import Section

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Sealed", "read_sealed", "write_sealed"]


class Sealed(Section):
    """Facts with a digest of themselves; an edited file is refused.

    Its subclasses say in `title` what they are and in `command` what writes them.
    """

    title: ClassVar[str]
    command: ClassVar[str]
    largest_bytes: ClassVar[int] = 64 * 1024

    digest: str = ""
    """SHA-256 over all other fields."""

    def sealed(self) -> Self:
        """The same facts with their digest set."""
        return self.model_copy(update={"digest": self.computed_digest()})

    def computed_digest(self) -> str:
        fields = self.model_dump(mode="json", exclude={"digest"})
        return digest_json(fields)


_S = TypeVar("_S", bound=Sealed)


def read_sealed(path: Path, kind: type[_S]) -> _S:
    """The facts in a YAML or JSON file.

    Raises:
        ConfigError: the file cannot be read, holds something else, or was edited.
    """
    content = _content(path, kind)
    if not isinstance(content, dict):
        raise _refused_error(f"not a {kind.title}; write one with '{kind.command}'", path)
    try:
        found = kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        words = describe_wrong_value(first)
        raise _refused_error(f"not a valid {kind.title}: {words}", path, field) from error
    if found.digest != found.computed_digest():
        raise _refused_error(
            "this file was changed after it was written, so its numbers prove nothing; run "
            f"'{kind.command}' again",
            path,
            "digest",
        )
    return found


def write_sealed(path: Path, facts: Sealed) -> None:
    """Writes facts and their digest: JSON where the name ends so, else YAML.

    Raises:
        ConfigError: the file cannot be written.
    """
    fields = facts.sealed().model_dump(mode="json")
    if path.suffix == ".json":
        text = json.dumps(fields, indent=2, allow_nan=False) + "\n"
    else:
        header = (
            f"# Written by '{facts.command}'; an edited file is refused. Run it again instead.\n"
        )
        text = header + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105 (a reader sees the old file or the new one)
    except OSError as error:
        raise _refused_error(
            f"the {facts.title} cannot be written ({error.strerror}); choose another path", path
        ) from error


def _content(path: Path, kind: type[Sealed]) -> Any:
    data = read_file(
        path,
        kind.title,
        max_bytes=kind.largest_bytes,
        remedy=f"check the path, or write it with '{kind.command}'",
    )
    try:
        # YAML would read a number such as 1e-05 as text.
        return parse_strict(data) if path.suffix == ".json" else yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused_error(f"not valid YAML or JSON; run '{kind.command}' again", path) from error


def _refused_error(problem: str, path: Path, field: str | None = None) -> ConfigError:
    return ConfigError(problem, file=str(path), field=field)
