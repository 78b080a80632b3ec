"""The log of an evaluation; a stopped run goes on from it.

Each row is one request, decided. No row holds what a request or an answer said.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

from guardrail.evaluation.benchmark.row_result import BareAnswer, Comparison, Ending, RowResult
from guardrail.records.run_log import RunLog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from guardrail.evaluation.benchmark.labelled_set import LabelledRequest

__all__ = ["EvaluationLog"]

_FIELDS = tuple(field.name for field in dataclasses.fields(RowResult))
_BARE_FIELDS = tuple(field.name for field in dataclasses.fields(BareAnswer))
_COMPARED_FIELDS = tuple(field.name for field in dataclasses.fields(Comparison))


class EvaluationLog:
    """Rows that are decided, by their request's digest, set and label.

    Args:
        path: made where it is missing; None keeps nothing.
        settings: everything on which a row depends.

    Raises:
        ConfigError: the file is in use, holds something else, or was made with other settings.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self._results: dict[tuple[str, str, bool], RowResult] = {}
        self._log = RunLog(path, settings, command="guardrail evaluate", accept=self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    @property
    def done(self) -> int:
        """Rows that are decided."""
        return len(self._results)

    def result(self, digest: str, row: LabelledRequest) -> RowResult | None:
        """The result of a row under its present name; None where it is not done."""
        found = self._results.get((digest, row.set_name, row.harmful))
        return None if found is None else dataclasses.replace(found, name=row.request.name)

    def finish(self, result: RowResult) -> None:
        """Writes down a row."""
        self._log.write({"type": "row", **dataclasses.asdict(result)})

    def _accept(self, row: dict[str, Any]) -> None:
        if row["type"] != "row":
            raise ValueError(row["type"])
        facts = {name: row[name] for name in _FIELDS}
        bare = row["bare"]
        facts |= {
            "ending": Ending(row["ending"]),
            "bare": None if bare is None else BareAnswer(**{n: bare[n] for n in _BARE_FIELDS}),
            "comparison": Comparison(**{n: row["comparison"][n] for n in _COMPARED_FIELDS}),
        }
        result = RowResult(**facts)
        self._results[result.digest, result.set_name, result.harmful] = result
