"""Where labelled rows come from: tables, folders, datasets saved to disk, other tools' files.

A form gives raw rows with their place; which column is which field is looked up in each row. A
column of a field's own name wins; the other names are those of two documented forms:
guard-eval-harness (`image_path`, `unsafe`, `label: {"unsafe": …}`, `messages`) and Hugging Face's
folders of pictures (`file_name`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.distribution import install_command
from guardrail.errors import ConfigError, RequestError
from guardrail.evaluation.benchmark.conversations import picture_place
from guardrail.evaluation.requests import picture_files, read_cell
from guardrail.images.data_url import is_link, parse_data_url
from guardrail.tuning.columns import is_missing
from guardrail.tuning.formats import raw_rows
from guardrail.tuning.text_tables import RowError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from guardrail.evaluation.requests import PictureSource
    from guardrail.images.limits import ImageLimits
    from guardrail.tuning.columns import Columns

__all__ = [
    "FIELDS",
    "DataForm",
    "open_data",
    "pick_fields",
    "read_image",
    "read_images",
    "read_prompt",
]

FIELDS = (
    "image", "images", "prompt", "parameters", "group", "id", "harmful", "set", "category",
    "language", "expected",
)  # fmt: skip
"""Of a row of labelled requests."""

_OTHER_NAMES = {
    "image": ("image_path", "file_name", "path"),
    "harmful": ("unsafe", "label"),
    "prompt": ("messages", "text", "instruction", "caption"),
}
"""Where a column of the field's own name is missing; see the module's docstring."""
_TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_PACKED = ".gz"
_USUAL_TABLES = ("labels", "metadata")
_LABEL_FOLDERS = {"harmless": False, "clean": False, "safe": False, "harmful": True, "unsafe": True}
_ONE_DATASET, _SEVERAL_SPLITS = "state.json", "dataset_dict.json"

_RawRow: TypeAlias = "tuple[int, dict[str, Any] | RowError]"


@dataclass(frozen=True, slots=True)
class DataForm:
    """Raw rows and where they are.

    Attributes:
        source: the file or folder that messages name.
        folder: what paths of pictures are relative to.
        rows: each with its line, or its number where there are no lines, from 1.
    """

    source: Path
    folder: Path
    rows: Iterable[_RawRow]


def open_data(
    path: Path, *, split: str | None = None, encoding: str | None = None, columns: Columns
) -> DataForm:
    """The rows of a table, a folder or a saved dataset. Raises ConfigError."""
    if path.is_file():
        return _open_table(path, encoding, columns)
    if not path.is_dir():
        raise ConfigError("there is no such file or folder; check the path", file=str(path))
    if (path / _ONE_DATASET).is_file() or (path / _SEVERAL_SPLITS).is_file():
        return DataForm(path, path, _saved_rows(path, split))
    table = _find_table(path, split)
    if table is not None:
        return _open_table(table, encoding, columns)
    folders = [folder for name in _LABEL_FOLDERS if (folder := path / name).is_dir()]
    if folders:
        return DataForm(path, path, _folder_rows(path, folders))
    raise ConfigError(
        "there is nothing labelled here; give a table (JSON lines, JSON, CSV, TSV, Parquet), a "
        "folder with one beside its pictures, folders 'clean' and 'harmful', or a dataset that "
        "was saved to disk",
        file=str(path),
    )


def pick_fields(raw: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """The fields of a row, by the names that were given, their own, or other forms'."""
    row = columns.pick(raw)
    for field, names in _OTHER_NAMES.items():
        if columns.names[field] == field and field not in raw:
            row[field] = next((raw[name] for name in names if name in raw), None)
    return row


def read_prompt(value: Any) -> tuple[str, list[Any]]:
    """The question of a row, and the pictures that stand within its one message.

    Raises:
        RowError: it is neither text nor a message of text and pictures.
    """
    if isinstance(value, str):
        return value, []
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise RowError("'prompt' is neither text nor a list of messages")
    content = value[0].get("content")
    if isinstance(content, str):
        return content, []
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise RowError("'messages' holds a message without text or parts")
    texts = [part["text"] for part in content if isinstance(part.get("text"), str)]
    return "\n".join(texts), [_picture_of(part) for part in content if part.get("type") != "text"]


def _picture_of(part: Mapping[str, Any]) -> Any:
    place = picture_place(part)
    if not isinstance(place, str):
        raise RowError("a part of 'messages' is neither text nor a picture")
    return place


def read_images(
    row: Mapping[str, Any], more: Iterable[Any], folder: Path, limits: ImageLimits
) -> tuple[PictureSource, ...]:
    """The pictures of a row: paths below the folder, or what stands in the table itself.

    Args:
        row: its fields.
        more: those of its messages.
        folder: what paths are relative to.
        limits: of pictures.

    Raises:
        RowError: one of them is something else.
    """
    cells = read_cell(row.get("images"), "[")
    if is_missing(cells):
        cells = [] if _is_empty(row.get("image")) else [row["image"]]
    if not isinstance(cells, list):
        raise RowError("'images' is not a list (in a cell of text: one as JSON)")
    return tuple(read_image(cell, folder, limits) for cell in (*cells, *more))


def _is_empty(cell: Any) -> bool:
    return not isinstance(cell, bytes | dict) and is_missing(cell)


def read_image(cell: Any, folder: Path, limits: ImageLimits) -> PictureSource:
    """One picture: a path below the folder, or what holds it. Raises RowError."""
    if isinstance(cell, dict):  # as Hugging Face keeps pictures in tables
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes) and cell:
        return cell
    if not isinstance(cell, str) or not cell.strip():
        raise RowError("'image' is neither a path nor a picture, or 'images' is not a list of them")
    if is_link(cell):
        raise RowError("the picture is a link; fetch it and name the file")
    if cell.startswith("data:"):
        try:
            return parse_data_url(cell, limits=limits, param="image")[1]
        except RequestError as error:
            raise RowError(str(error)) from error
    return folder / cell


def _open_table(path: Path, encoding: str | None, columns: Columns) -> DataForm:
    wanted = columns.all_names | {name for names in _OTHER_NAMES.values() for name in names}
    return DataForm(path, path.parent, raw_rows(path, wanted=wanted, encoding=encoding))


def _find_table(folder: Path, split: str | None) -> Path | None:
    """The one table in a folder: that of a split, `labels`, `metadata`, or the only one there is.

    Raises:
        ConfigError: there are several, or none for the split.
    """
    tables = sorted(file for file in folder.iterdir() if file.is_file() and _is_table(file))
    for name in (split,) if split else _USUAL_TABLES:
        named = [table for table in tables if table.name.split(".")[0] == name]
        if len(named) == 1:
            return named[0]
    if split and tables:
        raise ConfigError(f"there is no table '{split}' here; see --split", file=str(folder))
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables[:5])
        raise ConfigError(
            f"there are several tables here ({names}); give one of them", file=str(folder)
        )
    return tables[0] if tables else None


def _is_table(file: Path) -> bool:
    inner = file.with_suffix("") if file.suffix.lower() == _PACKED else file
    return inner.suffix.lower() in _TABLES


def _folder_rows(root: Path, folders: Collection[Path]) -> Iterator[_RawRow]:
    """Pictures by the folder that they lie in; NAME.txt beside one is its question."""
    number = 0
    for folder in folders:
        for file in picture_files(folder):
            number += 1
            name = file.relative_to(root).as_posix()
            row: dict[str, Any] = {"image": name, "id": name}
            row["harmful"] = _LABEL_FOLDERS[folder.name]
            beside = file.with_suffix(".txt")
            if beside.is_file():
                row["prompt"] = beside.read_text(encoding="utf-8").strip()
            yield number, row


def _saved_rows(path: Path, split: str | None) -> Iterator[_RawRow]:
    """Rows of a dataset that `save_to_disk` of Hugging Face's `datasets` wrote."""
    for number, row in enumerate(_load_saved(path, split), 1):
        yield number, dict(row)


def _load_saved(path: Path, split: str | None) -> Iterable[Mapping[str, Any]]:
    """Raises ConfigError."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"a saved dataset needs the package datasets; {install_command('datasets')}, or save "
            "it as Parquet",
            file=str(path),
        ) from error
    try:
        found: Any = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"this saved dataset cannot be read ({type(error).__name__}); save it again",
            file=str(path),
        ) from error
    if isinstance(found, datasets.DatasetDict):
        found = _pick_split(found, split, path)
    for name, feature in found.features.items():
        if isinstance(feature, datasets.Image):  # its bytes, so that only our own reader decodes
            found = found.cast_column(name, datasets.Image(decode=False))
    rows: Iterable[Mapping[str, Any]] = found
    return rows


def _pick_split(found: Mapping[str, Any], split: str | None, path: Path) -> Any:
    names = list(found)
    chosen = names[0] if split is None and len(names) == 1 else split
    if chosen not in names:
        asked = "there are several splits here" if split is None else f"there is no split '{split}'"
        raise ConfigError(f"{asked}; name one of {', '.join(names)} by --split", file=str(path))
    return found[chosen]
