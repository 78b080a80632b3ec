"""Reads JSON objects into frozen dataclasses: exactly their fields, exactly their types.

@dataclass(frozen=True)
class Count:
samples: int
harmful: int

DataclassReader(Count).read({"samples": 9, "harmful": 1})     # Count(9, 1)
DataclassReader(Count).read({"samples": 9})                   # the field 'harmful' is missing
DataclassReader(Count).read({"samples": True, "harmful": 1})  # the field 'samples' has a ...
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as resolve_type_hints

if TYPE_CHECKING:
    from collections.abc import Collection

    from guardrail.types import Json

__all__ = ["DataclassReader", "FieldError"]

_T = TypeVar("_T")
_Read: TypeAlias = Callable[[Any], Any]
_LONGEST_NAME_CHARS = 40


class FieldError(ValueError):
    """The value is not what the dataclass wants; the message names the field."""


class DataclassReader(Generic[_T]):
    """Reads one dataclass, and those inside it, from what `json.loads` returns.

    Fields may be `bool`, `int`, `float` (finite), `str`, enumerations, dataclasses, `Any`,
    `Mapping` (a JSON object, not looked into), tuples of these (a JSON array), and each of them
    or None. Nothing is converted: true is not the number 1, and a text is not an array.

    Args:
        cls: the dataclass. Its fields' types must be importable where it is defined.
        special: how values of certain types are read instead, such as a dataclass that is written
            as an array. These functions raise TypeError or ValueError.
        ignore: names that may stand beside the fields and are not read.
    """

    def __init__(
        self,
        cls: type[_T],
        *,
        special: Mapping[type, _Read] | None = None,
        ignore: Collection[str] = (),
    ) -> None:
        self._cls = cls
        self._special = special or {}
        self._ignore = frozenset(ignore)

    def read(self, data: Json) -> _T:
        """The dataclass.

        Raises:
            FieldError: names a field that is missing, unknown or of the wrong type.
        """
        whole: _T = self._read_fields(self._cls, self._readers, data, self._ignore)
        return whole

    @cached_property
    def _readers(self) -> dict[str, _Read]:
        return self._readers_of(self._cls)

    def _readers_of(self, cls: type) -> dict[str, _Read]:
        hints = resolve_type_hints(cls)
        return {field.name: self._reader_of(hints[field.name]) for field in dataclasses.fields(cls)}

    def _read_fields(
        self,
        cls: Callable[..., Any],
        readers: Mapping[str, _Read],
        data: Json,
        ignore: frozenset[str] = frozenset(),
    ) -> Any:
        if type(data) is not dict:
            raise FieldError("not an object")
        if unknown := data.keys() - readers.keys() - ignore:
            name = min(map(str, unknown))[:_LONGEST_NAME_CHARS]
            raise FieldError(f"it has the unknown field '{name}'")
        return cls(**{name: _read_field(data, name, read) for name, read in readers.items()})

    def _reader_of(self, kind: Any) -> _Read:
        """How values of a type are read; nested types are resolved once, here."""
        arguments = get_args(kind)
        origin = get_origin(kind) or kind
        if kind in self._special:
            return self._special[kind]
        if kind is Any:
            return lambda value: value
        if origin in (Union, types.UnionType):
            (inner,) = (argument for argument in arguments if argument is not types.NoneType)
            return _or_none(self._reader_of(inner))
        if origin is tuple:
            return self._tuple_reader(arguments)
        if origin is Mapping:
            return _exactly(dict)
        if kind is float:
            return self._read_float
        return self._class_reader(kind)

    def _class_reader(self, cls: type) -> _Read:
        if dataclasses.is_dataclass(cls):
            readers = self._readers_of(cls)
            return lambda value: self._read_fields(cls, readers, value)
        return cls if issubclass(cls, Enum) else _exactly(cls)

    def _tuple_reader(self, arguments: tuple[Any, ...]) -> _Read:
        """Of `tuple[int, ...]` any number of items, of `tuple[int, int]` exactly two."""
        read_list = _exactly(list)
        if arguments[-1] is Ellipsis:
            read_item = self._reader_of(arguments[0])
            return lambda value: tuple(read_item(item) for item in read_list(value))
        readers = [self._reader_of(argument) for argument in arguments]
        return lambda value: tuple(
            read(item) for read, item in zip(readers, read_list(value), strict=True)
        )

    def _read_float(self, value: Json) -> float:
        whole = type(value) is int  # the canonical form writes 1.0 as 1
        number = float(value) if whole else _exactly(float)(value)
        if not math.isfinite(number):
            raise ValueError("not a finite number")
        return number


def _read_field(data: Mapping[str, Json], name: str, read: _Read) -> Any:
    if name not in data:
        raise FieldError(f"the field '{name}' is missing")
    try:
        return read(data[name])
    except FieldError as error:
        raise FieldError(f"the field '{name}' has a wrong type or value: {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise FieldError(f"the field '{name}' has a wrong type or value") from error


def _or_none(read: _Read) -> _Read:
    return lambda value: None if value is None else read(value)


def _exactly(kind: type[_T]) -> Callable[[Json], _T]:
    def read(value: Json) -> _T:
        if type(value) is not kind:
            raise TypeError(f"not a {kind.__name__}")
        return value

    return read
