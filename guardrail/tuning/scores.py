"""Scores that are known already: what a killed run had scored is not scored again.

One JSON line for each answer and oracle. It holds hashes and numbers, and no text.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from guardrail.canonical import parse_strict
from guardrail.errors import ConfigError
from guardrail.records.lines import LineFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from guardrail.types import Json

__all__ = ["KnownScores", "Scored"]

_PREFIX = b'{"answer":'


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
        self._file = None if path is None else LineFile(path, prefix=_PREFIX, alone=True)
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, answer: str) -> Scored | None:
        return self._known.get(answer)

    def keep(self, found: Mapping[str, Scored]) -> None:
        """Remembers scores and writes them down, but for failures: those are tried again."""
        self._known |= {key: scored for key, scored in found.items() if not scored.failed}
        if self._file is None:
            return
        with self._file.exclusive():
            for answer, scored in found.items():
                if not scored.failed:
                    self._file.write(self._line(answer, scored))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _line(self, answer: str, scored: Scored) -> bytes:
        facts = asdict(scored)
        del facts["failed"]
        row = {"answer": answer, "oracle": self._oracle, **facts}
        return json.dumps(row, separators=(",", ":"), allow_nan=False).encode()

    def _read(self) -> None:
        if self._file is None:
            return
        with self._file.exclusive():
            lines = self._file.lines()
        for number, line in enumerate(lines, start=1):
            try:
                self._take(parse_strict(line))
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigError(
                    "this line is none that 'guardrail calibrate' writes; remove the file to score "
                    "everything again",
                    file=str(self._file.path),
                    line=number,
                ) from error

    def _take(self, row: Json) -> None:
        score, ms, unscanned = float(row["score"]), float(row["ms"]), row["unscanned"]
        sound = 0.0 <= score <= 1.0 and 0.0 <= ms < math.inf and isinstance(unscanned, bool)
        if not (sound and isinstance(row["answer"], str)):
            raise ValueError("a value is not possible")
        if row["oracle"] == self._oracle:
            self._known[row["answer"]] = Scored(score, ms, unscanned)
