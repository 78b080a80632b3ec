"""Where the rows of a bulk job come from; they are read as they are used, never all at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardrail.bulk.buckets import is_bucket_url, list_bucket, open_bucket
from guardrail.bulk.rows import BulkRow, fill_prompt
from guardrail.bulk.tables import TABLE_SUFFIXES, count_rows, table_rows
from guardrail.errors import ConfigError
from guardrail.images.header import PICTURE_SUFFIXES
from guardrail.tuning.columns import Columns, is_missing, raise_missing_columns
from guardrail.tuning.formats import RowError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FIELDS", "BulkSource", "open_source"]

FIELDS = ("image", "prompt", "id")
"""Of a row of a table."""


@dataclass(frozen=True, slots=True)
class BulkSource:
    """The rows of a folder, a table or a bucket.

    Attributes:
        name: of the source.
        rows: begins to read them anew at each call.
        total: how many there are; None where counting would take as long as reading.
    """

    name: str
    rows: Callable[[], Iterator[BulkRow]]
    total: int | None


@contextmanager
def open_source(
    place: str,
    *,
    prompt: str,
    columns: Columns | None = None,
    encoding: str | None = None,
) -> Iterator[BulkSource]:
    """The rows of a source.

    Args:
        place: a folder of pictures; a table (CSV, TSV, JSON, JSONL, Parquet) with the column
            `image` (a path as seen from the table's folder, the URL of a picture in a bucket, or
            in Parquet the picture itself) and perhaps `prompt` and `id`; or the URL of a folder or
            a table in a bucket, as in s3://BUCKET/PREFIX.
        prompt: see `fill_prompt`; of a folder, `{name}` in it is the picture's name.
        columns: where the fields of a table stand; None for columns of their names.
        encoding: of a table of text that does not say it itself.

    Raises:
        ConfigError: there is nothing of the kind, or it cannot be read.
    """
    columns = columns or Columns.named_as(FIELDS)
    if is_bucket_url(place):
        with _open_bucket_source(place, prompt, columns, encoding) as source:
            yield source
        return
    path = Path(place)
    if path.is_dir():
        yield BulkSource(place, lambda: _folder_rows(path, prompt), _count_folder(path))
        return
    if not path.exists():
        raise ConfigError(
            "there is no such file or folder; give a folder of pictures, a table, or a URL such as "
            "s3://BUCKET/PREFIX",
            file=place,
        )
    yield _table_source(place, path, str(path.parent), prompt, columns, encoding)


@contextmanager
def _open_bucket_source(
    url: str, prompt: str, columns: Columns, encoding: str | None
) -> Iterator[BulkSource]:
    suffixes = "".join(Path(url).suffixes[-2:]).lower()
    suffix = suffixes.removesuffix(".gz") if suffixes.endswith(".gz") else Path(url).suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        yield BulkSource(url, lambda: _bucket_rows(url, prompt), None)
        return
    with tempfile.TemporaryDirectory(prefix="guardrail-bulk-") as folder:
        local = Path(folder) / Path(url).name
        system, path = open_bucket(url)
        try:
            system.get_file(path, str(local))
        except Exception as error:
            raise ConfigError(
                f"the table cannot be read ({type(error).__name__}); check name and rights",
                file=url,
            ) from error
        yield _table_source(url, local, url.rpartition("/")[0], prompt, columns, encoding)


def _table_source(
    name: str, path: Path, folder: str, prompt: str, columns: Columns, encoding: str | None
) -> BulkSource:
    return BulkSource(
        name,
        lambda: _table_rows(path, folder, prompt, columns, encoding),
        count_rows(path, columns.all_names, encoding),
    )


def _picture_names(folder: Path) -> Iterator[str]:
    """Names of the picture files in a folder and below it, as the system lists them.

    Sorting would hold all of them.
    """
    folders = [""]
    while folders:
        below = folders.pop()
        try:
            entries = os.scandir(folder / below)
        except OSError as error:
            raise ConfigError(
                f"this folder cannot be listed ({error.strerror}); check its permissions",
                file=str(folder / below),
            ) from error
        with entries:
            for entry in entries:
                name = f"{below}/{entry.name}" if below else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif Path(entry.name).suffix.lower() in PICTURE_SUFFIXES and entry.is_file():
                    yield name


def _count_folder(folder: Path) -> int:
    found = sum(1 for _ in _picture_names(folder))
    if not found:
        raise ConfigError(
            "there are no pictures here (PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, HEIC)",
            file=str(folder),
        )
    return found


def _folder_rows(folder: Path, prompt: str) -> Iterator[BulkRow]:
    for name in _picture_names(folder):
        yield _row(name, {"name": name}, str(folder / name), prompt, "")


def _bucket_rows(url: str, prompt: str) -> Iterator[BulkRow]:
    for name, picture in list_bucket(url):
        if Path(name).suffix.lower() in PICTURE_SUFFIXES:
            yield _row(name, {"name": name}, picture, prompt, "")


def _table_rows(
    path: Path, folder: str, prompt: str, columns: Columns, encoding: str | None
) -> Iterator[BulkRow]:
    seen: dict[str, None] = {}
    for number, raw in table_rows(path, columns.all_names, encoding):
        if isinstance(raw, RowError):
            yield BulkRow(f"line {number}", "", "", number, str(raw))
            continue
        if columns.names["image"] not in raw and columns.names["image"] not in seen:
            raise_missing_columns(path, ("image",), list(raw), columns)
        seen[columns.names["image"]] = None
        yield _table_row(number, raw, columns, folder, prompt)


def _table_row(
    number: int, raw: Mapping[str, Any], columns: Columns, folder: str, prompt: str
) -> BulkRow:
    cells = columns.pick(raw)
    name = f"line {number}" if is_missing(cells["id"]) else str(cells["id"])
    own = "" if is_missing(cells["prompt"]) else str(cells["prompt"])
    try:
        image = _read_image_cell(cells["image"], folder)
    except RowError as error:
        return BulkRow(name, "", "", number, str(error))
    return _row(name, {**raw, "name": name}, image, prompt, own, number)


def _row(
    name: str,
    cells: Mapping[str, Any],
    image: bytes | str,
    prompt: str,
    own: str,
    number: int = 0,
) -> BulkRow:
    try:
        return BulkRow(name, fill_prompt(prompt, own, cells), image, number)
    except ValueError as error:
        return BulkRow(name, "", image, number, str(error))


def _read_image_cell(cell: Any, folder: str) -> bytes | str:
    """A path, a URL, bytes, or what Hugging Face's data sets write: a mapping with one of them."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        return cell
    if is_missing(cell) or not isinstance(cell, str):
        raise RowError("there is no picture; 'image' is a path, a URL, or the picture's bytes")
    if is_bucket_url(cell):
        if cell.lower().startswith(("http:", "https:")):
            raise RowError("pictures are not fetched from the web; download them first")
        return cell
    return f"{folder}/{cell}" if is_bucket_url(folder) else str(Path(folder) / cell)
