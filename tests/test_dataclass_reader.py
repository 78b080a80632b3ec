"""What a dataclass is read from: exactly its fields, exactly their types, and errors by name."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import pytest

from guardrail.dataclass_reader import DataclassReader, FieldError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Point:
    x: float
    y: float


@dataclass(frozen=True)
class Shape:
    name: str
    count: int
    flag: bool
    colour: Colour
    where: Point
    corners: tuple[Point, ...]
    size: tuple[int, int]
    maybe: int | None
    nearest: Point | None
    facts: Mapping[str, Any]
    extra: Any


SHAPE = Shape(
    name="a",
    count=3,
    flag=True,
    colour=Colour.RED,
    where=Point(0.5, 1.0),
    corners=(Point(0.0, 0.0), Point(1.0, 1.0)),
    size=(3, 4),
    maybe=None,
    nearest=Point(1.0, 2.0),
    facts={"k": [1]},
    extra=[None],
)


def data(**changes):
    plain = asdict(SHAPE)
    plain |= {"corners": [asdict(corner) for corner in SHAPE.corners], "size": [3, 4]}
    return {**plain, **changes}


def test_what_was_written_is_read_back():
    assert DataclassReader(Shape).read(data()) == SHAPE
    other = DataclassReader(Shape).read(data(maybe=7, nearest=None))
    assert (other.maybe, other.nearest) == (7, None)


@pytest.mark.parametrize("name", sorted(data()))
def test_a_missing_field_is_named(name):
    rest = {key: value for key, value in data().items() if key != name}
    with pytest.raises(FieldError, match=f"^the field '{name}' is missing$"):
        DataclassReader(Shape).read(rest)


@pytest.mark.parametrize("value", [None, [], "x", 1, ()])
def test_what_is_no_object_is_refused(value):
    with pytest.raises(FieldError, match="not an object"):
        DataclassReader(Shape).read(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", 1), ("name", None), ("count", True), ("count", 3.0), ("count", "3"),
        ("flag", 1), ("flag", None), ("colour", "green"), ("colour", ["red"]), ("colour", {}),
        ("where", [0.5, 1.0]), ("where", None), ("corners", {}), ("corners", [1]),
        ("corners", "ab"), ("size", [3]), ("size", [3, 4, 5]), ("size", [3.0, 4]),
        ("maybe", "7"), ("maybe", False), ("nearest", []), ("facts", []), ("facts", None),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(name, value):
    with pytest.raises(FieldError, match=f"the field '{name}' has a wrong type or value"):
        DataclassReader(Shape).read(data(**{name: value}))


@pytest.mark.parametrize("x", ["0.5", True, None, float("nan"), float("-inf")])
def test_a_float_is_one_and_finite(x):
    with pytest.raises(FieldError, match="'x' has a wrong type"):
        DataclassReader(Point).read({"x": x, "y": 0.0})


@pytest.mark.parametrize(("x", "fits"), [(1, True), (True, False), (10**400, False), ("1", False)])
def test_a_float_may_be_written_without_a_point(x, fits):
    reader = DataclassReader(Point)
    if fits:
        found = reader.read({"x": x, "y": 0.0})
        assert (found, type(found.x)) == (Point(1.0, 0.0), float)
    else:
        with pytest.raises(FieldError, match="'x' has a wrong type"):
            reader.read({"x": x, "y": 0.0})


def test_unknown_fields_are_named_but_those_that_are_ignored():
    reader = DataclassReader(Point, ignore={"sum"})
    assert reader.read({"x": 1.0, "y": 2.0, "sum": "anything"}) == Point(1.0, 2.0)
    with pytest.raises(FieldError, match=r"^it has the unknown field 'z'$"):
        reader.read({"x": 1.0, "y": 2.0, "z": 3.0})
    with pytest.raises(FieldError, match=f"'{'z' * 40}'$"):
        reader.read({"x": 1.0, "y": 2.0, "z" * 1000: 3.0})


def test_a_fault_inside_names_both_fields():
    message = "the field 'where' has a wrong type or value: it has the unknown field 'z'"
    with pytest.raises(FieldError, match=f"^{re.escape(message)}$"):
        DataclassReader(Shape).read(data(where={"x": 0.5, "y": 1.0, "z": 0.0}))
    # What is ignored beside the outer fields is not ignored inside.
    with pytest.raises(FieldError, match=r"'where' has a wrong type or value: .*'sum'"):
        DataclassReader(Shape, ignore={"sum"}).read(data(where={"x": 0.5, "y": 1.0, "sum": 0}))


def test_a_type_may_be_written_in_a_form_of_its_own():
    def read_pair(value):
        x, y = value
        return Point(x, y)

    reader = DataclassReader(Shape, special={Point: read_pair})
    found = reader.read(data(where=[0.5, 1.0], corners=[[0.0, 0.0], [1.0, 1.0]], nearest=None))
    assert (found.where, found.corners) == (SHAPE.where, SHAPE.corners)
    with pytest.raises(FieldError, match=r"'where' has a wrong type"):
        reader.read(data(where=[0.5], corners=[], nearest=None))
