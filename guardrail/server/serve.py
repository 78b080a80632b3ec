"""Runs the proxy with uvicorn: until a signal, in a thread, or inside a running loop."""

from __future__ import annotations

import asyncio
import math
import signal
import threading
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from guardrail.errors import ConfigError
from guardrail.images.compiled import compile_pass
from guardrail.oracles.text.compiled import compile_margins
from guardrail.server.app import create_app, create_deployed_app
from guardrail.server.bind import check_bind
from guardrail.server.connection import BoundedConnection
from guardrail.server.connections import Connections
from guardrail.server.listener import open_beside, open_listener
from guardrail.server.memory import keep_large_blocks, leave_old_objects
from guardrail.server.reload import reloading
from guardrail.server.tls import keep_renewed, open_tls

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from types import FrameType

    from starlette.applications import Starlette
    from starlette.routing import BaseRoute

    from guardrail.api.deployment import Deployment
    from guardrail.api.drain import Drain
    from guardrail.engine.engine import Engine
    from guardrail.keys.authenticator import Authenticator
    from guardrail.policy.schema import Policy
    from guardrail.server.tls import TlsFiles
    from guardrail.server.worker import Worker
    from guardrail.telemetry.telemetry import Telemetry

__all__ = ["RunningServer", "running_app", "running_server", "running_server_async", "serve"]

_LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 30.0
_AFTER_DEADLINE_S = 5.0  # for what is left to do when a decision's time is over
_AFTER_CUT_S = 3.0  # for the replies to what was cut


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a server listens, and whether by TLS."""

    host: str
    port: int
    is_secure: bool = False
    metrics: RunningServer | None = None
    """Where metrics are served, at /metrics; None where they are not."""

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_secure else 'http'}://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes."""
        return f"{self.url}/v1"


def serve(
    deployment: Deployment,
    host: str = _LOOPBACK,
    port: int = 8000,
    *,
    announce: Callable[[RunningServer], None] = lambda _: None,
    folders: Iterable[Path] = (),
    reload_every_s: float = 0.0,
    keys: Authenticator | None = None,
    tls: TlsFiles | None = None,
    allow_anyone: bool = False,
    telemetry: Telemetry | None = None,
    drain_s: float | None = None,
    drain_notice_s: float = 0.0,
    worker: Worker | None = None,
    beside: Sequence[BaseRoute] = (),
) -> None:
    """Serves until SIGINT or SIGTERM; requests in flight get some time to end. SIGHUP reloads.

    Args:
        deployment: decides every request.
        host: address to listen on.
        port: 0 takes a free one.
        announce: told where it listens, before the first request is taken.
        folders: where the deployment's files stand.
        reload_every_s: how often it looks whether they have changed; 0 never does.
        keys: knows the API keys; None lets in whoever reaches the server.
        tls: certificate and key; None serves plain HTTP.
        allow_anyone: see `check_bind`.
        telemetry: see `create_app`.
        drain_s: how long decisions under way may take when it ends; None for as long as the
            policies let them.
        drain_notice_s: for how long after SIGTERM requests are still taken, while readiness says
            that they will not be.
        worker: which of several processes on one port this is; its sockets are listened on, in
            place of host and port.
        beside: see `create_app`.

    Raises:
        ConfigError: the address cannot be listened on, or is open to strangers and no keys are
            taken; or the TLS files cannot be used.
    """
    check_bind(host, takes_keys=keys is not None, allow_anyone=allow_anyone)
    context = None if tls is None else open_tls(tls)
    with ExitStack() as opened:  # a fault until the start gives the ports back
        listener = worker.listener if worker else open_listener(host, port)
        opened.enter_context(listener)
        metrics = worker.metrics_listener if worker else _metrics_listener(telemetry=telemetry)
        if metrics is not None:
            opened.enter_context(metrics)
        keep_large_blocks()
        compile_pass()  # these now, and not while the first request waits
        compile_margins()

        def triggers() -> AbstractAsyncContextManager[None]:
            return reloading(deployment, folders, every_s=reload_every_s, on_signal=True)

        app = create_deployed_app(
            deployment,
            triggers,
            keys=keys,
            telemetry=telemetry,
            metrics_listener=metrics,
            beside=beside,
            worker=worker,
        )
        leave_old_objects()
        announce(_where(listener, metrics, is_secure=tls is not None))
        with suppress(KeyboardInterrupt):  # uvicorn has shut down in order and raises it again
            server = _server(
                app,
                log_level="info",
                grace_s=lambda: longest_decision_s(deployment) if drain_s is None else drain_s,
                notice_s=drain_notice_s,
                tls=tls,
                context=context,
            )
            server.tell_ready = worker.tell_ready if worker else server.tell_ready
            own = None if worker is None else open_beside(listener)
            server.run(sockets=[listener] if own is None else [listener, own])


def longest_decision_s(deployment: Deployment) -> float:
    """How long decisions may take by the policies that decide now, and some seconds more."""
    policies = deployment.current.policies
    return max(one.service.engine.rules.deadline_s for one in policies) + _AFTER_DEADLINE_S


@contextmanager
def running_server(
    policy: Policy,
    engine: Engine,
    *,
    host: str = _LOOPBACK,
    port: int = 0,
    tls: TlsFiles | None = None,
    **options: Any,
) -> Iterator[RunningServer]:
    """A server in a thread of its own, on a free port, that prints nothing.

    Takes the options of `create_app`. Raises ConfigError.
    """
    check_bind(host, takes_keys=options.get("keys") is not None, allow_anyone=False)
    context = None if tls is None else open_tls(tls)
    metrics = _metrics_listener(**options)
    app = create_app(policy, engine, metrics_listener=metrics, **options)
    listener = open_listener(host, port)
    server = _server(app, tls=tls, context=context)
    thread = threading.Thread(target=server.run, args=([listener],), name="guardrail", daemon=True)
    thread.start()
    try:
        if not server.ready.wait(_START_TIMEOUT_S):
            raise ConfigError("the server did not start; see its log")
        yield _where(listener, metrics, is_secure=tls is not None)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@asynccontextmanager
async def running_server_async(
    policy: Policy, engine: Engine, *, host: str = _LOOPBACK, port: int = 0, **options: Any
) -> AsyncIterator[RunningServer]:
    """The same inside the running event loop, by plain HTTP."""
    check_bind(host, takes_keys=options.get("keys") is not None, allow_anyone=False)
    metrics = _metrics_listener(**options)
    app = create_app(policy, engine, metrics_listener=metrics, **options)
    async with running_app(app, host=host, port=port, metrics=metrics) as where:
        yield where


@asynccontextmanager
async def running_app(
    app: Starlette,
    *,
    host: str = _LOOPBACK,
    port: int = 0,
    metrics: socket.socket | None = None,
) -> AsyncIterator[RunningServer]:
    """The same of an application that is made already, and serves its metrics there."""
    listener = open_listener(host, port)
    where = _where(listener, metrics)
    server = _server(app)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        if not await asyncio.to_thread(server.ready.wait, _START_TIMEOUT_S):
            raise ConfigError("the server did not start; see its log")
        yield where
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """Says when it listens, renews certificates, drains; leaves others' signals alone."""

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Drain,
        *,
        grace_s: Callable[[], float],
        notice_s: float,
        owns_signals: bool,
        tls: TlsFiles | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._drain = drain
        self._grace_s = grace_s
        self._notice_s = notice_s
        self._ends_at = float("inf")
        self._owns_signals = owns_signals
        self._tls = tls
        self._context = context
        self._renewal: asyncio.Task[None] | None = None
        self.tell_ready: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._tls is not None and self._context is not None:
            self.config.ssl = self._context
            self._renewal = asyncio.create_task(keep_renewed(self._context, self._tls))
        await super().startup(sockets=sockets)
        self.ready.set()
        self.tell_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends at once, but after a first SIGTERM, of which balancers must hear before."""
        if sig != signal.SIGTERM:
            super().handle_exit(sig, frame)
        elif self._drain.has_begun:
            self.should_exit = True
        else:  # not raised again at the end, so that what is open is closed in order
            self._ends_at = time.monotonic() + self._notice_s
            self._drain.begin()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or time.monotonic() >= self._ends_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._drain.begin()
        grace_s = self._grace_s()
        self.config.timeout_graceful_shutdown = math.ceil(grace_s + _AFTER_CUT_S)
        cut = asyncio.get_running_loop().call_later(grace_s, self._drain.cut)
        try:
            await super().shutdown(sockets=sockets)
        finally:
            cut.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if not self._owns_signals:
            yield
            return
        with super().capture_signals():
            yield


def _server(
    app: Starlette,
    *,
    log_level: str = "critical",
    grace_s: Callable[[], float] = lambda: 1.0,
    notice_s: float = 0.0,
    tls: TlsFiles | None = None,
    context: ssl.SSLContext | None = None,
) -> _Server:
    deployment: Deployment = app.state.deployment
    wire = deployment.settings.wire
    connections = Connections(wire, deployment.refusals)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=log_level,
        access_log=False,  # ours names routes instead of paths
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=wire.keep_alive_s,  # type: ignore[arg-type]  # fractions do
        http=partial(BoundedConnection, connections=connections),  # type: ignore[arg-type]
    )
    return _Server(
        config,
        deployment.drain,
        grace_s=grace_s,
        notice_s=notice_s,
        owns_signals=log_level == "info",
        tls=tls,
        context=context,
    )


def _metrics_listener(*, telemetry: Telemetry | None = None, **_: Any) -> socket.socket | None:
    """Where metrics are served. Raises ConfigError."""
    if telemetry is None or telemetry.metrics is None:
        return None
    settings = telemetry.settings
    return open_listener(settings.metrics_host, settings.metrics_port or 0)


def _where(
    listener: socket.socket, metrics: socket.socket | None = None, *, is_secure: bool = False
) -> RunningServer:
    host, port = listener.getsockname()[:2]
    return RunningServer(host, port, is_secure, None if metrics is None else _where(metrics))
