"""A row of a bulk job: a picture and a question, and where its picture is read from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.bulk.buckets import is_bucket_url, read_from_bucket
from guardrail.errors import RequestError
from guardrail.files import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BulkRow", "fill_prompt", "read_image"]

_PLACEHOLDER = re.compile(r"\{([\w.-]+)\}")


@dataclass(frozen=True, slots=True)
class BulkRow:
    """One picture and the question about it.

    Attributes:
        name: what the source calls it.
        prompt: the question.
        image: the encoded picture, or where it is: a file, or a URL of a bucket.
        number: its line or number in a table, from 1; 0 where the source is a folder, whose files
            have no order.
        problem: why the row cannot be used; empty where it can.
    """

    name: str
    prompt: str
    image: bytes | str
    number: int = 0
    problem: str = ""

    @property
    def identity(self) -> str:
        """Tells it from the other rows of its source."""
        return f"{self.number}:{self.name}" if self.number else self.name


def read_image(row: BulkRow, max_bytes: int) -> bytes:
    """The encoded picture of a row; slow.

    Raises:
        RequestError: the row cannot be used, or its picture cannot be read or is too large.
        ConfigError: a package for its bucket is missing.
    """
    if row.problem:
        raise RequestError(row.problem)
    if isinstance(row.image, bytes):
        if len(row.image) > max_bytes:
            raise RequestError(f"the picture has more than {max_bytes} bytes; give a smaller one")
        return row.image
    if is_bucket_url(row.image):
        return read_from_bucket(row.image, max_bytes)
    return read_file(Path(row.image), "picture", max_bytes=max_bytes, error=RequestError)


def fill_prompt(template: str, own: str, cells: Mapping[str, Any]) -> str:
    """The question of a row.

    Args:
        template: names columns in braces, as in `Is {title} shown here?`; one that names none is
            the question of the rows that have no prompt of their own.
        own: the row's prompt; empty where it has none.
        cells: the row's columns.

    Raises:
        ValueError: the row lacks a column that the template names.
    """
    names = _PLACEHOLDER.findall(template)
    if not names:
        return own or template
    missing = [name for name in names if cells.get(name) in (None, "")]
    if missing:
        raise ValueError(f"it has no '{missing[0]}', which the prompt names")
    return _PLACEHOLDER.sub(lambda found: str(cells[found[1]]), template)
