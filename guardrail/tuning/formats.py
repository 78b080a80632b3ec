"""Tables of labelled answers as files: JSON, CSV, TSV or Parquet, one mapping a row."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, TypeVar

from guardrail.distribution import install_command
from guardrail.errors import ConfigError
from guardrail.tuning.text_tables import (
    FORMULA,
    LARGEST_TABLE,
    RowError,
    read_delimited,
    read_json,
    read_json_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from guardrail.types import Json

__all__ = ["RowError", "raw_rows", "write_rows"]

_PACKED = ".gz"


def raw_rows(
    path: Path, *, wanted: Collection[str] = (), encoding: str | None = None
) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Every row with its line (in JSON and Parquet files its number), from 1; bad as `RowError`.

    Args:
        path: its suffix names the kind of file; `.gz` behind that does not matter.
        wanted: names of columns that are looked for: they tell how the file is written.
        encoding: of a text file that does not say it itself; None for UTF-8.

    Raises:
        ConfigError: the file cannot be read, is too large, or is of no known kind.
    """
    inner = path.with_suffix("") if path.suffix.lower() == _PACKED else path
    reader = _of_kind(inner, _READERS, path)
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise _refused_error(f"a file has at most {LARGEST_TABLE} bytes; draw a sample", path)
        yield from reader(path, wanted, encoding)
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
    data = _of_kind(path, _WRITERS, path)(path, rows)
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


def _of_kind(inner: Path, ways: Mapping[str, _F], path: Path) -> _F:
    way = ways.get(inner.suffix.lower())
    if way is None:
        raise _refused_error(f"this kind of file is not known; give {', '.join(ways)}", path)
    return way


def _quote(cell: Json) -> Json:
    cell = _in_cell(cell)
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) else cell


def _parquet(
    path: Path, wanted: Collection[str], encoding: str | None
) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    del wanted, encoding
    pyarrow = _pyarrow(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            left, number = LARGEST_TABLE, 0
            for batch in file.iter_batches(batch_size=64):
                left -= batch.nbytes
                if left < 0:
                    raise _refused_error(
                        f"a table has at most {LARGEST_TABLE} bytes; draw a sample", path
                    )
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
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


def _json_of(path: Path, rows: Sequence[Mapping[str, Json]]) -> bytes:
    del path
    return f"{json.dumps(list(rows), indent=1)}\n".encode()


def _cells_of(path: Path, rows: Sequence[Mapping[str, Json]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
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


def _in_cell(value: Json) -> Json:
    """A value as a cell of one type in all rows: an object is its JSON text."""
    return json.dumps(value) if isinstance(value, dict) else value


def _encodable(value: Json) -> Json:
    value = _in_cell(value)
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


_READERS: dict[
    str,
    Callable[[Path, Collection[str], str | None], Iterator[tuple[int, dict[str, Any] | RowError]]],
] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".parquet": _parquet,
}
_WRITERS: dict[str, Callable[[Path, Sequence[Mapping[str, Json]]], bytes]] = {
    ".jsonl": _json_lines_of,
    ".ndjson": _json_lines_of,
    ".json": _json_of,
    ".csv": _cells_of,
    ".tsv": _cells_of,
    ".parquet": _parquet_of,
}


def _refused_error(problem: str, path: Path) -> ConfigError:
    return ConfigError(problem, file=str(path))
