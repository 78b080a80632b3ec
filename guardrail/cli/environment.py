"""Options by the environment: `--host` also as GUARDRAIL_HOST, secrets also by a file's name."""

from __future__ import annotations

from typing import Any

import click

from guardrail.files import read_variable

__all__ = ["EnvironmentCommand", "SecretOption", "variable_of"]

_PREFIX = "GUARDRAIL_"


class EnvironmentCommand(click.Command):
    """A command whose every option can be given by a variable, and says by which one.

    An option on the command line wins. Where one may be given several times, the variable holds
    its values with blanks between them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for option in self.params:
            if isinstance(option, click.Option):
                option.envvar = variable_of(option)
                option.show_envvar = True


class SecretOption(click.Option):
    """An option whose value may hold a secret: NAME_FILE names a file that holds it."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        if not isinstance(self.envvar, str):
            return super().resolve_envvar_value(ctx)
        return read_variable(self.envvar) or None


def variable_of(option: click.Option) -> str:
    """The environment variable of an option: that of its long name."""
    name = max(option.opts, key=len).lstrip("-")
    return _PREFIX + name.replace("-", "_").upper()
