"""The log of a measurement of recall; a stopped run goes on from it.

Rows: `progress` (an unfinished request), `request` (a finished one), `view` (a finished view of a
request) and `clean` (a decision about a clean request). No row holds what a request or an answer
said.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

from guardrail.evaluation.recall_facts import CleanDecision, Counts, HeldRequest, Yardstick
from guardrail.evaluation.threat_facts import ViewCounts
from guardrail.records.run_log import RunLog
from guardrail.types import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["RecallLog"]


class RecallLog:
    """What is known of each request, by its digest; with no path for this run only.

    Args:
        path: made where it is missing.
        settings: everything on which a row depends.
        command: what writes it.

    Raises:
        ConfigError: the file is in use, holds something else, or was made with other settings.
    """

    def __init__(
        self, path: Path | None, settings: Mapping[str, Any], *, command: str = "guardrail recall"
    ) -> None:
        self._progress: dict[str, Counts] = {}
        self._results: dict[str, HeldRequest] = {}
        self._clean: dict[str, CleanDecision] = {}
        self._views: dict[tuple[str, str, int], ViewCounts] = {}
        self._log = RunLog(path, settings, command=command, accept=self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def done(self) -> int:
        """Requests that are finished."""
        return len(self._results)

    def result(self, digest: str, name: str) -> HeldRequest | None:
        """A finished request under its present name; None where it is not done."""
        found = self._results.get(digest)
        return None if found is None else dataclasses.replace(found, name=name)

    def progress(self, digest: str) -> Counts:
        """What is known of an unfinished request."""
        return self._progress.get(digest, Counts())

    def clean(self, digest: str) -> CleanDecision | None:
        """A decision that was made about a clean request."""
        return self._clean.get(digest)

    def keep(self, digest: str, counts: Counts) -> None:
        """Writes down what is known of an unfinished request."""
        self._log.write({"type": "progress", "request": digest, **_counts_row(counts)})

    def finish(self, result: HeldRequest) -> None:
        """Writes down a finished request."""
        self._log.write(
            {
                "type": "request",
                "request": result.digest,
                "name": result.name,
                **_counts_row(result.counts),
                **dataclasses.asdict(result.yardstick),
            }
        )

    def finish_clean(self, digest: str, decision: CleanDecision) -> None:
        """Writes down a decision about a clean request."""
        facts = dataclasses.asdict(decision)
        self._log.write({"type": "clean", "request": digest, **facts})

    def view(self, digest: str, view: str, draws: int) -> ViewCounts | None:
        """What so many draws of a view of a request brought; None where it is not done."""
        return self._views.get((digest, view, draws))

    def keep_view(self, digest: str, view: str, draws: int, counts: ViewCounts) -> None:
        """Writes down a finished view, known by its key."""
        row = {"type": "view", "request": digest, "view": view, "draws": draws}
        self._log.write({**row, **dataclasses.asdict(counts)})

    def close(self) -> None:
        self._log.close()

    def _accept(self, row: dict[str, Any]) -> None:
        digest = str(row["request"])
        match row["type"]:
            case "progress":
                self._progress[digest] = _counts(row)
            case "request":
                yardstick = Yardstick(
                    **{f.name: row[f.name] for f in dataclasses.fields(Yardstick)}
                )
                self._results[digest] = HeldRequest(
                    digest, str(row["name"]), _counts(row), yardstick
                )
            case "clean":
                names = [f.name for f in dataclasses.fields(CleanDecision)]
                self._clean[digest] = CleanDecision(**{name: row[name] for name in names})
            case "view":
                counts = {f.name: row[f.name] for f in dataclasses.fields(ViewCounts)}
                key = digest, str(row["view"]), int(row["draws"])
                self._views[key] = ViewCounts(**counts)
            case other:
                raise ValueError(other)


def _counts_row(counts: Counts) -> dict[str, Any]:
    return {
        "samples": counts.samples,
        "harmless": counts.harmless,
        "refused": counts.refused,
        "missing": counts.missing,
        "calls": counts.usage.calls,
        "prompt_tokens": counts.usage.prompt_tokens,
        "completion_tokens": counts.usage.completion_tokens,
        "cost_usd": counts.cost_usd,
    }


def _counts(row: Mapping[str, Any]) -> Counts:
    usage = Usage(row["prompt_tokens"], row["completion_tokens"], row["calls"])
    numbers = {name: int(row[name]) for name in ("samples", "harmless", "refused", "missing")}
    return Counts(usage=usage, cost_usd=row["cost_usd"], **numbers)
