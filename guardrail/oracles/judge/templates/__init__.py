"""How each family of judges is asked and read, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.oracles.judge.templates.granite_guardian import GraniteGuardian
from guardrail.oracles.judge.templates.llama_guard import LlamaGuard
from guardrail.oracles.judge.templates.nemotron import Nemotron
from guardrail.oracles.judge.templates.rubric import Rubric
from guardrail.oracles.judge.templates.shieldgemma import ShieldGemma

if TYPE_CHECKING:
    from guardrail.oracles.judge.templates.base import Template

__all__ = ["TEMPLATES", "build_template"]

TEMPLATES = (
    "rubric",
    "llama_guard_3",
    "llama_guard_4",
    "shieldgemma",
    "granite_guardian",
    "nemotron",
)
"""The names that policies use."""


def build_template(name: str, *, rubric: str | None = None, form: str | None = None) -> Template:
    """The template of a name.

    Args:
        name: one of `TEMPLATES`.
        rubric: the rule of the template `rubric`; None is its own.
        form: `chat` leaves the prompt to the model's chat template on the serving side, `prompt`
            writes it out here; None is what the family is usually served with.

    Raises:
        ConfigError: no such template, or it does not take what was given.
    """
    if name not in TEMPLATES:
        raise ConfigError(
            f"no template is called '{name[:32]}'; use one of {', '.join(TEMPLATES)}",
            field="oracle.template",
        )
    if rubric is not None and name != "rubric":
        raise ConfigError(
            f"'{name}' judges by a policy of its own; a rubric needs template: rubric",
            field="oracle.rubric",
        )
    if name == "rubric":
        _check_form(name, form, "prompt")
        return Rubric() if rubric is None else Rubric(rubric)
    if name == "granite_guardian":
        _check_form(name, form, "chat")
        return GraniteGuardian()
    if name == "nemotron":
        _check_form(name, form, "prompt")
        return Nemotron()
    if name == "shieldgemma":
        return ShieldGemma(written_out=form == "prompt")
    return LlamaGuard(int(name[-1]), written_out=form == "prompt")


def _check_form(name: str, form: str | None, only: str) -> None:
    if form not in (None, only):
        raise ConfigError(f"'{name}' has the form '{only}' only", field="oracle.form")
