"""The report file of a run: settings, then estimates; what a killed run had done stays done.

JSON lines by `type`: `settings` first, `progress` (what is known of an unfinished picture) and
`estimate`. Each is on the disk before the next call goes out.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Self

from guardrail.errors import ConfigError
from guardrail.estimation.goal import Tally
from guardrail.estimation.picture import Known
from guardrail.records.lines import LineFile, canonical, parse_line
from guardrail.types import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from guardrail.estimation.rows import Source

__all__ = ["EstimationLog"]

_PREFIX = b'{"type":'
_VERSION = 1


class EstimationLog:
    """What is done, and what is known; with no path it remembers for this run only.

    Args:
        path: made where it is missing; otherwise the run goes on where the last one ended.
        settings: everything on which an estimate depends.

    Raises:
        ConfigError: the file is in use, holds something else, or was made with other settings.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self._done: dict[str, dict[str, Any]] = {}
        self._known: dict[str, dict[str, Any]] = {}
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

    @property
    def done(self) -> int:
        """How many pictures have an estimate."""
        return len(self._done)

    def estimate(self, source: Source) -> dict[str, Any] | None:
        """The row of a picture that is done.

        Raises:
            ConfigError: the picture is not the one that was estimated under this name.
        """
        row = self._done.get(source.file)
        if row is not None and row["sha256"] != source.sha256:
            raise ConfigError(
                f"the picture '{source.file}' has changed since it was estimated; write to "
                "another file, or put the picture back"
            )
        return row

    def known(self, file: str, request_digest: str) -> Known:
        """What is known of an unfinished picture; nothing if it is another request now."""
        row = self._known.get(file)
        if row is None or row["request_digest"] != request_digest:
            return Known()
        usage = Usage(row["prompt_tokens"], row["completion_tokens"], row["calls"])
        bounds = (row["q_lower"], row["q_upper"])
        return Known(Tally(row["n"], row["harmless"], row["missing"], *bounds), usage)

    def keep(self, file: str, request_digest: str, known: Known) -> None:
        """Writes down what is known of an unfinished picture."""
        tally, usage = known.tally, known.usage
        row = {
            "type": "progress",
            "file": file,
            "request_digest": request_digest,
            "harmless": tally.harmless,
            "n": tally.samples,
            "missing": tally.missing,
            "q_lower": tally.lower,
            "q_upper": tally.upper,
            "calls": usage.calls,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
        }
        self._write(row)
        self._known[file] = row

    def finish(self, row: dict[str, Any]) -> None:
        """Writes down the estimate of a picture."""
        self._write(row)
        self._done[row["file"]] = row

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        with self._file.exclusive():
            self._file.write(json.dumps(row, separators=(",", ":"), allow_nan=False).encode())

    def _resume(self, settings: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        digest = hashlib.sha256(canonical(dict(settings))).hexdigest()
        with self._file.exclusive():
            lines = self._file.lines()
        if not lines:
            header = {"version": _VERSION, "digest": digest, **settings}
            self._write({"type": "settings", **header})
            return
        first, *rows = (self._parsed(number, line) for number, line in enumerate(lines, start=1))
        self._check_header(first, settings, digest)
        for row in rows:
            kept = self._done if row["type"] == "estimate" else self._known
            kept[row["file"]] = row

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            row = parse_line(line)
            known = row["type"] == "settings" if number == 1 else row["type"] and row["file"]
        except (KeyError, TypeError, ValueError):
            known = False
        if not known:
            raise self._refused("this line is none that 'guardrail certify' writes", number)
        return dict(row)

    def _check_header(
        self, header: Mapping[str, Any], settings: Mapping[str, Any], digest: str
    ) -> None:
        if header.get("digest") == digest and header.get("version") == _VERSION:
            return
        other = sorted(name for name in settings if header.get(name) != settings[name])
        raise self._refused(
            f"this file was made with other settings ({', '.join(other) or 'version'}); name "
            "another file, or give the same settings to go on with it",
            1,
        )

    def _refused(self, problem: str, number: int) -> ConfigError:
        assert self._file is not None
        return ConfigError(problem, file=str(self._file.path), line=number)
