"""A function of the rules: its types are read off its base class."""

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar, get_args

from osprey.engine.executor.execution_context import ExecutionContext

Arguments = TypeVar("Arguments")
RValue = TypeVar("RValue")


class UDFBase(Generic[Arguments, RValue], ABC):
    execute_async: ClassVar[bool] = False
    category: ClassVar[str | None] = None

    def __init__(self, validation_context: object, arguments: Arguments) -> None:
        pass

    @abstractmethod
    def execute(self, execution_context: ExecutionContext, arguments: Arguments) -> RValue: ...

    @classmethod
    def get_arguments_type(cls) -> type:
        return get_args(cls.__orig_bases__[0])[0]

    @classmethod
    def get_rvalue_type(cls) -> type:
        return get_args(cls.__orig_bases__[0])[1]
