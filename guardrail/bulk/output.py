"""The decisions of a job as files for others: JSON lines and Parquet."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from guardrail.bulk.tables import import_pyarrow
from guardrail.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from guardrail.bulk.outcome import RowOutcome

__all__ = ["FORMATS", "check_formats", "write_decisions"]

FORMATS = ("jsonl", "parquet")
_ROWS_AT_A_TIME = 1000
_TEXTS = (
    "name", "decision", "reason", "stopped_by", "problem", "key", "picture_sha256", "same_as",
    "decided_at", "answer", "certificate", "known_picture", "known_lists",
)  # fmt: skip


def check_formats(formats: Iterable[str], folder: Path) -> None:
    """Raises ConfigError where a package for one of them is missing."""
    if "parquet" in formats:
        import_pyarrow(folder / "decisions.parquet")


def write_decisions(
    folder: Path, formats: Iterable[str], outcomes: Iterable[RowOutcome]
) -> list[Path]:
    """Writes `decisions.jsonl` and `decisions.parquet`, each whole or not at all.

    A bounded number of rows is held. In Parquet the certificate is JSON text.

    Returns:
        The files.

    Raises:
        StorageError: one cannot be written.
    """
    files = [folder / f"decisions.{name}" for name in FORMATS if name in set(formats)]
    try:
        with ExitStack() as stack:
            writers = [stack.enter_context(_WRITERS[file.suffix](file)) for file in files]
            for outcome in outcomes:
                fields = {**outcome.to_dict(), "radius": outcome.radius}
                del fields["identity"]
                for write in writers:
                    write(fields)
    except OSError as error:
        raise StorageError(
            f"{folder}: the decisions cannot be written ({error.strerror}); make room, and the "
            "same command writes them"
        ) from error
    return files


@contextmanager
def _write_lines(file: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    part = file.with_name(f"{file.name}.part")
    with part.open("w", encoding="ascii") as stream:
        yield lambda fields: print(json.dumps(fields, allow_nan=False), file=stream)
    part.replace(file)


@contextmanager
def _write_parquet(file: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    pyarrow = import_pyarrow(file)
    schema = _schema(pyarrow)
    part = file.with_name(f"{file.name}.part")
    rows: list[dict[str, Any]] = []
    with pyarrow.parquet.ParquetWriter(part, schema, compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(fields: dict[str, Any]) -> None:
            certificate = fields["certificate"]
            text = None if certificate is None else json.dumps(certificate, allow_nan=False)
            rows.append({**fields, "certificate": text})
            if len(rows) >= _ROWS_AT_A_TIME:
                flush()

        yield write
        flush()
    part.replace(file)


def _schema(pyarrow: Any) -> Any:
    kinds = {name: pyarrow.string() for name in _TEXTS}
    kinds |= {
        "row": pyarrow.int64(),
        "calls": pyarrow.int64(),
        "cost_usd": pyarrow.float64(),
        "radius": pyarrow.float64(),
        "outside_claim": pyarrow.bool_(),
        "harmful": pyarrow.list_(pyarrow.string()),
    }
    order = ("name", "row", "decision", "reason", "stopped_by", "problem", "radius", "harmful",
             "outside_claim", "calls", "cost_usd", "decided_at", "same_as", "picture_sha256", "key",
             "known_picture", "known_lists", "answer", "certificate")  # fmt: skip
    return pyarrow.schema([(name, kinds[name]) for name in order])


_WRITERS = {".jsonl": _write_lines, ".parquet": _write_parquet}
