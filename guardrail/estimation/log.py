"""The report file of a run: its settings, then its estimates; a killed run goes on from it.

Rows are `progress` (what is known of an unfinished picture) and `estimate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from guardrail.errors import ConfigError
from guardrail.estimation.picture import PictureProgress
from guardrail.estimation.stop_rule import RateEstimate
from guardrail.records.run_log import RunLog
from guardrail.types import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from guardrail.estimation.rows import PictureSource

__all__ = ["EstimationLog"]


class EstimationLog:
    """Finished estimates and progress; without a path they are kept for this run only.

    Args:
        path: made where it is missing; otherwise the run goes on where the last one ended.
        settings: everything on which an estimate depends.

    Raises:
        ConfigError: the file is in use, holds something else, or was made with other settings.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self._done: dict[str, dict[str, Any]] = {}
        self._unfinished: dict[str, dict[str, Any]] = {}
        self._log = RunLog(path, settings, command="guardrail certify", accept=self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def done(self) -> int:
        """How many pictures have an estimate."""
        return len(self._done)

    def find_estimate(self, source: PictureSource) -> dict[str, Any] | None:
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

    def find_progress(self, file: str, request_digest: str) -> PictureProgress:
        """What is known of an unfinished picture; nothing if it is another request now."""
        row = self._unfinished.get(file)
        if row is None or row["request_digest"] != request_digest:
            return PictureProgress()
        usage = Usage(row["prompt_tokens"], row["completion_tokens"], row["calls"])
        bounds = (row["q_lower"], row["q_upper"])
        return PictureProgress(
            RateEstimate(row["n"], row["harmless"], row["missing"], *bounds), usage
        )

    def keep(self, file: str, request_digest: str, progress: PictureProgress) -> None:
        """Writes down what is known of an unfinished picture."""
        estimate, usage = progress.estimate, progress.usage
        self._log.write(
            {
                "type": "progress",
                "file": file,
                "request_digest": request_digest,
                "harmless": estimate.harmless,
                "n": estimate.samples,
                "missing": estimate.missing,
                "q_lower": estimate.lower,
                "q_upper": estimate.upper,
                "calls": usage.calls,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
            }
        )

    def finish(self, row: dict[str, Any]) -> None:
        """Writes down the estimate of a picture."""
        self._log.write(row)

    def close(self) -> None:
        self._log.close()

    def _accept(self, row: dict[str, Any]) -> None:
        kept = {"estimate": self._done, "progress": self._unfinished}[row["type"]]
        kept[row["file"]] = row
