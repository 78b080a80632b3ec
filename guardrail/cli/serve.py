"""`guardrail serve`: the proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from guardrail.cli.options import record_options, upstream_options

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.server.serve import RunningServer

__all__ = ["command"]


@click.command("serve")
@upstream_options
@record_options
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option("--litellm-api-key", envvar="GUARDRAIL_LITELLM_API_KEY", show_envvar=True,
              help="What LiteLLM must send as x-api-key to its guardrail route; give it by the "
              "environment.")  # fmt: skip
@click.option("--litellm-model", metavar="MODEL",
              help="Model that pictures from LiteLLM are certified with.  "
              "[default: LiteLLM's name]")  # fmt: skip
@click.option("--cors-origin", "cors_origins", metavar="ORIGIN", multiple=True,
              help="Origin whose web pages may ask from a browser, as https://chat.example; give "
              "it several times for more.  [default: none]")  # fmt: skip
def command(
    upstreams: tuple[str, ...],
    upstreams_file: Path | None,
    policy_name: str,
    key_file: Path | None,
    records_file: Path | None,
    sign_key: Path | None,
    keep_content: bool,
    host: str,
    port: int,
    litellm_api_key: str | None,
    litellm_model: str | None,
    cors_origins: tuple[str, ...],
) -> None:
    """Run the OpenAI-compatible proxy in front of a model."""
    from guardrail.api.settings import ServerSettings
    from guardrail.assembly import (
        build_engine,
        is_local,
        open_recorder,
        read_policy,
        read_upstreams,
    )
    from guardrail.engine.retry import describe_repeats
    from guardrail.oracles.measured_languages import describe_languages
    from guardrail.server.serve import serve
    from guardrail.upstreams.chain import members

    policy = read_policy(policy_name)
    chosen = read_upstreams(upstreams, upstreams_file)
    engine = build_engine(policy, chosen, key_file)
    with open_recorder(engine, records_file, sign_key, keep_content=keep_content) as record:

        def announce(server: RunningServer) -> None:
            click.echo(
                f"guarding {engine.upstream.name} with policy '{policy.name}' at {server.base_url}",
                err=True,
            )
            click.echo(f"oracle {policy.oracle.describe()}", err=True)
            for upstream in members(engine.upstream):
                rule = describe_repeats(engine.rules.retry, upstream)
                click.echo(f"{upstream.name}: {rule}", err=True)
            if about := describe_languages(policy.oracle):
                click.echo(about, err=True)

        settings = ServerSettings(
            known_models_only=is_local(chosen),
            litellm_api_key=litellm_api_key,
            litellm_model=litellm_model,
            cors_origins=cors_origins,
        )
        serve(policy, engine, host, port, announce=announce, settings=settings, record=record)
