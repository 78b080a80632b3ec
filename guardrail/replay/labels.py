"""Labels of records: what people say of requests that were decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError
from guardrail.replay.intervals import Label
from guardrail.tuning.formats import RowError, raw_rows

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_labels"]

_ID, _LABEL = "record_id", "label"


def read_labels(path: Path) -> dict[str, Label]:
    """The labels of a JSONL, JSON, CSV, TSV or Parquet file, by the id of the record.

    A row has `record_id` and `label`: harmful, harmless or unsure.

    Raises:
        ConfigError: the file cannot be read, a row is none of a label, or a record has two
            different ones.
    """
    labels: dict[str, Label] = {}
    for line, row in raw_rows(path, wanted=(_ID, _LABEL), encoding=None):
        if isinstance(row, RowError):
            raise ConfigError(str(row), file=str(path), line=line)
        name, label = str(row.get(_ID) or ""), _read(row.get(_LABEL))
        if not name or label is None:
            raise ConfigError(
                "this row needs record_id and label, which is harmful, harmless or unsure",
                file=str(path),
                line=line,
            )
        if labels.setdefault(name, label) is not label:
            raise ConfigError(
                "this record has another label further up; leave one out, or write unsure",
                file=str(path),
                line=line,
            )
    if not labels:
        raise ConfigError("it holds no label", file=str(path))
    return labels


def _read(value: Any) -> Label | None:
    if not isinstance(value, str):
        return None
    try:
        return Label(value.strip().lower())
    except ValueError:
        return None
