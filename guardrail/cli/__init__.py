"""The `guardrail` command; each subcommand is a file of its own, imported when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import click

from guardrail.distribution import find_stranger, install_command
from guardrail.errors import GuardrailError
from guardrail.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["exit_code", "main"]

_COMMANDS = {
    "attack": "Attack a picture, to see what the guard is for.",
    "calibrate": "Choose an oracle's threshold, and bound its misses, from labelled answers.",
    "canary": "Prove that a known harmful answer is stopped and a harmless one passes.",
    "certify": "Estimate certified radii of one picture or a folder.",
    "check": "Guard one picture and prompt from the terminal.",
    "console": "Show the records of a database in a browser on this machine.",
    "delivered": "Bound the harm among the answers that left, by labels of some of them.",
    "demo": "See an attacked picture stopped and a clean one answered.",
    "doctor": "Check what serve would start with: keys, models, oracle, files, clock.",
    "evaluate": "Measure a guarded model on labelled data: what passes, what is stopped, the cost.",
    "explain": "Say what a radius means for a picture.",
    "keys": "Make API keys, list, show, replace and revoke them.",
    "moderate": "Decide about a folder, a table or a bucket of pictures, with certificates.",
    "noise-key": "Make, rotate and list the keys of the noise, without showing one.",
    "observe": "Say what observe mode would have stopped, and whether to enforce.",
    "overrides": "Let single requests through, or stop them, whatever the guard decides.",
    "plan": "Say what a promise costs, by every kind of test.",
    "policy": "Check and test policies, show the shipped ones, and print their schema.",
    "records": "List, explain, export, verify and remove records of decisions.",
    "recall": "Measure which forbidden requests a policy stops, and how far out.",
    "serve": "Run the OpenAI-compatible proxy.",
    "tune": "Find the numbers of a policy that meet goals stated in words.",
    "verify": "Recompute a certificate from its own fields.",
}


class _Lazy(click.Group):
    """Knows its commands by name and line of help, so that --help imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"guardrail.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group("guardrail", cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="guardrail")
def _cli() -> None:
    """Content moderation for vision-language models that comes with a proof."""
    # Not for the bare --help and --version: looking costs a third of their time.
    stranger = find_stranger()
    if stranger is not None:
        click.echo(f"guardrail: {stranger}", err=True)


def main() -> None:
    """Entry point."""
    sys.exit(exit_code(lambda: _cli.main(standalone_mode=False)))


def exit_code(run: Callable[[], object]) -> int:
    """The exit status of a command: errors become one line, an interrupt ends quietly."""
    try:
        code = run()
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.exceptions.Abort):
        code = _tell_interrupt()
    except GuardrailError as error:
        click.echo(f"guardrail: {error}", err=True)
        code = 2
    except ModuleNotFoundError as error:
        code = _missing(error)
    except OSError as error:
        click.echo(f"guardrail: {error.filename or 'the system'}: {error.strerror}", err=True)
        code = 2
    except Exception as error:
        if not _was_interrupted(error):
            raise
        code = _tell_interrupt()
    return code if isinstance(code, int) else 0


def _tell_interrupt() -> int:
    click.echo("\ninterrupted", err=True)
    return 130


def _was_interrupted(error: Exception) -> bool:
    """Whether a library made an error of its own of an interrupt, as pydantic's core does."""
    return KeyboardInterrupt.__name__ in str(error)


def _missing(error: ModuleNotFoundError) -> int:
    """A package of an extra is not there; one of our own would be a fault to be seen in full."""
    if error.name is None or error.name.split(".")[0] == "guardrail":
        raise error
    click.echo(
        f"guardrail: this needs the package '{error.name}', which is not installed; "
        f"{install_command('demo')}",
        err=True,
    )
    return 2
