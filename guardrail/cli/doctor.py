"""`guardrail doctor`: what is wrong with a set-up, in its first hour or after a complaint."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import textwrap
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.serve import command as serve_command
from guardrail.counted_noun import count_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.doctor.finding import Finding

__all__ = ["command"]

_WIDTH = 100
_INDENT = " " * 9


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--no-calls", is_flag=True,
              help="Ask no model and no oracle anything; models are still listed.")  # fmt: skip
@click.option("--model", metavar="NAME",
              help="Model to ask.  [default: the first that an upstream lists]")  # fmt: skip
def command(as_json: bool, no_calls: bool, model: str | None, **_of_serve: Any) -> None:
    """Check what serve would start with, line by line, and say what to do.

    Takes the options of 'guardrail serve' and asks each model up to six short questions. The exit
    code is 1 where there is an error. Nothing is made or changed; no key and no content is shown.
    """
    findings = asyncio.run(_collect(_options(), model, calls=not no_calls, show=not as_json))
    counts = {level: sum(f.level == level for f in findings) for level in ("error", "warning")}
    if as_json:
        report = {
            "errors": counts["error"],
            "warnings": counts["warning"],
            "findings": [dataclasses.asdict(finding) for finding in findings],
        }
        click.echo(json.dumps(report))
    else:
        click.echo(f"{_count(counts['error'], 'error')}, {_count(counts['warning'], 'warning')}")
    raise click.exceptions.Exit(1 if counts["error"] else 0)


command.params.extend(serve_command.params)


def _options() -> Mapping[str, object]:
    """What was given of the options of serve, by their long names."""
    given = click.get_current_context().params
    return {
        max(option.opts, key=len): given[option.name]
        for option in serve_command.params
        if isinstance(option, click.Option) and option.name is not None
    }


async def _collect(
    options: Mapping[str, object], model: str | None, *, calls: bool, show: bool
) -> list[Finding]:
    from guardrail.doctor.examination import examine

    findings = []
    async for finding in examine(options, model=model, calls=calls):
        findings.append(finding)
        if show:
            click.echo(_in_words(finding))
    return findings


def _in_words(finding: Finding) -> str:
    lines = [f"{finding.level.value:<8} {finding.check}: {finding.message}"]
    if finding.remedy:
        lines.append(f"{_INDENT}what to do: {finding.remedy}")
    return "\n".join(
        textwrap.fill(
            line,
            _WIDTH,
            subsequent_indent=_INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in lines
    )


def _count(number: int, what: str) -> str:
    return count_of(number, what) if number else f"no {what}s"
