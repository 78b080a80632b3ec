"""Reads policies; every mistake is named by file, line and field."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from guardrail.files import read_file
from guardrail.policy.document import LARGEST_BYTES, Source, parse_document
from guardrail.policy.extends import read_bases, resolve_documents
from guardrail.policy.mistakes import find_mistakes, raise_mistakes
from guardrail.policy.schema import Policy, PolicyFile
from guardrail.policy.shipped import find_policy_file

__all__ = ["load_policy", "parse_policy", "validate_content"]

_M = TypeVar("_M", bound=BaseModel)


def load_policy(name: str | os.PathLike[str]) -> Policy:
    """The policy of a YAML or JSON file, or a shipped one by its name.

    Raises:
        ConfigError: a file cannot be read, or something in it is wrong; all mistakes are named.
    """
    file = find_policy_file(os.fspath(name), Path())
    return parse_policy(read_file(file, "policy", max_bytes=LARGEST_BYTES), file=str(file))


def parse_policy(data: bytes, *, file: str) -> Policy:
    """The policy in a text.

    Args:
        data: the text.
        file: where it stands, or would: JSON if that ends in .json, else YAML. Relative paths start
            at its folder.

    Raises:
        ConfigError: as `load_policy`.
    """
    documents = read_bases(parse_document(data, file=file))
    source = Source(Path(file).parent, documents)
    content = resolve_documents(documents)
    policy = validate_content(
        Policy, content, source, written=PolicyFile, schema="'guardrail policy schema'"
    )
    return policy.with_source(source)


def validate_content(
    model: type[_M],
    content: Any,
    source: Source,
    *,
    schema: str,
    written: type[BaseModel] | None = None,
) -> _M:
    """What files hold, as a model.

    Args:
        model: what it must be.
        content: what the files hold.
        source: the files.
        schema: where the known fields are explained.
        written: what people write, where that has more fields; other names are suggested of it.

    Raises:
        ConfigError: names all mistakes, in the order of the file.
    """
    mistakes = [error for document in source.documents for error in document.duplicates]
    found = None
    try:
        found = model.model_validate(content)
    except ValidationError as error:
        mistakes += find_mistakes(error, written or model, content, source, schema)
    files = [document.file for document in source.documents]
    raise_mistakes(
        sorted(mistakes, key=lambda error: (files.index(error.file or files[0]), error.line or 0))
    )
    assert found is not None  # else there was a mistake
    return found
