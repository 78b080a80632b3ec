"""Scores that are known already: what a killed run had scored is not scored again.

One JSON line for each answer and oracle. It holds hashes and numbers, and no text.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from guardrail.records.run_log import RunLog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from guardrail.types import Json

__all__ = ["KnownScores", "Scored"]


@dataclass(frozen=True, slots=True)
class Scored:
    """What an oracle said of one answer.

    Attributes:
        score: in [0, 1]; 1 where the answer could not be judged.
        ms: time it took, its share of a batch.
        unscanned: whether the oracle could not look into a part of it.
        failed: whether it could not be judged at all; such a score is not kept.
    """

    score: float
    ms: float
    unscanned: bool = False
    failed: bool = False


class KnownScores:
    """The scores of one oracle, by the digest of the answer; with no path, for this run only.

    Args:
        path: made where it is missing; scores of other oracles may stand in it too.
        oracle: revision of the oracle.

    Raises:
        ConfigError: the file is in use or holds something else.
    """

    def __init__(self, path: Path | None, oracle: str) -> None:
        self._oracle = oracle
        self._known: dict[str, Scored] = {}
        self._log = RunLog(
            path, None, command="guardrail calibrate", accept=self._accept, fsync=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, answer: str) -> Scored | None:
        return self._known.get(answer)

    def keep(self, found: Mapping[str, Scored]) -> None:
        """Remembers scores and writes them down, but for failures: those are tried again."""
        self._log.write(
            *(self._row(answer, scored) for answer, scored in found.items() if not scored.failed)
        )

    def _row(self, answer: str, scored: Scored) -> dict[str, Json]:
        facts = asdict(scored)
        del facts["failed"]
        return {"type": "score", "answer": answer, "oracle": self._oracle, **facts}

    def _accept(self, row: dict[str, Json]) -> None:
        score, ms, unscanned = float(row["score"]), float(row["ms"]), row["unscanned"]
        sound = 0.0 <= score <= 1.0 and 0.0 <= ms < math.inf and isinstance(unscanned, bool)
        if not (sound and isinstance(row["answer"], str)):
            raise ValueError("a value is not possible")
        if row["oracle"] == self._oracle:
            self._known[row["answer"]] = Scored(score, ms, unscanned)
