"""The type of a field that holds the section of any oracle, for policies and for options.

The class of options is found when a section is validated, by its `kind`: nothing is imported for
kinds that no policy names.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import ValidationError
from pydantic_core import PydanticCustomError, core_schema

from guardrail.errors import ConfigError
from guardrail.oracles.options import OracleOptions
from guardrail.oracles.registry import builtin_kinds, find_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

__all__ = ["OracleByKind"]


class _ByKind:
    """Validates a section by the class of options that its `kind` names."""

    def __get_pydantic_core_schema__(self, *_: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(_validate)

    def __get_pydantic_json_schema__(
        self, _: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """One definition for all fields of this type, since oracles can hold oracles."""
        reference = core_schema.definition_reference_schema(_DEFINITION)
        if _is_described.get():
            return handler(reference)
        token = _is_described.set(True)
        try:
            return handler(core_schema.definitions_schema(reference, [_union_of_kinds()]))
        finally:
            _is_described.reset(token)


OracleByKind: TypeAlias = Annotated[OracleOptions, _ByKind()]
"""The type of a field that holds the section of any oracle."""

_DEFINITION = "Oracle"
_is_described = ContextVar("_is_described", default=False)


def _validate(value: Any) -> OracleOptions:
    if isinstance(value, OracleOptions):
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError(
            "oracle_section", "an oracle is a mapping of fields, such as 'kind: default'"
        )
    try:
        options = find_options(_kind_of(value))
    except ConfigError as error:
        problem = PydanticCustomError("oracle_kind", "{problem}", {"problem": str(error)})
        raise ValidationError.from_exception_data(
            "oracle", [{"type": problem, "loc": ("kind",), "input": value.get("kind")}]
        ) from error
    return options.model_validate(value)


def _kind_of(section: Mapping[str, Any]) -> str:
    """`default` where a section does not say."""
    return str(section.get("kind", "default"))


def _union_of_kinds() -> core_schema.CoreSchema:
    """What JSON Schema says of a section: a built-in kind, or a kind of somebody else's."""
    kinds = builtin_kinds()
    branches = {kind: find_options(kind).__pydantic_core_schema__ for kind in kinds}
    other = {
        "title": "OtherOracle",
        "description": "An oracle of another installed package, or of Python code of your own.",
        "type": "object",
        "properties": {
            "kind": {
                "type": "string",
                "description": "The name under which the package offers it, or `module:name`.",
                "not": {"enum": list(kinds)},
            }
        },
        "required": ["kind"],
    }
    anything = core_schema.any_schema(metadata={"pydantic_js_functions": [lambda *_: other]})
    return core_schema.tagged_union_schema(
        {**branches, "": anything}, discriminator=_kind_of, ref=_DEFINITION
    )
