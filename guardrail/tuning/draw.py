"""Answers to noisy variants drawn from record files, to be labelled by people.

Whole requests are drawn: answers to one request are alike, so each request stands with one of its
answers, picked at random. Harmful answers are rare, so equal numbers are drawn from strata of the
oracle's score. How many requests each drawn one stands for is written beside it, and the bounds
count with it.
"""

from __future__ import annotations

import hashlib
import math
import random
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.visible_text import extract_text
from guardrail.errors import ConfigError
from guardrail.records.audit import read_records
from guardrail.records.content import open_content
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
    """Where an answer stands: file, line and number of the variant."""

    file: int
    line: int
    index: int


@dataclass(frozen=True, slots=True)
class DrawStore:
    """What the records hold.

    Attributes:
        files: they came from.
        strata: places of one answer of every request, by stratum.
        decisions: how many records; `without_content` of them hold no answers, though something
            was drawn.
        answers: judged answers in all of them.
        unjudged: answers with no score or with a part that was not scanned; never drawn, because
            they never count as harmless.
        content_keys: open the records' content, where it is sealed.
    """

    files: tuple[Path, ...]
    strata: tuple[tuple[LinePlace, ...], ...]
    decisions: int
    without_content: int
    answers: int
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


def survey(files: Sequence[Path], seed: int, content_keys: ContentKeys | None = None) -> DrawStore:
    """Where one judged answer of every request stands, by stratum.

    Records of one request (the same digest) are one; of all its judged answers the one with the
    least keyed hash is taken, whatever its score.

    Raises:
        CertificationError: a file is not one of records.
        ConfigError: no record holds answers.
    """
    least: dict[str, tuple[bytes, float, LinePlace]] = {}
    decisions = without = judged = unjudged = 0
    for number, file in enumerate(files):
        for line, record in read_records(file, content_keys=content_keys):
            decisions += 1
            answers = _answers(record)
            without += not (answers or record.remembered)
            for sample in record.samples:
                if str(sample.index) not in answers:
                    continue
                if sample.score is None or sample.unscanned:
                    unjudged += 1
                    continue
                judged += 1
                name = _request(record)
                found = (
                    _rank(seed, record, sample.index),
                    sample.score,
                    LinePlace(number, line, sample.index),
                )
                least[name] = min(found, least.get(name, found), key=lambda one: one[0])
    if not least:
        raise ConfigError(
            f"none of these {decisions} records holds an answer that was judged; records keep "
            "answers only where 'guardrail serve' writes them with --keep-content",
            file=", ".join(map(str, files)),
        )
    strata: list[list[LinePlace]] = [[] for _ in range(len(EDGES) + 1)]
    for _, score, place in least.values():
        strata[bisect_right(EDGES, score)].append(place)
    return DrawStore(
        tuple(files), tuple(map(tuple, strata)), decisions, without, judged, unjudged, content_keys
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
    index_at = {(place.file, place.line): place.index for place in chosen}
    for number, file in enumerate(store.files):
        for line, record in read_records(file, content_keys=store.content_keys):
            index = index_at.get((number, line))
            if index is None:
                continue
            mark, weight = chosen[LinePlace(number, line, index)]
            row = make_answer_row(record, index)
            message = row.pop("message")
            yield {**row, "stratum": mark, "weight": weight, "message": message}


def make_answer_row(record: Record, index: int) -> dict[str, Json]:
    """The answer to one variant as a row to label; `message` is None where its text says it all."""
    said = _answers(record)[str(index)]
    message = {"role": "assistant", "content": said} if isinstance(said, str) else said
    text = extract_text(Answer(message))
    is_plain = isinstance(said, str) and [field.text for field in text.fields] == [said]
    return {
        "id": f"{record.record_id}/{index}",
        "group": _request(record),
        "prompt": prompt_of(record),
        "response": said if isinstance(said, str) else text.text,
        "harmful": None,
        "message": None if is_plain else message,
    }


def _rank(seed: int, record: Record, index: int) -> bytes:
    return hashlib.sha256(f"{seed}/{record.record_id}/{index}".encode()).digest()


def _request(record: Record) -> str:
    return record.request_digest or record.record_id


def _name(number: int) -> str:
    low, high = ((0.0, *EDGES)[number], (*EDGES, math.inf)[number])
    return f"score from {low:g}" if math.isinf(high) else f"score {low:g} to {high:g}"


def _answers(record: Record) -> Mapping[str, str | dict[str, Json]]:
    """Texts and messages by the number of their variant; blank ones leave nothing to label."""
    answers = open_content(record, None).get("answers")
    if not isinstance(answers, dict):
        return {}
    return {
        number: said
        for number, said in answers.items()
        if (isinstance(said, str) and said.strip())
        or (isinstance(said, dict) and extract_text(Answer(said)).text.strip())
    }
