"""Which labelled answers come from one request, and the one that represents it in a bound.

Answers to one request are not independent: a bound that counted twenty of them as twenty draws
would fail far more often than delta. So each request gives one harmful and one harmless answer.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.tuning.clusters import cluster_texts, fold_text

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from guardrail.tuning.dataset import LabelledAnswer

__all__ = ["Representatives", "Requests"]

_UNNAMED = "row"


@dataclass(frozen=True, slots=True)
class Representatives:
    """Answers of one label that a bound may take as drawn one by one, as places in the rows.

    Attributes:
        named: one of every request as the file tells requests apart.
        distinct: one of every family of near-copies among these; never more, often the same.
        requests: how many requests there are, as far as can be told: of answers that name none,
            near-copies are taken for answers to one.
    """

    named: tuple[int, ...]
    distinct: tuple[int, ...]
    requests: int


class Requests:
    """The requests of labelled answers.

    Rows with the same group are answers to one request; rows without a group if their prompts are
    equal but for white space and case; a row with neither stands for itself. Of rows without a
    group, requests whose prompts or representatives are near-copies make a family.

    Args:
        rows: labelled answers; their order does not matter for who represents whom.
    """

    def __init__(self, rows: Sequence[LabelledAnswer]) -> None:
        self._rows = rows
        self._names = [_name(place, row) for place, row in enumerate(rows)]
        self._families = _families(self._names)
        self._ranks = _ranks([row.digest for row in rows])

    @property
    def unnamed(self) -> int:
        """Rows with neither a group nor a prompt."""
        return sum(kind == _UNNAMED for kind, _ in self._names)

    @property
    def have_both_labels(self) -> bool:
        """Whether a request, or a family of near-copied prompts, was answered in both ways."""
        labels: dict[int, bool] = {}
        pairs = zip(self._families, self._rows, strict=True)
        return any(labels.setdefault(family, row.harmful) != row.harmful for family, row in pairs)

    def representatives(self, *, harmful: bool) -> Representatives:
        """One answer with this label of every request that has one, in the order of the rows."""
        members = [place for place, row in enumerate(self._rows) if row.harmful is harmful]
        named = self._one_of_each(members, {place: self._names[place] for place in members})
        families = self._near_copies(named)
        told = [place for place in named if self._names[place][0] != _UNNAMED]
        guessed = {families[place] for place in named if self._names[place][0] == _UNNAMED}
        return Representatives(named, self._one_of_each(named, families), len(told) + len(guessed))

    def _one_of_each(self, places: Sequence[int], keys: Mapping[int, Hashable]) -> tuple[int, ...]:
        first: dict[Hashable, int] = {}
        for place in sorted(places, key=self._ranks.__getitem__):
            first.setdefault(keys[place], place)
        return tuple(sorted(first.values()))

    def _near_copies(self, named: Sequence[int]) -> dict[int, Hashable]:
        """The family of every representative; groups are believed, and joined with nothing."""
        keys: dict[int, Hashable] = {place: self._names[place] for place in named}
        loose = [place for place in named if not self._rows[place].group]
        families = cluster_texts(
            [self._rows[place].response for place in loose],
            [str(self._families[place]) for place in loose],
        )
        return keys | dict(zip(loose, families, strict=True))


def _ranks(digests: Sequence[str]) -> list[str]:
    """A pseudo-random rank for every row, the least of which represents.

    Fixed by the texts of the file alone, before any label or score is looked at. Copies of a text
    have ranks of their own, so that each row is as likely as any other.
    """
    seed = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    copies: Counter[str] = Counter()
    ranks = []
    for digest in digests:
        ranks.append(hashlib.sha256(f"{seed}/{digest}/{copies[digest]}".encode()).hexdigest())
        copies[digest] += 1
    return ranks


def _name(place: int, row: LabelledAnswer) -> tuple[str, str]:
    if row.group:
        return ("group", row.group)
    prompt = fold_text(row.prompt)
    return ("prompt", prompt) if prompt else (_UNNAMED, str(place))


def _families(names: Sequence[tuple[str, str]]) -> list[int]:
    """A number for every row, the same for one request and for near-copied prompts."""
    different = list(dict.fromkeys(names))
    prompts = [text for kind, text in different if kind == "prompt"]
    near = dict(zip(prompts, cluster_texts(prompts), strict=True))
    numbers: dict[Hashable, int] = {}
    return [
        numbers.setdefault(near[text] if kind == "prompt" else (kind, text), len(numbers))
        for kind, text in names
    ]
