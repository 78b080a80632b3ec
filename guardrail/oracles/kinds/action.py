"""Actions of a closed set, such as calls of tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from guardrail.errors import ConfigError
from guardrail.oracles.action.arguments import Arguments, Texts
from guardrail.oracles.action.space import ActionRule, ActionSource, ActionSpace
from guardrail.oracles.reference_options import ReferenceOptions
from guardrail.section import Section, Word

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["ActionOptions"]

_Name = Annotated[str, Field(pattern=r"^[\w.:/-]{1,64}$")]
_Step = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ActionFields(Section):
    """One action of the closed set."""

    arguments: Annotated[dict[str, Any], Field(default_factory=dict)]
    """JSON Schema (draft 2020-12) of the object of its arguments; what does not fit is not an
    action. Defaults are filled in, and words of an enumeration may appear in certificates."""
    arguments_that_matter: list[str] | None = None
    """The arguments in which two actions must agree to be the same; all of them if left out."""
    steps: Annotated[dict[str, _Step], Field(default_factory=dict)]
    """Argument to the step to which the numbers in it are rounded before they are compared."""
    pattern: Annotated[str, Field(min_length=1)] | None = None
    """RE2 expression that finds the action in a text; for the source `patterns`."""
    forbidden: bool = False
    """Whether the action is harmful, however stable it is."""


class ActionOptions(ReferenceOptions):
    """Whether the action that an answer takes stays the same under the noise."""

    kind: Literal["action"]
    """Certifies which action of a closed set the model takes."""
    source: Annotated[ActionSource, Word]
    """Where the action stands: `tool_calls`, one or several in order; `json`, the text being a JSON
    object or a list of them; `patterns`, of which exactly one must be found in the text."""
    actions: Annotated[dict[_Name, ActionFields], Field(min_length=1, max_length=256)]
    """The closed set, by name: for `tool_calls` the names of the tools. An answer that is none of
    them cannot be certified and counts against a pass, as another action does."""
    field: Annotated[str, Field(min_length=1)] = "action"
    """For `json`: the field that names the action."""
    arguments_field: Annotated[str, Field(min_length=1)] | None = None
    """For `json`: the field with the object of arguments; if left out, all other fields are it."""
    texts: Annotated[Texts, Word] = Texts.FOLDED
    """When two texts among the arguments are the same: `exact`; `trimmed`, where blanks around a
    text and their number within do not count; `folded`, where upper and lower case do not either.
    """

    @model_validator(mode="after")
    def _check_space(self) -> Self:
        try:
            self._space()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def reference_kind(self) -> str:
        return "action"

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.action.oracle import ActionOracle

        return ActionOracle(self._space(), n0=self.n0, harm=self.build_harm(folder))

    def _space(self) -> ActionSpace:
        rules = {name: self._rule(name, fields) for name, fields in self.actions.items()}
        return ActionSpace(
            rules, self.source, field=self.field, arguments_field=self.arguments_field
        )

    def _rule(self, name: str, fields: ActionFields) -> ActionRule:
        matter = fields.arguments_that_matter
        try:
            arguments = Arguments(
                fields.arguments,
                None if matter is None else frozenset(matter),
                fields.steps,
                self.texts,
            )
        except ConfigError as error:
            raise ConfigError(f"the action '{name}' cannot be used: {error}") from error
        return ActionRule(arguments, fields.pattern, fields.forbidden)
