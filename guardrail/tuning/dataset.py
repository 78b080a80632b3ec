"""Labelled answers: every row checked, none dropped silently."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError
from guardrail.oracles.base import Exchange
from guardrail.tuning.formats import RowError, raw_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Dataset", "LabelledAnswer", "Problem", "read_dataset", "read_label"]

_LABELS = {
    "true": True, "1": True, "yes": True, "harmful": True,
    "false": False, "0": False, "no": False, "harmless": False,
}  # fmt: skip
_SHOWN = 10
# Without a first line of names, a CSV file's answers would stand there; those are never quoted.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,29}")


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """One row.

    Attributes:
        line: where it stands in its file, from 1.
        prompt: what drew the answer; empty where it is not known.
        response: the answer.
        harmful: the label.
        category: of harm, or empty; `language` alike.
        weight: how many answers it stands for, above 0; None where all count alike.
        stratum: what it was drawn from; empty where there are no strata.
        group: the request that it answers, by any name; empty where the file does not say.
    """

    line: int
    prompt: str
    response: str
    harmful: bool
    category: str = ""
    language: str = ""
    weight: float | None = None
    stratum: str = ""
    group: str = ""

    @property
    def exchange(self) -> Exchange:
        return Exchange(self.prompt, self.response)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what an oracle sees of it."""
        return _digest([self.prompt, self.response])


@dataclass(frozen=True, slots=True)
class Problem:
    """A row that could not be used."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file of labelled answers.

    Attributes:
        name: of the file.
        rows: what can be used, in order.
        problems: what was skipped; empty unless skipping was asked for.
        repeated: lines with a prompt and answer that stood there before.
        contradictory: those among them with another label.
    """

    name: str
    rows: tuple[LabelledAnswer, ...]
    problems: tuple[Problem, ...]
    repeated: tuple[int, ...]
    contradictory: tuple[int, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over all that is used of the rows, in order."""
        total = hashlib.sha256()
        for row in self.rows:
            facts = [row.harmful, row.category, row.language, row.weight, row.stratum, row.group]
            total.update(_digest([row.prompt, row.response, *facts]).encode())
        return total.hexdigest()

    @property
    def weighted(self) -> bool:
        return any(row.weight is not None for row in self.rows)


def read_dataset(path: Path, *, skip_bad_rows: bool = False) -> Dataset:
    """The labelled answers of a JSONL, CSV or Parquet file.

    Fields of a row: `response` and `harmful` (true, false, 1, 0, yes, no, harmful, harmless), and
    `prompt`, `group`, `category`, `language`, `weight` and `stratum` where they are known; others
    are not looked at.

    Raises:
        ConfigError: the file or, unless they are to be skipped, a row in it cannot be used; or
            rows were skipped of which each stands for a known number of answers.
    """
    rows: list[LabelledAnswer] = []
    problems: list[Problem] = []
    columns: list[str] = []
    for line, raw in raw_rows(path):
        columns = columns or [*raw] if isinstance(raw, dict) else columns
        try:
            rows.append(_row(line, raw))
        except RowError as bad:
            problems.append(Problem(line, str(bad)))
    if problems and not skip_bad_rows:
        raise _refused_error(path, problems, columns=() if rows else columns)
    repeated, contradictory = _find_repeats(rows)
    found = Dataset(path.name, tuple(rows), tuple(problems), repeated, contradictory)
    _check_weights(path, found)
    return found


def _row(line: int, raw: Mapping[str, Any] | RowError) -> LabelledAnswer:
    if isinstance(raw, RowError):
        raise raw
    response = _text(raw, "response")
    if not response.strip():
        raise RowError("'response' is missing or empty")
    return LabelledAnswer(
        line=line,
        prompt=_text(raw, "prompt"),
        response=response,
        harmful=read_label(raw.get("harmful")),
        category=_text(raw, "category"),
        language=_text(raw, "language"),
        weight=_weight(raw.get("weight")),
        stratum=_text(raw, "stratum"),
        group=_group(raw),
    )


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError(f"'{name}' is not text")
    return value


def _group(raw: Mapping[str, Any]) -> str:
    """The name of a request; numbers are names too."""
    value = raw.get("group")
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else _text(raw, "group")


def read_label(value: Any) -> bool:
    """Whether a label means harmful. Raises RowError."""
    if value is None or value == "":
        raise RowError("'harmful' is missing; it is true or false")
    known = isinstance(value, bool | int | float | str)
    word = str(int(value)) if value in (0, 1) else str(value).strip().lower()
    if not known or word not in _LABELS:
        raise RowError("'harmful' is none of true, false, 1, 0, yes, no, harmful and harmless")
    return _LABELS[word]


def _weight(value: Any) -> float | None:
    if value is None:
        return None
    try:
        weight = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not (weight > 0.0 and math.isfinite(weight)):
        raise RowError("'weight' is not a number above 0")
    return weight


def _find_repeats(rows: Iterable[LabelledAnswer]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    labels: dict[str, bool] = {}
    repeated, contradictory = [], []
    for row in rows:
        key = row.digest
        if key in labels:
            repeated.append(row.line)
        if labels.setdefault(key, row.harmful) != row.harmful:
            contradictory.append(row.line)
    return tuple(repeated), tuple(contradictory)


def _check_weights(path: Path, found: Dataset) -> None:
    """Weights must say the same of all rows of a stratum, and of every row; one row a request."""
    if not found.weighted:
        if any(row.stratum for row in found.rows):
            raise ConfigError(
                "there are strata but no weights; give each row the 'weight' of its stratum (how "
                "many answers it stands for), or leave 'stratum' out",
                file=str(path),
            )
        return
    if found.problems:
        raise _refused_error(
            path, found.problems, "weighted rows cannot be skipped; correct them: "
        )
    weights: dict[str, float] = {}
    groups: set[str] = set()
    for row in found.rows:
        if row.group in groups:
            raise ConfigError(
                "this weighted row answers a request that has a row already; draw one answer a "
                "request ('guardrail calibrate --from-records' does), or leave the weights out",
                file=str(path),
                line=row.line,
            )
        groups |= {row.group} - {""}
        if row.weight is None:
            raise ConfigError("only some rows have a 'weight'", file=str(path), line=row.line)
        if row.stratum and weights.setdefault(row.stratum, row.weight) != row.weight:
            raise ConfigError(
                "the weight is not that of the other rows of its stratum",
                file=str(path),
                line=row.line,
            )
    if weights and not all(row.stratum for row in found.rows):
        raise ConfigError("only some rows have a 'stratum'", file=str(path))


def _refused_error(
    path: Path, problems: Iterable[Problem], why: str = "", *, columns: Sequence[str] = ()
) -> ConfigError:
    """Equal problems are told once; `columns` are those of a file of which no row is good."""
    lines: dict[str, list[int]] = {}
    for problem in problems:
        lines.setdefault(problem.what, []).append(problem.line)
    told = [f"{path}:{found[0]}: {what}{_others(found)}" for what, found in lines.items()]
    more = f"; and {len(told) - _SHOWN} more kinds" if len(told) > _SHOWN else ""
    plain = [name for name in columns if _PLAIN_NAME.fullmatch(name)]
    here = f" (the first row has the columns {', '.join(plain[:_SHOWN])})" if plain else ""
    return ConfigError(
        f"{why}{sum(map(len, lines.values()))} rows cannot be used: {'; '.join(told[:_SHOWN])}"
        f"{more}{here}. Correct them" + ("" if why else ", or leave them out with --skip-bad-rows")
    )


def _others(lines: Sequence[int]) -> str:
    if len(lines) == 1:
        return ""
    shown = ", ".join(str(line) for line in lines[1:4])
    return f" (and in {len(lines) - 1} more: {shown}{', …' if len(lines) > 4 else ''})"


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values, separators=(",", ":")).encode()).hexdigest()
