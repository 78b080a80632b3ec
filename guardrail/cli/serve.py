"""`guardrail serve`: the proxy."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from guardrail.cli.access import ACCESS_OPTIONS, access_options, open_access
from guardrail.cli.console_options import open_console_routes, wants_console
from guardrail.cli.environment import EnvironmentCommand, SecretOption
from guardrail.cli.options import record_options, upstream_options
from guardrail.cli.watching import open_watch, watching_options
from guardrail.cli.wire_options import wire_options
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.api.deployment import Deployment
    from guardrail.api.wire_limits import WireLimits
    from guardrail.cli.access import Access
    from guardrail.server.serve import RunningServer
    from guardrail.server.worker import Worker

__all__ = ["command"]


@click.command("serve", cls=EnvironmentCommand)
@upstream_options
@record_options
@wire_options
@access_options
@watching_options
@click.option("--records-mode", type=click.Choice(["required", "best_effort"]), default="required",
              show_default=True, help="Whether an answer whose record cannot be kept is withheld, "
              "or leaves, marked as not recorded.")  # fmt: skip
@click.option("--records-days", type=click.FloatRange(min=0, min_open=True), metavar="DAYS",
              help="Remove older records from the database.  [default: keep them]")  # fmt: skip
@click.option("--content-days", type=click.FloatRange(min=0, min_open=True), metavar="DAYS",
              help="Remove what was asked and answered after so long.  "
              "[default: with its record]")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option("--litellm-model", metavar="MODEL",
              help="Model that pictures from LiteLLM are certified with.  "
              "[default: LiteLLM's name]")  # fmt: skip
@click.option("--cors-origin", "cors_origins", metavar="ORIGIN", multiple=True,
              help="Origin whose web pages may ask from a browser, as https://chat.example; give "
              "it several times for more.  [default: none]")  # fmt: skip
@click.option("--policies", "policies_file",
              type=click.Path(path_type=Path, dir_okay=False),
              help="YAML file with several policies and the requests that each decides, the "
              "strictest first; in place of --policy.")  # fmt: skip
@click.option("--reload-every", "reload_every_s", metavar="SECONDS", default=5.0,
              show_default=True, type=click.FloatRange(0, 3600), help="How often to look whether "
              "the files of policies and upstreams have changed; they are read again then, and on "
              "SIGHUP.  0 looks never.")  # fmt: skip
@click.option("--redis", "redis_url", metavar="URL", cls=SecretOption,
              help="Redis server that several processes share, as redis://127.0.0.1:6379/0: "
              "counted tries, remembered verdicts, limits of API keys, pauses of upstreams, "
              "changes of policies. Needs the same --key-file for all of them.")  # fmt: skip
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Processes that serve on the one port.",
)
@click.option("--drain-seconds", "drain_s", metavar="SECONDS", type=click.FloatRange(0, 86_400),
              help="How long decisions under way may take when the server is stopped.  "
              "[default: the longest deadline of the policies, and 5]")  # fmt: skip
@click.option(
    "--drain-notice",
    "drain_notice_s",
    metavar="SECONDS",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="For how long after SIGTERM "
    "requests are still taken while /readyz says that the server is draining.",
)
@click.option("--console/--no-console", "has_console", default=None, help="Whether there are pages "
              "for reviewers at /console.  [default: where records are in a database, and keys are "
              "asked for or only this machine is listened for]")  # fmt: skip
@click.option("--console-second-person", is_flag=True, help="In the console a policy is put in "
              "force by another key than the one that wrote it.")  # fmt: skip
def command(*, workers: int, host: str, port: int, **options: Any) -> None:
    """Run the OpenAI-compatible proxy in front of a model."""
    if workers == 1:
        from guardrail.server.reload import ignore_hangups

        with ignore_hangups():
            _serve(host=host, port=port, **options)
        return
    import tempfile

    from guardrail.cli import exit_code
    from guardrail.server.listener import open_listener
    from guardrail.server.worker import Worker
    from guardrail.server.workers import run_workers

    listener = open_listener(host, port, may_have_more=True)
    metrics = None
    if options["metrics_port"] is not None and not options["no_metrics"]:
        metrics = open_listener(options["metrics_host"], options["metrics_port"])
    with tempfile.TemporaryDirectory(prefix="guardrail-") as folder:

        def work(index: int, tell_ready: Callable[[], None]) -> int:
            mine = Worker(index, workers, Path(folder), listener, metrics, tell_ready)
            return exit_code(lambda: _serve(host=host, port=port, worker=mine, **options))

        status = run_workers(workers, listener, work)
    click.get_current_context().exit(status)


def _serve(
    *,
    upstreams: tuple[str, ...],
    upstreams_file: Path | None,
    policy_name: str,
    policies_file: Path | None,
    key_file: Path | None,
    records_place: str | None,
    sign_key: Path | None,
    keep_content: bool,
    content_key: Path | None,
    keep_pictures: bool,
    records_mode: str,
    records_days: float | None,
    content_days: float | None,
    host: str,
    port: int,
    litellm_model: str | None,
    cors_origins: tuple[str, ...],
    reload_every_s: float,
    wire: WireLimits,
    redis_url: str | None,
    drain_s: float | None,
    drain_notice_s: float,
    has_console: bool | None,
    console_second_person: bool,
    worker: Worker | None = None,
    **options: Any,
) -> None:
    from guardrail.api.building import open_deployment
    from guardrail.api.deployment import Plan
    from guardrail.api.overrides import open_overrides
    from guardrail.api.settings import ServerSettings
    from guardrail.assembly import (
        is_local,
        open_records,
        read_key,
        read_policy,
        read_upstreams,
    )
    from guardrail.policy.policy_list import ListedPolicy, find_folders, load_policies
    from guardrail.records.options import RecordOptions, Retention
    from guardrail.records.recorder import RecordsMode
    from guardrail.server.serve import serve
    from guardrail.sharing.sharing import open_sharing

    source = click.get_current_context().get_parameter_source("policy_name")
    if policies_file is not None and source is not ParameterSource.DEFAULT:
        raise ConfigError("give policy or policies, not both", field="policies")

    def read() -> Plan:
        if policies_file is None:
            listed: tuple[ListedPolicy, ...] = (ListedPolicy(read_policy(policy_name)),)
        else:
            listed = load_policies(policies_file)
        return Plan(listed, read_upstreams(upstreams, upstreams_file))

    opened = open_access(host, **{name: options.pop(name) for name in ACCESS_OPTIONS})
    settings = ServerSettings(
        known_models_only=is_local(read_upstreams(upstreams, upstreams_file)),
        litellm_model=litellm_model,
        cors_origins=cors_origins,
        wire=wire,
    )
    sharing = None if redis_url is None else open_sharing(redis_url, key_file)
    recording = RecordOptions(
        records_place,
        sign_key,
        keep_content,
        content_key,
        keep_pictures,
        RecordsMode(records_mode),
        Retention(records_days, content_days),
    )
    shows_console = wants_console(
        has_console, place=records_place, host=host, takes_keys=opened.keys is not None
    )
    with (
        open_watch(**options) as telemetry,
        open_records(recording) as recorder_of,
        open_overrides(records_place) as overrides,
        ExitStack() as beside,
    ):
        deployment = open_deployment(
            read,
            read_key(key_file),
            settings,
            record_of=recorder_of,
            sharing=sharing,
            overrides=overrides,
            is_alone=worker is None,
        )
        routes = []
        if shows_console:
            assert records_place is not None
            routes = beside.enter_context(
                open_console_routes(
                    records_place,
                    keys=opened.keys,
                    content_key=content_key,
                    deployment=deployment,
                    telemetry=telemetry,
                    needs_second_person=console_second_person,
                )
            )
        listed = deployment.versions[0].plan.listed
        files = [file for file in (policies_file, upstreams_file) if file is not None]
        serve(
            deployment,
            host,
            port,
            announce=lambda server: _announce(
                deployment, server, opened, worker, shows_console=shows_console
            ),
            folders=find_folders(listed, files),
            reload_every_s=reload_every_s,
            keys=opened.keys,
            tls=opened.tls,
            allow_anyone=opened.allow_anyone,
            telemetry=telemetry,
            drain_s=drain_s,
            drain_notice_s=drain_notice_s,
            worker=worker,
            beside=routes,
        )


def _announce(
    deployment: Deployment,
    server: RunningServer,
    access: Access,
    worker: Worker | None,
    *,
    shows_console: bool,
) -> None:
    """Says where it listens and for whom, and what decides by which models and oracles."""
    if worker is not None and not worker.speaks:
        return
    from guardrail.engine.retry import describe_repeats
    from guardrail.oracles.measured_languages import describe_languages
    from guardrail.upstreams.chain import members

    lines: dict[str, None] = {}  # each once, in order
    for served in deployment.current.policies:
        engine, policy = served.service.engine, served.service.policy
        where = f"with policy '{policy.name}' at {server.base_url}"
        lines[f"guarding {engine.upstream.name} {where}"] = None
        lines[f"oracle {policy.oracle.describe()}"] = None
        for upstream in members(engine.upstream):
            lines[f"{upstream.name}: {describe_repeats(engine.rules.retry, upstream)}"] = None
        lines[describe_languages(policy.oracle) or ""] = None
    for line in filter(None, (*lines, access.description)):
        click.echo(line, err=True)
    counts_apart = worker is not None and deployment.sharing is None
    if worker is not None and counts_apart and access.keys is not None and access.keys.has_limits:
        click.echo(
            f"WARNING: {worker.count} workers count the limits of API keys each for itself, so "
            f"that up to {worker.count} times as much may be used; give --redis to count together",
            err=True,
        )
    if shows_console:
        click.echo(f"console at {server.url}/console/", err=True)
    if server.metrics is not None:
        click.echo(f"metrics at {server.metrics.url}/metrics", err=True)
