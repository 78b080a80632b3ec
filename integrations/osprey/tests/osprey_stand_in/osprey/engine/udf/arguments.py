"""Arguments by name; those that are not given have the value that stands in the class."""

from typing import Any, get_type_hints


class ArgumentsBase:
    def __init__(
        self,
        call_node: object,  # noqa: ARG002 (Osprey's)
        arguments: dict[str, Any],
        resolved: bool = False,  # noqa: ARG002
    ) -> None:
        for name, value in arguments.items():
            assert name in self.items(), f"there is no argument {name}"
            setattr(self, name, value)

    @classmethod
    def items(cls) -> dict[str, type]:
        return get_type_hints(cls)
