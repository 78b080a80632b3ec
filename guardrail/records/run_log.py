"""The log of a long run: its settings, then a row for each result.

Each row is a JSON line with a `type`, `settings` being the first; it is on the disk before the next
call goes out. A run that was stopped or killed goes on from it.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Self

from guardrail.canonical import canonical_json, parse_strict
from guardrail.errors import ConfigError
from guardrail.records.lines import LineFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["RunLog"]

_PREFIX = b'{"type":'
_VERSION = 1


class RunLog:
    """The results of a run so far; without a path it keeps nothing.

    Args:
        path: made where it is missing; otherwise the run goes on where the last one ended.
        settings: everything on which the rows depend.
        command: whose log it is, as in `guardrail certify`.
        accept: takes each row that is there already, and after that each one written. Raises
            KeyError, TypeError or ValueError for a row that is none of its kind.

    Raises:
        ConfigError: the file is in use, holds something else, or was made with other settings.
    """

    def __init__(
        self,
        path: Path | None,
        settings: Mapping[str, Any],
        *,
        command: str,
        accept: Callable[[dict[str, Any]], None],
    ) -> None:
        self._command = command
        self._accept = accept
        self._file = (
            None if path is None else LineFile(path, prefix=_PREFIX, alone=True, fsync=True)
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

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row. Raises ConfigError where it cannot be kept."""
        self._append(row)
        self._accept(row)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, row: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        with self._file.exclusive():
            self._file.write(json.dumps(row, separators=(",", ":"), allow_nan=False).encode())

    def _resume(self, settings: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        with self._file.exclusive():
            lines = self._file.lines()
        digest = hashlib.sha256(canonical_json(dict(settings))).hexdigest()
        if not lines:
            header = {"version": _VERSION, "digest": digest, **settings}
            self._append({"type": "settings", **header})
            return
        first, *rows = lines
        self._check_header(self._read(1, first, self._check_settings), settings, digest)
        for number, line in enumerate(rows, start=2):
            self._read(number, line, self._accept)

    def _read(
        self, number: int, line: bytes, accept: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        try:
            row = dict(parse_strict(line))
            accept(row)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"this line is none that '{self._command}' writes"
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
