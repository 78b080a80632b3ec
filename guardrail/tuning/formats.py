"""Tables of labelled answers as files: JSON lines, CSV or Parquet, one mapping a row."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from guardrail.distribution import install_command
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["RowError", "raw_rows"]

_LARGEST_FILE_BYTES = 1024**3
_LARGEST_ROW_BYTES = 8 * 1024 * 1024


class RowError(ValueError):
    """What is wrong with a row, in words that quote nothing of it."""


def raw_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Every row with its line (in Parquet files its number), from 1; what is no row as `RowError`.

    Raises:
        ConfigError: the file cannot be read, is too large, or is of no known kind.
    """
    readers = {".jsonl": _json_lines, ".ndjson": _json_lines, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise _refused(f"this kind of file is not known; give {', '.join(readers)}", path)
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise _refused(f"a file has at most {_LARGEST_FILE_BYTES} bytes; draw a sample", path)
        yield from reader(path)
    except OSError as error:
        raise _refused(
            f"the file cannot be read ({error.strerror or type(error).__name__}); check the path",
            path,
        ) from error


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(_LARGEST_ROW_BYTES + 1):
            number += 1
            if len(line) > _LARGEST_ROW_BYTES:
                raise ConfigError(
                    f"a line has at most {_LARGEST_ROW_BYTES} bytes", file=str(path), line=number
                )
            if line.strip():
                yield number, _json_row(line)


def _json_row(line: bytes) -> dict[str, Any] | RowError:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return RowError("this is no JSON")
    return row if isinstance(row, dict) else RowError("this is no JSON object")


def _csv(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    limit = csv.field_size_limit(_LARGEST_ROW_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restkey="", strict=True)
            ends = reader.line_num
            for row in reader:
                yield ends + 1 if ends else 2, _csv_row(row)
                ends = reader.line_num
    except (csv.Error, UnicodeDecodeError) as error:
        raise _refused("this is no CSV in UTF-8 with commas and double quotes", path) from error
    finally:
        csv.field_size_limit(limit)


def _csv_row(row: dict[str | Any, Any]) -> dict[str, Any] | RowError:
    """Empty cells are fields that are not given."""
    if "" in row:
        return RowError("this row has more cells than the first line has names")
    return {name: value for name, value in row.items() if value not in (None, "")}


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise _refused(
            f"Parquet needs the package pyarrow; {install_command('parquet')}, or give JSON lines",
            path,
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: value for name, value in row.items() if value is not None}
    except pyarrow.ArrowException as error:
        raise _refused("this is no sound Parquet file", path) from error


def _refused(problem: str, path: Path) -> ConfigError:
    return ConfigError(problem, file=str(path))
