"""`extends`: a policy file that changes another one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError
from guardrail.oracles.registry import builtin_kinds, find_options
from guardrail.policy.document import read_document
from guardrail.policy.fields import schema_tree
from guardrail.policy.schema import Policy, PolicyFile
from guardrail.policy.shipped import find_policy_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.policy.document import Document
    from guardrail.policy.fields import SchemaTree

__all__ = ["read_bases", "resolve_documents"]

_LONGEST_CHAIN = 8
"""Most files of one policy, its own included."""

_NOT_INHERITED = frozenset({"name", "recall"})
"""They speak of one policy alone: whoever changes it must name and measure it anew."""

_USUAL_KIND = "default"
"""Of an oracle that names none."""

_FOLDER_SPEC = "transformers:"

_CALIBRATED = frozenset({"threshold", "miss_rate_upper", "delta"})
"""What a calibration says of an oracle."""


def read_bases(own: Document) -> tuple[Document, ...]:
    """A policy's file, the one that it extends, and so on.

    Raises:
        ConfigError: a file cannot be read or is not valid, the files extend each other in a circle,
            or there are too many of them.
    """
    documents, seen = [own], [Path(own.file).resolve()]
    while (base := _find_base(documents[-1])) is not None:
        if base.resolve() in seen:
            raise _extends_error(
                documents[-1], f"'{base}' extends this file again; leave one of them out"
            )
        if len(documents) == _LONGEST_CHAIN:
            raise _extends_error(
                documents[-1],
                f"a policy has at most {_LONGEST_CHAIN} files; put some of them together",
            )
        documents.append(read_document(base, "policy"))
        seen.append(base.resolve())
    return tuple(documents)


def resolve_documents(documents: tuple[Document, ...]) -> dict[str, Any]:
    """What a policy's file says together with those that it extends, without `extends`."""
    own, *bases = documents
    folder = Path(own.file).parent
    tree = schema_tree(PolicyFile)
    content: dict[str, Any] = {}
    for base in reversed(bases):
        placed = _move_paths(tree.drop_idle(base.content), Path(base.file).parent, folder)
        content = _merge(content, {k: v for k, v in placed.items() if k not in _NOT_INHERITED})
    content = _merge(content, tree.drop_idle(own.content))
    content.pop("extends", None)
    return content


def _find_base(document: Document) -> Path | None:
    """The file that a file extends; also refuses what is not a mapping."""
    if not isinstance(document.content, dict):
        raise ConfigError(
            "a policy is a mapping of fields, such as 'name: default'", file=document.file
        )
    name = document.content.get("extends")
    if name is None:
        return None
    if not isinstance(name, str):
        raise _extends_error(document, "give the name of a shipped policy, or the path of a file")
    try:
        file = find_policy_file(name, Path(document.file).parent)
    except ConfigError as error:
        raise _extends_error(document, str(error)) from error
    if not file.is_file():
        raise _extends_error(document, f"there is no file '{file}'; check the path")
    return file


def _extends_error(document: Document, problem: str) -> ConfigError:
    line = document.find_line(["extends"])
    return ConfigError(problem, file=document.file, line=line, field="extends")


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `own` says: mappings field by field, all else replaced."""
    merged = dict(base)
    for name, value in own.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merge_section(old, value)
        merged[name] = value
    return merged


def _merge_section(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The same for a section, of which an oracle may be of another kind or newly calibrated."""
    kind = base.get("kind", _USUAL_KIND)
    if own.get("kind", kind) != kind:
        return own
    if own.get("calibration") is not None:
        base = {name: value for name, value in base.items() if name not in _CALIBRATED}
    return _merge(base, own)


def _move_paths(content: dict[str, Any], old: Path, new: Path) -> dict[str, Any]:
    """A policy's content with its relative paths starting at another folder."""
    if old.resolve() == new.resolve():
        return content
    moved: dict[str, Any] = _move(content, (), schema_tree(Policy), content, old, new)
    return moved


def _move(
    value: Any, place: tuple[str | int, ...], tree: SchemaTree, root: Any, old: Path, new: Path
) -> Any:
    """What stands at a place of a content, its paths moved as the schema of the place says."""
    if isinstance(value, dict):
        if tree.is_choice(place, root) and (own := _find_own_schema(value)) is not None:
            place, tree, root = (), own, value
        return {
            name: _move(inner, (*place, name), tree, root, old, new)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_move(inner, (*place, i), tree, root, old, new) for i, inner in enumerate(value)]
    entry = tree.find(place, root) if isinstance(value, str) else None
    formats = {} if entry is None else {form.get("format") for form in tree.alternatives(entry)}
    if "path" in formats:
        return _move_path(value, old, new)
    return _move_folder(value, old, new) if "folder-or-id" in formats else value


def _find_own_schema(section: dict[str, Any]) -> SchemaTree | None:
    """The fields of an oracle of somebody else's, which a policy's schema does not know."""
    kind = section.get("kind")
    if not isinstance(kind, str) or kind in builtin_kinds():
        return None
    try:
        return schema_tree(find_options(kind))
    except ConfigError:  # no oracle, or one that validation will refuse by name
        return None


def _move_path(text: str, old: Path, new: Path) -> str:
    return text if not text or Path(text).is_absolute() else os.path.relpath(old / text, new)


def _move_folder(text: str, old: Path, new: Path) -> str:
    """Moves a folder, also as an upstream `transformers:FOLDER`; an id stays as it is."""
    start = _FOLDER_SPEC if text.startswith(_FOLDER_SPEC) else ""
    folder = text.removeprefix(start)
    is_folder = bool(folder) and (old / folder).is_dir()
    return start + _move_path(folder, old, new) if is_folder else text
