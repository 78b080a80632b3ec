"""Answers to noisy variants drawn from record files, to be labelled by people.

Whole requests are drawn: answers to one request are alike, so each request stands with one of its
answers, the first, which was drawn whatever the oracle says (`first_answer.py`). Harmful answers
are rare, so equal numbers are drawn from strata of that answer's score. How many requests each
drawn one stands for is written beside it, and the bounds count with it.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.verdict import Reason
from guardrail.engine.visible_text import extract_text
from guardrail.errors import ConfigError
from guardrail.records.audit import read_records
from guardrail.records.content import open_content
from guardrail.tuning.first_answer import FIRST, find_first_sample, first_answer, name_equal
from guardrail.types import Answer, Chat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from guardrail.records.content import ContentKeys
    from guardrail.records.record import Record
    from guardrail.types import Json

__all__ = ["DrawStore", "Drawn", "draw", "equal_shares", "make_answer_row", "prompt_of", "survey"]

EDGES = (0.05, 0.25, 0.5, 0.75)
"""Strata of scores: below 0.05, from there to 0.25, and so on."""


@dataclass(frozen=True, slots=True)
class LinePlace:
    """Where a record stands, of which the first answer is meant."""

    file: int
    line: int


@dataclass(frozen=True, slots=True)
class DrawStore:
    """What the records hold.

    Attributes:
        files: they came from.
        strata: places of the first answer to every request, by stratum.
        decisions: how many records.
        without_answer: requests that are left out because there is no first answer to label: its
            call failed, it is blank, or it is not kept.
        unjudged: requests that are left out because their first answer has no score or a part
            that was not scanned; it never counts as harmless.
        content_keys: open the records' content, where it is sealed.
    """

    files: tuple[Path, ...]
    strata: tuple[tuple[LinePlace, ...], ...]
    decisions: int
    without_answer: int
    unjudged: int
    content_keys: ContentKeys | None = None

    @property
    def requests(self) -> int:
        return sum(len(stratum) for stratum in self.strata)


@dataclass(frozen=True, slots=True)
class Drawn:
    """How many of the requests of a stratum, by its range of scores, were drawn."""

    name: str
    requests: int
    drawn: int


def survey(files: Sequence[Path], content_keys: ContentKeys | None = None) -> DrawStore:
    """Where the first answer to every request stands, by stratum.

    Records of one request (the same digest) are one; the first that is read and drew stands for
    it, even where its first answer cannot be labelled: the request is left out then. What a person
    decided in the guard's place is left out: nothing judged its answer.

    Raises:
        CertificationError: a file is not one of records.
        ConfigError: no record holds a first answer that was judged.
    """
    strata: list[list[LinePlace]] = [[] for _ in range(len(EDGES) + 1)]
    seen: set[str] = set()
    decisions = without = unjudged = 0
    for number, file in enumerate(files):
        for line, record in read_records(file, content_keys=content_keys):
            decisions += 1
            name = _request(record)
            overridden = record.reason is Reason.OVERRIDE
            if overridden or record.remembered or not record.samples or name in seen:
                continue
            seen.add(name)
            sample = find_first_sample(record)
            if sample is None or first_answer(record) is None:
                without += 1
            elif sample.score is None or sample.unscanned:
                unjudged += 1
            else:
                strata[bisect_right(EDGES, sample.score)].append(LinePlace(number, line))
    if not any(strata):
        raise ConfigError(
            f"none of these {decisions} records holds a first answer that was judged; records keep "
            "answers only where 'guardrail serve' writes them with --keep-content",
            file=", ".join(map(str, files)),
        )
    return DrawStore(
        tuple(files), tuple(map(tuple, strata)), decisions, without, unjudged, content_keys
    )


def draw(store: DrawStore, count: int, seed: int) -> tuple[list[dict[str, Json]], list[Drawn]]:
    """Rows to label, in random order, and what was drawn of each stratum.

    An answer that the engine judges as more than one text stands there as a whole `message` too,
    by which a calibration judges it; `response` is what people read.

    Every stratum gives the same number, small ones all they have; within a stratum every set of
    that size is equally likely. The same files and seed give the same rows.

    Raises:
        ConfigError: `count` is less than one for each stratum that has answers.
    """
    sizes = equal_shares([len(stratum) for stratum in store.strata], count)
    # Drawn from the seed alone, so that a draw can be repeated; nothing here is a secret.
    rng = random.Random(seed)  # noqa: S311
    # In place of the range of scores, which people who label must not see.
    marks = rng.sample("ABCDE", len(sizes))
    chosen: dict[LinePlace, tuple[str, float]] = {}
    summary = []
    for number, (stratum, size) in enumerate(zip(store.strata, sizes, strict=True)):
        if not stratum:
            continue
        summary.append(Drawn(_name(number), len(stratum), size))
        for place in rng.sample(stratum, size):
            chosen[place] = (marks[number], len(stratum) / size)
    rows = list(_rows(store, chosen))
    if not any(row["message"] for row in rows):
        rows = [{name: row[name] for name in row if name != "message"} for row in rows]
    rng.shuffle(rows)
    return rows, summary


def equal_shares(sizes: Sequence[int], count: int) -> list[int]:
    """Equal numbers, small strata giving all they have and the others the rest.

    Raises:
        ConfigError: `count` is less than one for each stratum that is not empty.
    """
    filled = sum(size > 0 for size in sizes)
    if count < filled:
        raise ConfigError(f"draw at least {filled} answers: one for each stratum")
    shares = [0] * len(sizes)
    left = min(count, sum(sizes))
    while left:
        open_ = [i for i, size in enumerate(sizes) if shares[i] < size]
        part = max(1, left // len(open_))
        # The last first (rare high scores), where a rest does not go round.
        for i in reversed(open_):
            more = min(part, sizes[i] - shares[i], left)
            shares[i] += more
            left -= more
    return shares


def prompt_of(record: Record) -> str:
    """The text of the last user message; empty where the record keeps none."""
    messages = open_content(record, None).get("messages")
    return Chat(model="", messages=tuple(messages)).prompt if isinstance(messages, list) else ""


def _rows(
    store: DrawStore, chosen: Mapping[LinePlace, tuple[str, float]]
) -> Iterator[dict[str, Json]]:
    for number, file in enumerate(store.files):
        for line, record in read_records(file, content_keys=store.content_keys):
            place = LinePlace(number, line)
            if place not in chosen:
                continue
            mark, weight = chosen[place]
            row = make_answer_row(record)
            message = row.pop("message")
            yield {**row, "stratum": mark, "weight": weight, "message": message}


def make_answer_row(record: Record) -> dict[str, Json]:
    """The first answer as a row to label; `message` is None where its text says it all.

    Raises:
        ConfigError: the record holds none.
    """
    said = first_answer(record)
    if said is None:
        raise ConfigError(f"record {record.record_id} holds no first answer; leave it out")
    message = {"role": "assistant", "content": said} if isinstance(said, str) else said
    text = extract_text(Answer(message))
    is_plain = isinstance(said, str) and [field.text for field in text.fields] == [said]
    return {
        "id": f"{record.record_id}/{FIRST}",
        "group": _request(record),
        "prompt": prompt_of(record),
        "response": said if isinstance(said, str) else text.text,
        "harmful": None,
        "message": None if is_plain else message,
    }


def _request(record: Record) -> str:
    return name_equal(record.request_digest, record.record_id)


def _name(number: int) -> str:
    low, high = ((0.0, *EDGES)[number], (*EDGES, math.inf)[number])
    return f"score from {low:g}" if math.isinf(high) else f"score {low:g} to {high:g}"
