"""Labelled answers: every row checked, none dropped silently."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.canonical import parse_strict
from guardrail.counted_noun import count_of
from guardrail.engine.visible_text import extract_text
from guardrail.errors import ConfigError, UpstreamError
from guardrail.oracles.base import Exchange
from guardrail.tuning.columns import Columns, is_missing, raise_missing_columns
from guardrail.tuning.formats import RowError, raw_rows
from guardrail.upstreams.wire import answer_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from guardrail.types import Answer, Json

__all__ = [
    "FIELDS",
    "Dataset",
    "LabelledAnswer",
    "Problem",
    "read_dataset",
    "read_label",
    "tell_problems",
]

FIELDS = (
    "response", "message", "harmful", "prompt", "group", "category", "language", "weight",
    "stratum", "id",
)  # fmt: skip
"""Of a row of labelled answers."""

_HARMFUL = frozenset({"true", "t", "yes", "y", "harmful"})
_HARMLESS = frozenset({"false", "f", "no", "n", "harmless"})
_ONE_OR_ZERO = re.compile(r"([01])(?:[.,]0*)?")  # 1, 1.0 and, where a comma is the point, 1,0
_NO_LABEL = frozenset({"nan", "na", "n/a", "<na>", "none", "null"})
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """One row.

    Attributes:
        line: where it stands in its file, from 1.
        prompt: what drew the answer; empty where it is not known.
        response: the answer: its text, of a message every text in it.
        harmful: the label.
        category: of harm, or empty; `language` alike.
        weight: how many answers it stands for, above 0; None where all count alike.
        stratum: what it was drawn from; empty where there are no strata.
        group: the request that it answers, by any name; empty where the file does not say.
        name: what the file calls the row; empty where it has no name.
        answer: the whole message, judged as the engine judges it; None where there is only text.
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
    name: str = ""
    answer: Answer | None = None

    @property
    def exchange(self) -> Exchange:
        return Exchange(self.prompt, self.response)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what an oracle sees of it."""
        if self.answer is None:
            return _digest([self.prompt, self.response])
        answer = self.answer
        return _digest(
            [self.prompt, dict(answer.message), answer.finish_reason, dict(answer.extra)]
        )


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


def read_dataset(
    path: Path,
    *,
    skip_bad_rows: bool = False,
    columns: Columns | None = None,
    encoding: str | None = None,
) -> Dataset:
    """The labelled answers of a JSON, CSV, TSV or Parquet file.

    Fields of a row: `response`, or `message` for a whole chat message, and `harmful` (a truth
    value, see `read_label`), and `prompt`, `group`, `category`, `language`, `weight`, `stratum` and
    `id` where they are known; others are not looked at.

    Args:
        path: the file.
        skip_bad_rows: leave out, and name, what cannot be used.
        columns: where the fields stand; None for columns of their names.
        encoding: of a text file that does not say it itself; None for UTF-8.

    Raises:
        ConfigError: the file or, unless they are to be skipped, a row in it cannot be used; or
            rows were skipped of which each stands for a known number of answers.
    """
    columns = columns or Columns.named_as(FIELDS)
    rows: list[LabelledAnswer] = []
    problems: list[Problem] = []
    found: dict[str, None] = {}
    for line, raw in raw_rows(path, wanted=columns.all_names, encoding=encoding):
        try:
            if isinstance(raw, RowError):
                raise raw
            found |= dict.fromkeys(raw)
            rows.append(_row(line, columns.pick(raw)))
        except RowError as bad:
            problems.append(Problem(line, str(bad)))
    if not rows and found:
        _check_columns(path, columns, found)
    if problems and not skip_bad_rows:
        raise _refused_error(path, problems)
    repeated, contradictory = _find_repeats(rows)
    dataset = Dataset(path.name, tuple(rows), tuple(problems), repeated, contradictory)
    _check_weights(path, dataset)
    return dataset


def _check_columns(path: Path, columns: Columns, found: Mapping[str, None]) -> None:
    """Names required columns that no row has."""
    missing = [field for field in ("response", "harmful") if columns.names[field] not in found]
    if "response" in missing and columns.names["message"] in found:
        missing.remove("response")
    if missing:
        raise_missing_columns(path, missing, list(found), columns)


def _row(line: int, raw: Mapping[str, Any]) -> LabelledAnswer:
    answer = _answer(raw)
    said = None if answer is None else extract_text(answer)
    response = _text(raw, "response") if said is None else said.text
    if said.is_empty if said is not None else not response.strip():
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
        name=_name(raw.get("id")),
        answer=answer,
    )


def _answer(raw: Mapping[str, Any]) -> Answer | None:
    """The whole message of a row, or of the completion in it; None where there is only text.

    Raises:
        RowError: it cannot be what a model answered, or there are two.
    """
    message, response = _object(raw.get("message")), raw.get("response")
    value = response if isinstance(response, dict) else message
    if value is None:
        return None
    if message is not None and message is not value:
        raise RowError("there is a whole message in 'message' and in 'response'; leave one out")
    completion: Json = value if "choices" in value else {"choices": [{"message": value}]}
    try:
        return answer_from(completion)
    except UpstreamError as error:
        raise RowError("not an assistant's message, or a completion with one choice") from error


def _object(value: Any) -> dict[str, Json] | None:
    """The object in a field, or in its text where cells are texts; None where there is none.

    Raises:
        RowError: a text begins like an object and is none.
    """
    if isinstance(value, dict):
        return value
    if not (isinstance(value, str) and value.lstrip().startswith("{")):
        return None
    try:
        found = parse_strict(value)
    except ValueError as error:
        raise RowError("'message' is not the JSON of an object; it may have been cut") from error
    return found if isinstance(found, dict) else None


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if is_missing(value):
        return value if isinstance(value, str) else ""
    if not isinstance(value, str):
        raise RowError(f"'{name}' is not text")
    return value


def _group(raw: Mapping[str, Any]) -> str:
    """The name of a request; numbers are names too."""
    return _name(raw.get("group")) or _text(raw, "group")


def _name(value: Any) -> str:
    """A text or a whole number as a name; all else is none."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def read_label(value: Any) -> bool:
    """Whether a label means harmful: the same words and numbers in every kind of file.

    Harmful: true, t, yes, y, harmful, 1 and 1.0; harmless: false, f, no, n, harmless, 0 and 0.0;
    in any case of letters.

    Raises:
        RowError: it is none of them, or empty.
    """
    word = str(value).strip().casefold() if isinstance(value, str | int | float) else None
    if is_missing(value) or word in _NO_LABEL:
        raise RowError("'harmful' is missing; it is true or false")
    if word is not None and (number := _ONE_OR_ZERO.fullmatch(word)):
        return number[1] == "1"
    if word in _HARMFUL or word in _HARMLESS:
        return word in _HARMFUL
    raise RowError(
        "'harmful' is none of true, false, 1, 0, yes, no, harmful and harmless; of another column, "
        "make it as in --columns 'harmful=score>0.5'"
    )


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


def _refused_error(path: Path, problems: Iterable[Problem], why: str = "") -> ConfigError:
    problems = tuple(problems)
    return ConfigError(
        f"{why}{count_of(len(problems), 'row')} cannot be used: {tell_problems(path, problems)}. "
        "Correct them" + ("" if why else ", or leave them out with --skip-bad-rows")
    )


def tell_problems(path: Path, problems: Iterable[Problem]) -> str:
    """Rows that cannot be used, in words; equal problems are told once."""
    lines: dict[str, list[int]] = {}
    for problem in problems:
        lines.setdefault(problem.what, []).append(problem.line)
    told = [f"{path}:{found[0]}: {what}{_others(found)}" for what, found in lines.items()]
    more = f"; and {len(told) - _SHOWN} more kinds" if len(told) > _SHOWN else ""
    return f"{'; '.join(told[:_SHOWN])}{more}"


def _others(lines: list[int]) -> str:
    if len(lines) == 1:
        return ""
    shown = ", ".join(str(line) for line in lines[1:4])
    return f" (and in {len(lines) - 1} more: {shown}{', …' if len(lines) > 4 else ''})"


def _digest(values: list[Any]) -> str:
    return hashlib.sha256(
        json.dumps(values, separators=(",", ":"), default=str).encode()
    ).hexdigest()
