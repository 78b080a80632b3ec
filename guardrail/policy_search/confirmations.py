"""Counts how often the confirmation half of labelled requests was looked at.

Each run of `guardrail tune` shows how some candidates do on that half, so a run that follows is
another try. The error is spent over them, see `SearchDesign.run_error`. Rows of the file:
`confirmation`, one of each search that looked, with a digest of all that its result follows from. A
search that is made again as it was shows nothing new and keeps its number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from guardrail.errors import ConfigError
from guardrail.records.run_log import RunLog

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ConfirmationLog"]


class ConfirmationLog:
    """The searches that looked at the confirmation half of some requests.

    Args:
        path: made where it is missing; None counts this run only.
        seed: of the halves.

    Raises:
        ConfigError: the file is in use, holds something else, or its halves were cut by another
            seed: what a search looked at before would confirm now.
    """

    def __init__(self, path: Path | None, seed: int) -> None:
        self._numbers: dict[str, int] = {}
        self._seed = seed
        self._seeds: set[int] = set()
        self._log = RunLog(path, None, command="guardrail tune", accept=self._accept)
        other = self._seeds - {seed}
        if other:
            self._log.close()
            raise ConfigError(
                f"the halves of these requests were cut by --seed {min(other)}; by another one, "
                "requests that were searched on would confirm. Give that seed, or requests that no "
                "search has seen",
                file=str(path),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def number(self, search: str) -> int:
        """Which run on these requests a search is, from 1.

        Args:
            search: a digest of all that its result follows from.
        """
        return self._numbers.get(search, len(self._numbers) + 1)

    def write(self, search: str) -> None:
        """Counts a search, before it looks. Raises ConfigError where it cannot be kept."""
        if search not in self._numbers:
            self._log.write({"type": "confirmation", "search": search, "seed": self._seed})

    def _accept(self, row: dict[str, Any]) -> None:
        if row["type"] != "confirmation":
            raise ValueError(row["type"])
        self._numbers.setdefault(str(row["search"]), len(self._numbers) + 1)
        self._seeds.add(int(row["seed"]))
