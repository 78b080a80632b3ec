"""Tables as sources of a bulk job, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.distribution import install_command
from guardrail.errors import ConfigError
from guardrail.tuning.formats import RowError, raw_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

__all__ = ["TABLE_SUFFIXES", "count_rows", "import_pyarrow", "table_rows"]

TABLE_SUFFIXES = frozenset({".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".tsv"})
_ROWS_AT_A_TIME = 16  # pictures may stand in them


def table_rows(
    path: Path, wanted: Collection[str], encoding: str | None
) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Every row with its line (in JSON and Parquet its number), from 1; bad ones as `RowError`.

    A Parquet file may hold pictures and be of any size; see `raw_rows` for the others.

    Raises:
        ConfigError: the file cannot be read, is too large, or is of no known kind.
    """
    if path.suffix.lower() != ".parquet":
        yield from raw_rows(path, wanted=wanted, encoding=encoding)
        return
    pyarrow = import_pyarrow(path)
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        raise ConfigError("not a valid Parquet file", file=str(path)) from error


def count_rows(path: Path, wanted: Collection[str], encoding: str | None) -> int:
    """How many rows there are. Raises ConfigError."""
    if path.suffix.lower() == ".parquet":
        pyarrow = import_pyarrow(path)
        try:
            return int(pyarrow.parquet.read_metadata(path).num_rows)
        except (pyarrow.ArrowException, OSError) as error:
            raise ConfigError("not a valid Parquet file", file=str(path)) from error
    return sum(1 for _ in raw_rows(path, wanted=wanted, encoding=encoding))


def import_pyarrow(path: Path) -> Any:
    """Raises ConfigError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"Parquet needs the package pyarrow; {install_command('parquet')}, or use JSON lines",
            file=str(path),
        ) from error
    return pyarrow
