"""Sets a context variable for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from contextvars import ContextVar, Token

__all__ = ["SetVariable"]

_T = TypeVar("_T")


class SetVariable(Generic[_T]):
    """A context in which a variable has a value, for this task and those that it begins meanwhile.

    A generator in its place takes several times as long, and every request enters some of them.
    """

    __slots__ = ("_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[_T], value: _T) -> None:
        self._variable = variable
        self._value = value

    def __enter__(self) -> None:
        self._token: Token[_T] = self._variable.set(self._value)

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)
