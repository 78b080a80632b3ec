"""The log of a long run: its settings, then a row for each result.

Each row is a JSON line with a `type`, `settings` being the first; a run that was stopped or killed
goes on from it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Self

from guardrail.canonical import canonical_json, parse_strict
from guardrail.errors import ConfigError
from guardrail.records.lines import LineFile, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["RunLog"]

_PREFIX = b'{"type":'
_VERSION = 1


class RunLog:
    """The results of a run so far; without a path it keeps nothing.

    Args:
        path: made where it is missing; otherwise the run goes on where the last one ended.
        settings: everything on which the rows depend; None for rows that name it themselves.
        command: whose log it is, as in `guardrail certify`.
        accept: takes each row that is there already, and after that each one written. Raises
            KeyError, TypeError or ValueError for a row of another kind.
        fsync: whether `write` returns only when its rows are on the disk; see `LineFile`.

    Raises:
        ConfigError: the file is in use, holds something else, or was made with other settings.
    """

    def __init__(
        self,
        path: Path | None,
        settings: Mapping[str, Any] | None,
        *,
        command: str,
        accept: Callable[[dict[str, Any]], None],
        fsync: bool = True,
    ) -> None:
        self._command = command
        self._accept = accept
        self._file = (
            None if path is None else LineFile(path, prefix=_PREFIX, alone=True, fsync=fsync)
        )
        try:
            self._resume(settings)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, *rows: dict[str, Any]) -> None:
        """Adds rows, each of them with its `type` first. Raises ConfigError where it cannot."""
        self._append(rows)
        for row in rows:
            self._accept(row)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        if self._file is None:
            return
        lines = [json.dumps(row, separators=(",", ":"), allow_nan=False).encode() for row in rows]
        with self._file.exclusive():
            self._file.write(*lines)

    def _resume(self, settings: Mapping[str, Any] | None) -> None:
        if self._file is None:
            return
        with self._file.exclusive():
            pass  # the file ends in a whole line now
        # One line at a time: the log of a long job is larger than the memory.
        lines = enumerate((line.rstrip(b"\n") for line in read_lines(self._file.path)), start=1)
        if settings is not None:
            self._pass_header(lines, settings)
        for number, line in lines:
            self._read(number, line, self._accept)

    def _pass_header(self, lines: Iterator[tuple[int, bytes]], settings: Mapping[str, Any]) -> None:
        """Takes the settings off the lines; they are written where there are no lines yet."""
        digest = hashlib.sha256(canonical_json(dict(settings))).hexdigest()
        first = next(lines, None)
        if first is None:
            self._append([{"type": "settings", "version": _VERSION, "digest": digest, **settings}])
            return
        self._check_header(self._read(*first, self._check_settings), settings, digest)

    def _read(
        self, number: int, line: bytes, accept: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        try:
            row = dict(parse_strict(line))
            accept(row)
        except (KeyError, TypeError, ValueError) as error:
            problem = (
                f"not a line that '{self._command}' writes; name another file, or remove this one "
                "to begin again"
            )
            raise self._error(problem, number) from error
        return row

    @staticmethod
    def _check_settings(row: dict[str, Any]) -> None:
        if row["type"] != "settings":
            raise ValueError("settings come first")

    def _check_header(
        self, header: Mapping[str, Any], settings: Mapping[str, Any], digest: str
    ) -> None:
        if header.get("digest") == digest and header.get("version") == _VERSION:
            return
        other = sorted(name for name in settings if header.get(name) != settings[name])
        raise self._error(
            f"this file was made with other settings ({', '.join(other) or 'version'}); name "
            "another file, or give the same settings to go on with it",
            1,
        )

    def _error(self, problem: str, number: int) -> ConfigError:
        assert self._file is not None
        return ConfigError(problem, file=str(self._file.path), line=number)
