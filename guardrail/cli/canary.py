"""`guardrail canary`: known answers, decided by a policy and its oracle, or by a server, once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from guardrail.cli.options import upstream_options
from guardrail.cli.watching import canary_options, read_canary_texts
from guardrail.errors import ConfigError
from guardrail.files import read_variable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from guardrail.engine.engine import Engine
    from guardrail.telemetry.canary import CanaryResult, CanaryText
    from guardrail.telemetry.remote_canary import RemoteServer
    from guardrail.types import Json

__all__ = ["command"]

_OF_THIS_PROCESS = ("upstreams", "upstreams_file", "key_file")
_OF_SERVERS = ("key_variable", "timeout_s")


@click.command("canary")
@click.option("--url", "urls", metavar="URL", multiple=True,
              help="Ask a server that is deployed, such as http://127.0.0.1:8080; may be given "
              "several times, for several replicas. --policy is then the name of one of its "
              "policies, and no upstream is asked from here.")  # fmt: skip
@click.option("--key-env", "key_variable", metavar="NAME", default="GUARDRAIL_API_KEY",
              show_default=True,
              help="With --url, the variable that holds an API key of the scope client, where "
              "the server takes keys; NAME_FILE may name a file that holds it.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.1), default=60.0,
              show_default=True, metavar="SECONDS",
              help="With --url, the longest that one canary may take.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@canary_options
@upstream_options
@click.pass_context
def command(
    context: click.Context,
    urls: tuple[str, ...],
    key_variable: str,
    timeout_s: float,
    upstreams: tuple[str, ...],
    upstreams_file: Path | None,
    policy_name: str,
    key_file: Path | None,
    canary_model: str | None,
    canary_file: Path | None,
    as_json: bool,
) -> None:
    """Decide about answers whose verdicts are known, by a policy and its oracle.

    With --url a deployed server decides about them. Exit code 0: a harmful answer was stopped and a
    harmless one passed; 3: one of them was not; 2: one could not be decided.
    """
    texts = read_canary_texts(canary_file)
    _check_given(context, _OF_THIS_PROCESS if urls else _OF_SERVERS, to_servers=bool(urls))
    if urls:
        given = context.get_parameter_source("policy_name") is not ParameterSource.DEFAULT
        key, policy = read_variable(key_variable), policy_name if given else None
        results = _ask_servers(urls, key, policy, timeout_s, texts, canary_model)
        report: dict[str, Json] = {"policy": policy}
    else:
        policy, results = _decide_here(
            policy_name, upstreams, upstreams_file, key_file, texts, canary_model
        )
        report = {"policy": policy}
    if as_json:
        rows: list[Json] = [
            {**({"url": url} if url else {}), **result.to_dict()} for url, result in results
        ]
        click.echo(json.dumps({**report, "canaries": rows}))
    else:
        click.echo("\n".join(_in_words(url, result) for url, result in results))
    words = {result.word for _, result in results}
    raise click.exceptions.Exit(3 if "wrong" in words else 2 if "fault" in words else 0)


def _check_given(context: click.Context, others: Sequence[str], *, to_servers: bool) -> None:
    """Raises ConfigError where an option is given that does nothing here."""
    unused = next(
        (
            name
            for name in others
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        ),
        None,
    )
    if unused is not None:
        option = next(one for one in context.command.params if one.name == unused).opts[0]
        told = "has no meaning with --url: the server decides" if to_servers else "needs --url"
        raise ConfigError(f"{option} {told}; leave one of them out", field="url")


def _ask_servers(
    urls: Sequence[str],
    key: str,
    policy: str | None,
    timeout_s: float,
    texts: Sequence[CanaryText],
    model: str | None,
) -> list[tuple[str, CanaryResult]]:
    """What each server decides; the URL of each stands beside it."""
    from guardrail.telemetry.remote_canary import RemoteServer

    servers = [RemoteServer(url, key, policy, timeout_s) for url in urls]
    return asyncio.run(_run_remote(servers, texts, model))


async def _run_remote(
    servers: Sequence[RemoteServer], texts: Sequence[CanaryText], model: str | None
) -> list[tuple[str, CanaryResult]]:
    from guardrail.telemetry.remote_canary import run_remote_canaries

    return [
        (server.url, result)
        for server in servers
        for result in await run_remote_canaries(server, texts, model=model)
    ]


def _decide_here(
    policy_name: str,
    upstreams: tuple[str, ...],
    upstreams_file: Path | None,
    key_file: Path | None,
    texts: Sequence[CanaryText],
    model: str | None,
) -> tuple[str, list[tuple[str, CanaryResult]]]:
    """The name of the policy, and what it decides in this process."""
    from guardrail.assembly import build_engine, read_policy, read_upstreams
    from guardrail.telemetry.canary import check_canaries

    policy = read_policy(policy_name)
    engine = build_engine(policy, read_upstreams(upstreams, upstreams_file), key_file)
    check_canaries([engine], texts)
    return policy.name, [("", result) for result in asyncio.run(_run(engine, texts, model))]


async def _run(
    engine: Engine, texts: Sequence[CanaryText], model: str | None
) -> list[CanaryResult]:
    from guardrail.telemetry.canary import run_canaries

    try:
        return await run_canaries(engine, texts, model=model)
    finally:
        await engine.aclose()


def _in_words(url: str, result: CanaryResult) -> str:
    where = f"{url}: " if url else ""
    said = f"{where}{result.canary}: {result.decided.value} ({result.reason})"
    if result.is_ok:
        return f"{said}, as it should"
    cause = f"; {result.cause}" if result.cause else ""
    return f"{said}, not {result.expected.value}{cause}"
