"""Tables of labelled answers as files: JSON lines, CSV or Parquet, one mapping a row."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

from guardrail.distribution import install_command
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from guardrail.types import Json

__all__ = ["RowError", "raw_rows", "write_rows"]

_LARGEST_FILE_BYTES = 1024**3
_LARGEST_ROW_BYTES = 8 * 1024 * 1024
# A spreadsheet runs a cell that begins so as a formula; answers are written by strangers.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


class RowError(ValueError):
    """What is wrong with a row, in words that quote nothing of it."""


def raw_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Every row with its line (in Parquet files its number), from 1; a bad row as `RowError`.

    Raises:
        ConfigError: the file cannot be read, is too large, or is of no known kind.
    """
    reader = _of_kind(path, _READERS)
    try:
        if path.stat().st_size > _LARGEST_FILE_BYTES:
            raise _refused_error(
                f"a file has at most {_LARGEST_FILE_BYTES} bytes; draw a sample", path
            )
        yield from reader(path)
    except OSError as error:
        raise _refused_error(
            f"the file cannot be read ({error.strerror or type(error).__name__}); check the path",
            path,
        ) from error


def write_rows(path: Path, rows: Sequence[Mapping[str, Json]]) -> None:
    """Writes rows of the same fields; the suffix names the kind of file.

    Readable by its owner alone: rows hold what was asked and answered. CSV cells that a
    spreadsheet would run get a quote before them, which `raw_rows` takes off again.

    Raises:
        ConfigError: the file is there already, is of no known kind, or cannot be written.
    """
    data = _of_kind(path, _WRITERS)(path, rows)
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(data)
    except FileExistsError as error:
        raise _refused_error(
            "this file is there already and may hold labels; name another", path
        ) from error
    except OSError as error:
        raise _refused_error(
            f"this file cannot be written ({error.strerror}); choose another path", path
        ) from error


_F = TypeVar("_F")


def _of_kind(path: Path, ways: Mapping[str, _F]) -> _F:
    way = ways.get(path.suffix.lower())
    if way is None:
        raise _refused_error(f"this kind of file is not known; give {', '.join(ways)}", path)
    return way


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
        return RowError("not valid JSON")
    return row if isinstance(row, dict) else RowError("not a JSON object")


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
        raise _refused_error("not CSV in UTF-8 with commas and double quotes", path) from error
    finally:
        csv.field_size_limit(limit)


def _csv_row(row: dict[str | Any, Any]) -> dict[str, Any] | RowError:
    """Empty cells are fields that are not given."""
    if "" in row:
        return RowError("this row has more cells than the first line has names")
    return {name: _unquote(value) for name, value in row.items() if value not in (None, "")}


def _unquote(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _quote(cell: Json) -> Json:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _parquet(path: Path) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    pyarrow = _pyarrow(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: value for name, value in row.items() if value is not None}
    except pyarrow.ArrowException as error:
        raise _refused_error("not a valid Parquet file", path) from error


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise _refused_error(
            f"Parquet needs the package pyarrow; {install_command('parquet')}, or give JSON lines",
            path,
        ) from error
    return pyarrow


def _json_lines_of(path: Path, rows: Sequence[Mapping[str, Json]]) -> bytes:
    del path
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _csv_of(path: Path, rows: Sequence[Mapping[str, Json]]) -> bytes:
    del path
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(rows[0] if rows else ())
    writer.writerows([_quote(cell) for cell in row.values()] for row in rows)
    # The mark at the beginning tells spreadsheets that this is UTF-8.
    return stream.getvalue().encode("utf-8-sig", errors="replace")


def _parquet_of(path: Path, rows: Sequence[Mapping[str, Json]]) -> bytes:
    pyarrow = _pyarrow(path)
    table = pyarrow.Table.from_pylist([{k: _encodable(v) for k, v in row.items()} for row in rows])
    for place, column in enumerate(table.schema):
        if pyarrow.types.is_null(column.type):  # labels that are still to be given
            empty = table.column(place).cast(pyarrow.bool_())
            table = table.set_column(place, column.name, empty)
    stream = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, stream)
    return bytes(stream.getvalue())


def _encodable(value: Json) -> Json:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


_READERS: dict[str, Callable[[Path], Iterator[tuple[int, dict[str, Any] | RowError]]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _csv,
    ".parquet": _parquet,
}
_WRITERS: dict[str, Callable[[Path, Sequence[Mapping[str, Json]]], bytes]] = {
    ".jsonl": _json_lines_of,
    ".ndjson": _json_lines_of,
    ".csv": _csv_of,
    ".parquet": _parquet_of,
}


def _refused_error(problem: str, path: Path) -> ConfigError:
    return ConfigError(problem, file=str(path))
