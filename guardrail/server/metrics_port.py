"""GET /metrics on a port of its own, so that what is public does not show it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from guardrail.server.worker_metrics import WorkerMetrics

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from prometheus_client import CollectorRegistry
    from starlette.requests import Request

    from guardrail.server.worker import Worker

__all__ = ["serve_metrics"]

_MOST_CONNECTIONS = 16


@asynccontextmanager
async def serve_metrics(
    registry: CollectorRegistry, listener: socket.socket, worker: Worker | None = None
) -> AsyncIterator[None]:
    """Answers scrapes on the running loop, where the gauges may be read, while it lasts.

    Args:
        registry: of this process.
        listener: where it is asked; all workers listen there.
        worker: which of several processes this is, whose metrics are answered together.
    """
    async with AsyncExitStack() as stack:
        together = None if worker is None else WorkerMetrics(registry, worker)
        if together is not None:
            await stack.enter_async_context(together.running())
        await stack.enter_async_context(_serving(_endpoint(registry, together), listener))
        yield


@asynccontextmanager
async def _serving(
    endpoint: Callable[[Request], Awaitable[Response]], listener: socket.socket
) -> AsyncIterator[None]:
    app = Starlette(routes=[Route("/metrics", endpoint, methods=["GET"])])
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=None,  # else the level of the server that it stands beside would change
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=75,  # a scraper comes again every 15 to 60 seconds
        timeout_graceful_shutdown=1,
    )
    server = _Quiet(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)


def _endpoint(
    registry: CollectorRegistry, together: WorkerMetrics | None
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        found: Any = registry if together is None else await together.collect_all()
        return Response(encode(found), media_type=media_type)

    return answer


class _Quiet(uvicorn.Server):
    """Leaves signals to the server that it stands beside."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
