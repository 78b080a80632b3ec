"""Tables in text files: JSON lines, JSON, and cells between delimiters; packed by gzip or not.

Programs write the same table in many ways. What a file says of itself counts, never a guess that
could change a text: a mark at the beginning or null bytes tell UTF-16, and the first line tells the
delimiter, which is the one by which the names that are looked for come out. (`csv.Sniffer` looks at
the texts of the answers too, and charset detectors guess between encodings that all fit.)
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.canonical import DuplicateKeyError, refuse_duplicate_keys
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from guardrail.types import Json

__all__ = [
    "FORMULA",
    "LARGEST_TABLE",
    "RowError",
    "read_delimited",
    "read_json",
    "read_json_lines",
]

# A spreadsheet runs a cell that begins so as a formula; answers are written by strangers.
FORMULA = re.compile(r"'*[=+\-@\t\r]")

LARGEST_TABLE = 1024**3
"""Of a file in bytes, and of what it unpacks to in characters."""
_LARGEST_ROW = 8 * 1024 * 1024
_LARGEST_JSON = 128 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t", "|")
_NAMED_DELIMITER = re.compile(r"\"?sep=([^\w\s\"']|\t)\"?\s*", re.IGNORECASE)
_CONTAINERS = ("data", "rows", "records")


class RowError(ValueError):
    """What is wrong with a row, in words that quote nothing of it."""


Rows: TypeAlias = "Iterator[tuple[int, dict[str, Any] | RowError]]"


def read_json_lines(path: Path, wanted: Collection[str], encoding: str | None) -> Rows:
    """Every row of JSON lines with its line, from 1."""
    del wanted
    with _open(path, encoding, newline="\n") as lines:
        for line in lines:
            if line.strip():
                yield lines.number, _json_row(line)
            lines.begin_row()


def read_json(path: Path, wanted: Collection[str], encoding: str | None) -> Rows:
    """Every row of a JSON file with its number, from 1: a list, what pandas writes, or lines."""
    with _open(path, encoding, newline="\n", is_one_value=True) as lines:
        texts = list(lines)
    try:
        value = json.loads("".join(texts), object_pairs_hook=refuse_duplicate_keys)
    except DuplicateKeyError as error:
        raise ConfigError("a key stands twice in one object; keep one", file=str(path)) from error
    except (ValueError, RecursionError) as error:
        each = [(i, _json_row(line)) for i, line in enumerate(texts, 1) if line.strip()]
        if not any(isinstance(row, dict) for _, row in each):
            what = getattr(error, "msg", "it is nested too deeply")
            line = getattr(error, "lineno", None)
            raise ConfigError(
                f"this is not valid JSON: {what}", file=str(path), line=line
            ) from error
        yield from each
        return
    rows = _find_rows(value, frozenset(wanted))
    if rows is None:
        raise ConfigError(
            "this JSON is no table; give a list of objects, one a row, or JSON lines",
            file=str(path),
        )
    for number, row in enumerate(rows, 1):
        yield number, row if isinstance(row, dict) else RowError("not a JSON object")


def read_delimited(path: Path, wanted: Collection[str], encoding: str | None) -> Rows:
    """Every row of a CSV or TSV file with the line at which it begins; empty cells are None.

    Before the first line with names may stand `sep=`, blank lines and comments that begin with #.
    Columns without a name, such as an index that pandas writes, and rows of blanks are left out.

    Raises:
        ConfigError: it is not a table of cells.
    """
    with _open(path, encoding, newline="") as lines, _field_limit():
        delimiter = ""
        try:
            first, delimiter = _find_header(lines, wanted)
            skipped = lines.number - 1
            reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check_names(names, wanted, path)
            ends = reader.line_num
            for cells in reader:
                begins, ends = ends + 1, reader.line_num
                if any(map(str.strip, cells)):
                    yield skipped + begins, _cells_row(names, cells)
                lines.begin_row()
        except csv.Error as error:
            raise ConfigError(
                f"the cells cannot be told apart by {_name(delimiter)} ({error}); a cell with a "
                'delimiter, a line break or a " in it stands in double quotes, with "" for " in it',
                file=str(path),
                line=lines.number,
            ) from error


class _Lines:
    """The lines of a text, as many as a table may have, and no row too long.

    Attributes:
        number: of the line that was given last, from 1.
    """

    def __init__(self, stream: io.TextIOWrapper, path: Path, *, is_one_value: bool) -> None:
        self._stream, self._path = stream, path
        self._longest, self._what = _LARGEST_ROW, "a row"
        if is_one_value:
            self._longest, self._what = _LARGEST_JSON, "a table as one JSON value (not JSON lines)"
        self._left, self._row = LARGEST_TABLE, 0
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(self._longest + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self._left -= len(line)
        self._row += len(line)
        if self._row > self._longest:
            raise self._error(f"{self._what} has at most {self._longest:,} characters")
        if self._left < 0:
            raise self._error(f"a table has at most {LARGEST_TABLE:,} characters; draw a sample")
        if not (line.isascii() or _is_text(line)):
            raise self._error(_not_text(self._stream.encoding))
        return line

    def begin_row(self) -> None:
        """From here on a new row is counted."""
        self._row = 0

    def _error(self, problem: str) -> ConfigError:
        return ConfigError(problem, file=str(self._path), line=self.number)


@contextmanager
def _open(
    path: Path, encoding: str | None, *, newline: str, is_one_value: bool = False
) -> Iterator[_Lines]:
    """The lines of a text file, unpacked and decoded as they are read."""
    try:
        with path.open("rb") as packed:
            stream: gzip.GzipFile | io.BufferedReader = packed
            if packed.peek(2)[:2] == _GZIP:
                stream = gzip.GzipFile(fileobj=packed)
            head = stream.peek(4)[:4]
            if head == _ZIP:
                raise ConfigError(
                    "this is a workbook or another zip archive; save the table as CSV (UTF-8)",
                    file=str(path),
                )
            name = _find_encoding(head, encoding)
            # What cannot be decoded is kept to be told with its line.
            with _decode(stream, name, newline) as text:
                yield _Lines(text, path, is_one_value=is_one_value)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ConfigError(
            "this is no whole gzip file; make it again, or unpack it", file=str(path)
        ) from error
    except UnicodeError as error:
        raise ConfigError(_not_text(name), file=str(path)) from error


def _decode(stream: gzip.GzipFile | io.BufferedReader, name: str, newline: str) -> io.TextIOWrapper:
    try:
        return io.TextIOWrapper(stream, name, "surrogateescape", newline)
    except LookupError as error:
        raise ConfigError(
            f"there is no encoding '{name}'; known are utf-8, utf-16, cp1252, latin-1 and others "
            "of Python's"
        ) from error


def _find_encoding(head: bytes, encoding: str | None) -> str:
    """A mark wins; without one a letter with a null byte beside it is UTF-16."""
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked is not None or encoding is not None:
        return marked or str(encoding)
    if len(head) > 1 and head[:2].count(0) == 1:
        return "utf-16-le" if head[0] else "utf-16-be"
    return "utf-8"


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_text(encoding: str) -> str:
    return (
        f"this is not {encoding.removesuffix('-sig').upper()} text; save the file as UTF-8, or "
        "name what it is, as in --encoding cp1252 (Excel's in Western Europe)"
    )


def _json_row(line: str) -> dict[str, Any] | RowError:
    try:
        row = json.loads(line, object_pairs_hook=refuse_duplicate_keys)
    except DuplicateKeyError:
        return RowError("a key stands twice in it")
    except (ValueError, RecursionError):
        return RowError("not valid JSON")
    if isinstance(row, list):
        return RowError("not a JSON object; a file that is one list is named .json")
    return row if isinstance(row, dict) else RowError("not a JSON object")


def _find_rows(value: Json, wanted: frozenset[str]) -> list[Any] | None:
    """The rows of a list or of one of the forms that pandas writes; None where it is neither."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        return None
    names, rows = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(rows, list):  # orient="split"
        fits = [isinstance(row, list) and len(row) == len(names) for row in rows]
        pairs = zip(rows, fits, strict=True)
        return [dict(zip(map(str, names), row, strict=True)) if ok else None for row, ok in pairs]
    cells = list(value.values())
    if wanted & value.keys():
        return _from_columns(value)
    if all(isinstance(one, dict) for one in cells):  # orient="index"
        return cells
    return next((value[key] for key in _CONTAINERS if isinstance(value.get(key), list)), None)


def _from_columns(value: dict[str, Json]) -> list[Any] | None:
    """Rows from columns, each a list or, as pandas writes them, a mapping from the index."""
    columns = list(value.values())
    if all(isinstance(column, list) for column in columns):
        columns = [dict(enumerate(column)) for column in columns]
    elif not all(isinstance(column, dict) for column in columns):
        return [value]  # a file of one row
    if any(column.keys() != columns[0].keys() for column in columns):
        return None
    return [
        {name: column[key] for name, column in zip(value, columns, strict=True)}
        for key in columns[0]
    ]


def _find_header(lines: _Lines, wanted: Collection[str]) -> tuple[str, str]:
    """The line with the names of the columns, and its delimiter; empty where there is none."""
    named = None
    for line in lines:
        if found := _NAMED_DELIMITER.fullmatch(line):
            named = found[1]
            continue
        counts = {one: _count_names(line, one, wanted) for one in _DELIMITERS}
        best = max(_DELIMITERS, key=counts.__getitem__)
        is_comment = line.lstrip().startswith("#") and not counts[best][0]
        if line.strip() and not is_comment:
            return line, named or best
        lines.begin_row()
    return "", ","


def _count_names(line: str, delimiter: str, wanted: Collection[str]) -> tuple[int, int]:
    """How many names that are wanted a delimiter brings out of a line, and how many in all."""
    names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    return len(set(names) & set(wanted)), len(names)


def _check_names(names: list[str], wanted: Collection[str], path: Path) -> None:
    for name in wanted:
        if names.count(name) > 1:
            raise ConfigError(f"two columns are named '{name}'; rename one", file=str(path))


def _cells_row(names: list[str], cells: list[str]) -> dict[str, Any] | RowError:
    if any(map(str.strip, cells[len(names) :])):
        return RowError(
            "this row has more cells than the first line has names; name every column, and put a "
            "cell with the delimiter in it in double quotes"
        )
    filled = cells + [""] * (len(names) - len(cells))
    return {
        name: _unquote(cell) if cell else None
        for name, cell in zip(names, filled, strict=False)
        if name
    }


def _unquote(cell: str) -> str:
    """A cell without the quote that was put before a formula."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


def _name(delimiter: str) -> str:
    return {"\t": "tabs"}.get(delimiter, f"'{delimiter}'")


@contextmanager
def _field_limit() -> Iterator[None]:
    before = csv.field_size_limit(_LARGEST_ROW)
    try:
        yield
    finally:
        csv.field_size_limit(before)
