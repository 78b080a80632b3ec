"""`guardrail canary`: known answers, decided by a policy and its oracle, once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from guardrail.cli.options import upstream_options
from guardrail.cli.watching import canary_options, read_canary_texts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardrail.engine.engine import Engine
    from guardrail.telemetry.canary import CanaryResult, CanaryText

__all__ = ["command"]


@click.command("canary")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@canary_options
@upstream_options
def command(
    upstreams: tuple[str, ...],
    upstreams_file: Path | None,
    policy_name: str,
    key_file: Path | None,
    canary_model: str | None,
    canary_file: Path | None,
    as_json: bool,
) -> None:
    """Decide about answers whose verdicts are known, by a policy and its oracle.

    Exit code 0: a harmful answer was stopped and a harmless one passed; 3: one of them was not; 2:
    one could not be decided.
    """
    from guardrail.assembly import build_engine, read_policy, read_upstreams
    from guardrail.telemetry.canary import check_canaries

    policy = read_policy(policy_name)
    texts = read_canary_texts(canary_file)
    engine = build_engine(policy, read_upstreams(upstreams, upstreams_file), key_file)
    check_canaries([engine], texts)
    results = asyncio.run(_run(engine, texts, canary_model))
    if as_json:
        rows = [result.to_dict() for result in results]
        click.echo(json.dumps({"policy": policy.name, "canaries": rows}))
    else:
        click.echo("\n".join(_in_words(result) for result in results))
    words = {result.word for result in results}
    raise click.exceptions.Exit(3 if "wrong" in words else 2 if "fault" in words else 0)


async def _run(
    engine: Engine, texts: Sequence[CanaryText], model: str | None
) -> list[CanaryResult]:
    from guardrail.telemetry.canary import run_canaries

    try:
        return await run_canaries(engine, texts, model=model)
    finally:
        await engine.aclose()


def _in_words(result: CanaryResult) -> str:
    said = f"{result.canary}: {result.decided.value} ({result.reason})"
    return f"{said}, as it should" if result.is_ok else f"{said}, not {result.expected.value}"
