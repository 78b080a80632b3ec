"""The log of a bulk job: what was decided, a line a row; a job that was killed goes on from it.

A row whose decision failed has a line as well, and another one once it is decided; the last one
counts. No line is written twice, and none is changed.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol, Self

from guardrail.bulk.index import DecisionIndex, KnownDecision
from guardrail.bulk.outcome import RowDecision, RowOutcome
from guardrail.canonical import parse_strict
from guardrail.records.lines import read_lines
from guardrail.records.run_log import RunLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from guardrail.bulk.rows import BulkRow
    from guardrail.types import Json

__all__ = ["DecisionLog", "KnownContents", "OutcomeSink", "repeat_known"]

_SEPARATOR = "\n"


class KnownContents(Protocol):
    """Where earlier decisions are looked up; its methods are called in threads."""

    def find(self, key: str) -> KnownDecision | None:
        """The decision about this content; None where there is none."""

    def is_decided(self, row: BulkRow, key: str) -> bool:
        """Whether this row was decided with this content; it then counts as seen."""

    def count_failed(self, key: str) -> int:
        """How many lines say that this content could not be decided."""


class OutcomeSink(Protocol):
    """Where outcomes go; called in a thread."""

    def write(self, outcomes: Sequence[RowOutcome]) -> None:
        """Keeps outcomes, which are on a disk when this returns."""


def repeat_known(known: KnownDecision, row: BulkRow, key: str) -> RowOutcome:
    """The decision of another row with the same content, as this row's."""
    first = RowOutcome(
        name=known.name,
        row=0,
        identity=known.name,
        decision=RowDecision(known.decision),
        reason=known.reason,
        stopped_by=known.stopped_by,
        key=key,
        harmful=tuple(known.harmful.split(_SEPARATOR)) if known.harmful else (),
        outside_claim=known.outside_claim,
        known_lists=known.known_lists,
        known_picture=known.known_picture,
    )
    return first.repeat_for(row)


class DecisionLog:
    """What is decided, in a file that only grows; for any thread.

    Args:
        path: made where it is missing.
        settings: what all rows depend on.

    Attributes:
        tries: decisions that asked a model, those that failed included.
        calls, cost_usd: of all of them; the cost counts those of known price, `all_priced` says
            whether these are all.

    Raises:
        ConfigError: the file is in use, holds something else, or belongs to a job with other
            settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Json]) -> None:
        self.path = path
        self.tries = 0
        self.calls = 0
        self.cost_usd = 0.0
        self.all_priced = True
        self._index = DecisionIndex()
        self._lines = 1  # the settings
        try:
            self._log = RunLog(path, settings, command="guardrail moderate", accept=self._accept)
        except BaseException:
            self._index.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_decided(self, row: BulkRow, key: str) -> bool:
        """Whether this row was decided with this content; it then counts as seen."""
        if not self._index.is_decided(row.identity, key):
            return False
        self._index.mark_seen(row.identity)
        return True

    def find(self, key: str) -> KnownDecision | None:
        """The decision about this content; None where there is none."""
        return self._index.find(key)

    def count_failed(self, key: str) -> int:
        """How many lines say that this content could not be decided."""
        return self._index.count_failed(key)

    def mark_seen(self, rows: Iterable[BulkRow]) -> None:
        """Notes that the source has these rows."""
        for row in rows:
            self._index.mark_seen(row.identity)

    def write(self, outcomes: Sequence[RowOutcome]) -> None:
        """Adds lines, which are on the disk when this returns. Raises ConfigError, StorageError."""
        self._log.write(*({"type": "row", **outcome.to_dict()} for outcome in outcomes))
        for outcome in outcomes:
            self._index.mark_seen(outcome.identity)

    def current(self) -> Iterator[RowOutcome]:
        """The last outcome of every row that was seen in this run, in the order of the log.

        A row whose decision was made for one that the source has no more, or with another content
        now, is given its certificate and its answer.
        """
        gone: dict[str, int] = {}  # by content: where decisions lie whose own row is not current
        end = 0
        for number, line in enumerate(read_lines(self.path), start=1):
            start, end = end, end + len(line)
            if number == 1:
                continue
            outcome = RowOutcome.from_dict(parse_strict(line))
            is_own = outcome.is_decided and not outcome.same_as
            if not self._index.is_current(outcome.identity, number):
                if is_own:
                    gone[outcome.key] = start
                continue
            if is_own:
                gone.pop(outcome.key, None)
            elif outcome.same_as and outcome.key in gone:
                outcome = self._complete(outcome, gone[outcome.key])
            yield outcome

    def _complete(self, outcome: RowOutcome, start: int) -> RowOutcome:
        """An outcome with what the line at this place holds beside its decision."""
        with self.path.open("rb") as stream:
            stream.seek(start)
            made = RowOutcome.from_dict(parse_strict(stream.readline()))
        return dataclasses.replace(
            outcome, same_as="", certificate=made.certificate, answer=made.answer
        )

    def close(self) -> None:
        self._log.close()
        self._index.close()

    def _accept(self, row: dict[str, Any]) -> None:
        if row["type"] != "row":
            raise ValueError(row["type"])
        outcome = RowOutcome.from_dict(row)
        self._lines += 1
        self.tries += outcome.calls > 0
        self.calls += outcome.calls
        self.cost_usd += outcome.cost_usd or 0.0
        self.all_priced &= outcome.cost_usd is not None
        known = None
        if outcome.is_decided:
            known = KnownDecision(
                outcome.same_as or outcome.name,
                outcome.decision.value,
                outcome.reason,
                outcome.stopped_by,
                _SEPARATOR.join(outcome.harmful),
                outcome.outside_claim,
                outcome.known_lists,
                outcome.known_picture,
            )
        self._index.add(outcome.identity, outcome.key, self._lines, known)
