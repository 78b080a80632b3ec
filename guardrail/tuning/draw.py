"""Answers to noisy variants drawn from record files, to be labelled by people.

Harmful answers are rare, so equal numbers are drawn from strata of the oracle's score. How many
answers each drawn one stands for is written beside it, and the bounds count with it.
"""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.records.audit import read_records
from guardrail.types import Chat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from guardrail.records.model import Record
    from guardrail.types import Json

__all__ = ["Drawn", "Store", "draw", "survey", "write_rows"]

EDGES = (0.05, 0.25, 0.5, 0.75)
"""Strata of scores: below 0.05, from there to 0.25, and so on."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer stands: file, line and number of the variant."""

    file: int
    line: int
    index: int


@dataclass(frozen=True, slots=True)
class Store:
    """What the records hold.

    Attributes:
        files: they came from.
        strata: places of the answers by stratum.
        decisions: how many records; `without_content` of them hold no answers.
        unjudged: answers with no score or with a part that was not scanned; never drawn, because
            they never count as harmless.
    """

    files: tuple[Path, ...]
    strata: tuple[tuple[Place, ...], ...]
    decisions: int
    without_content: int
    unjudged: int

    @property
    def answers(self) -> int:
        return sum(len(stratum) for stratum in self.strata)


@dataclass(frozen=True, slots=True)
class Drawn:
    """How many of a stratum's answers were drawn."""

    name: str
    answers: int
    drawn: int


def survey(files: Sequence[Path]) -> Store:
    """Where the judged answers stand, by stratum.

    Raises:
        CertificationError: a file is none of records.
        ConfigError: no record holds answers.
    """
    strata: list[list[Place]] = [[] for _ in range(len(EDGES) + 1)]
    decisions = without = unjudged = 0
    for number, file in enumerate(files):
        for line, record in read_records(file):
            decisions += 1
            answers = _answers(record)
            without += not answers
            for sample in record.samples:
                if sample.score is None or sample.unscanned:
                    unjudged += str(sample.index) in answers
                elif str(sample.index) in answers:
                    place = Place(number, line, sample.index)
                    strata[bisect_right(EDGES, sample.score)].append(place)
    store = Store(tuple(files), tuple(map(tuple, strata)), decisions, without, unjudged)
    if not store.answers:
        raise ConfigError(
            f"none of these {decisions} records holds an answer that was judged; records keep "
            "answers only where 'guardrail serve' writes them with --keep-content",
            file=", ".join(map(str, files)),
        )
    return store


def draw(store: Store, count: int, seed: int) -> tuple[list[dict[str, Json]], list[Drawn]]:
    """Rows to label, in random order, and what was drawn of each stratum.

    Every stratum gives the same number, small ones all they have; within a stratum every set of
    that size is equally likely. The same files and seed give the same rows.

    Raises:
        ConfigError: `count` is less than one for each stratum that has answers.
    """
    sizes = _shares([len(stratum) for stratum in store.strata], count)
    # Drawn from the seed alone, so that a draw can be repeated; nothing here is a secret.
    rng = random.Random(seed)  # noqa: S311
    chosen: dict[Place, tuple[str, float]] = {}
    summary = []
    for number, (stratum, size) in enumerate(zip(store.strata, sizes, strict=True)):
        if not stratum:
            continue
        name = _name(number)
        summary.append(Drawn(name, len(stratum), size))
        for place in rng.sample(stratum, size):
            chosen[place] = (name, len(stratum) / size)
    rows = list(_rows(store.files, chosen))
    rng.shuffle(rows)
    return rows, summary


def write_rows(path: Path, rows: Iterable[Mapping[str, Json]]) -> None:
    """Writes JSON lines, readable by their owner alone: they hold what was asked and answered.

    Raises:
        ConfigError: the file is there already, or cannot be written.
    """
    try:
        path.touch(mode=0o600, exist_ok=False)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except FileExistsError as error:
        raise ConfigError(
            "this file is there already and may hold labels; name another", file=str(path)
        ) from error
    except OSError as error:
        raise ConfigError(
            f"this file cannot be written ({error.strerror}); choose another path", file=str(path)
        ) from error


def _rows(
    files: Sequence[Path], chosen: Mapping[Place, tuple[str, float]]
) -> Iterator[dict[str, Json]]:
    lines = {(place.file, place.line) for place in chosen}
    for number, file in enumerate(files):
        for line, record in read_records(file):
            if (number, line) not in lines:
                continue
            answers, prompt = _answers(record), _prompt(record)
            for sample in record.samples:
                found = chosen.get(Place(number, line, sample.index))
                if found is not None:
                    yield {
                        "id": f"{record.record_id}/{sample.index}",
                        "prompt": prompt,
                        "response": answers[str(sample.index)],
                        "harmful": None,
                        "stratum": found[0],
                        "weight": found[1],
                    }


def _shares(sizes: Sequence[int], count: int) -> list[int]:
    """Equal numbers, small strata giving all they have and the others the rest."""
    filled = sum(size > 0 for size in sizes)
    if count < filled:
        raise ConfigError(f"draw at least {filled} answers: one for each stratum of scores")
    shares = [0] * len(sizes)
    left = min(count, sum(sizes))
    while left:
        open_ = [i for i, size in enumerate(sizes) if shares[i] < size]
        part = max(1, left // len(open_))
        # Rare high scores first, where a rest does not go round.
        for i in reversed(open_):
            more = min(part, sizes[i] - shares[i], left)
            shares[i] += more
            left -= more
    return shares


def _name(number: int) -> str:
    low, high = ((0.0, *EDGES)[number], (*EDGES, math.inf)[number])
    return f"score from {low:g}" if math.isinf(high) else f"score {low:g} to {high:g}"


def _answers(record: Record) -> Mapping[str, str]:
    """Texts by the number of their variant; blank ones leave nothing to label."""
    answers = (record.content or {}).get("answers")
    if not isinstance(answers, dict):
        return {}
    return {k: text for k, text in answers.items() if isinstance(text, str) and text.strip()}


def _prompt(record: Record) -> str:
    messages = (record.content or {}).get("messages")
    return Chat(model="", messages=tuple(messages)).prompt if isinstance(messages, list) else ""
