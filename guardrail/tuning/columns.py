"""Which columns of a table hold which fields, and what is said where they are not there."""

from __future__ import annotations

import csv
import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.errors import ConfigError
from guardrail.tuning.formats import RowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Columns", "is_missing", "parse_columns", "raise_missing_columns"]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_EQUALITY = ("==", "!=")
_ITEM = re.compile(
    r"(?P<field>\w+)=(?P<name>[^=].*?)(?:(?P<sign>>=|<=|==|!=|>|<)(?P<value>[^<>=!]*))?", re.DOTALL
)
# Without a first line of names, a CSV file's answers would stand there; those are never quoted.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A label that is made of a column: `human_score>0.5`, or `verdict==unsafe`."""

    sign: str
    value: float | str

    def holds(self, field: str, name: str, cell: Any) -> bool | None:
        """Whether the cell is so; None where it is empty.

        Raises:
            RowError: the cell is not a number, where one is compared.
        """
        if is_missing(cell):
            return None
        number = _number(cell)
        if isinstance(self.value, str):
            return _COMPARE[self.sign](str(cell).strip().casefold(), self.value.casefold())
        if number is None:
            raise RowError(f"'{name}', of which '{field}' is made, is not a number")
        return _COMPARE[self.sign](number, self.value)


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the fields of a row stand.

    Attributes:
        names: the column of each field.
        comparisons: of fields that are true or false by what their column says.
    """

    names: Mapping[str, str]
    comparisons: Mapping[str, _Comparison]

    @classmethod
    def named_as(cls, fields: Iterable[str]) -> Columns:
        """Every field in the column of its own name."""
        return cls({field: field for field in fields}, {})

    @property
    def all_names(self) -> frozenset[str]:
        """The names of all columns that are looked at."""
        return frozenset(self.names.values())

    def pick(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a row. Raises RowError."""
        row = {field: raw.get(name) for field, name in self.names.items()}
        for field, comparison in self.comparisons.items():
            row[field] = comparison.holds(field, self.names[field], row[field])
        return row


def parse_columns(text: str, fields: Sequence[str], *, compared: Sequence[str] = ()) -> Columns:
    """What `response=assistant_response,harmful=human_score>0.5` says.

    Args:
        text: pairs with commas between them; one with a comma in it stands in double quotes.
        fields: that there are; those that are not named keep the column of their own name.
        compared: those that may be made by a comparison.

    Raises:
        ConfigError: something in it is wrong.
    """
    names = {field: field for field in fields}
    comparisons: dict[str, _Comparison] = {}
    seen: set[str] = set()
    for item in next(csv.reader([text]), []):
        found = _ITEM.fullmatch(item.strip())
        if found is None:
            raise ConfigError(
                f"'{item}' is not FIELD=COLUMN; write pairs such as response=answer,harmful=label"
            )
        field, name = found["field"], found["name"].strip()
        if field not in names:
            raise ConfigError(f"there is no field '{field}'; known are {', '.join(fields)}")
        if field in seen:
            raise ConfigError(f"the field '{field}' is given twice; keep one")
        seen.add(field)
        names[field] = name
        if found["sign"]:
            if field not in compared:
                raise ConfigError(f"'{field}' cannot be made by a comparison; name its column")
            comparisons[field] = _comparison(found["sign"], found["value"].strip())
    return Columns(names, comparisons)


def is_missing(value: Any) -> bool:
    """Whether a cell says nothing; NaN is what pandas writes for that."""
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


def raise_missing_columns(
    path: Path, missing: Sequence[str], found: Sequence[str], columns: Columns
) -> None:
    """Says once that a table lacks columns, and which it has.

    Raises:
        ConfigError: always.
    """
    names = " or ".join(f"'{columns.names[field]}'" for field in missing)
    plain = [name for name in found if _PLAIN_NAME.fullmatch(name)]
    if plain:
        others = len(found) - len(plain[:_SHOWN])
        more = f" and {others} more" if others else ""
        here = f"the columns here are {', '.join(plain[:_SHOWN])}{more}"
    else:
        here = (
            "a table begins with the names of its columns (between commas, semicolons, tabs or |), "
            "and there are none here"
        )
    meant = {name.casefold(): name for name in reversed(plain)}
    example = ",".join(f"{field}={meant.get(field, 'COLUMN')}" for field in missing)
    raise ConfigError(
        f"there is no column {names}; {here}. Name them with --columns {example}", file=str(path)
    )


def _comparison(sign: str, value: str) -> _Comparison:
    number = _number(value)
    if number is None and (sign not in _EQUALITY or not value):
        raise ConfigError(f"'{sign}{value}' compares with no number; write it like >0.5")
    return _Comparison(sign, value if number is None else number)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
