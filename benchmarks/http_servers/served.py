"""The proxy's application under one HTTP server: `python served.py SERVER PORT UPSTREAM`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from guardrail.assembly import build_engine, read_policy, read_upstreams
from guardrail.server.app import create_app
from guardrail.server.memory import keep_large_blocks, leave_old_objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette

HOST = "127.0.0.1"


def make_app(upstream: str) -> Starlette:
    policy = read_policy("default")
    chosen = read_upstreams((f"openai_compatible:{upstream}",), None)
    return create_app(policy, build_engine(policy, chosen, None))


def uvicorn_with(http: object) -> Callable[[Starlette, int], None]:
    def run(app: Starlette, port: int) -> None:
        import uvicorn

        uvicorn.run(app, host=HOST, port=port, http=http, log_level="critical", access_log=False,
                    ws="none", lifespan="on")  # fmt: skip

    return run


def serve_bounded(app: Starlette, port: int) -> None:
    """As `guardrail serve` runs it."""
    from guardrail.server.connection import BoundedConnection
    from guardrail.server.connections import Connections

    deployment = app.state.deployment
    connections = Connections(deployment.settings.wire, deployment.refusals)
    uvicorn_with(partial(BoundedConnection, connections=connections))(app, port)


def hypercorn(app: Starlette, port: int) -> None:
    import uvloop
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.loglevel = "CRITICAL"
    uvloop.run(serve(app, config))


def granian(app: Starlette, port: int) -> None:
    import uvloop
    from granian.server.embed import Server

    async def main() -> None:
        server = Server(app, address=HOST, port=port, interface="asgi", log_enabled=False)
        await server.serve()

    uvloop.run(main())


SERVERS = {
    "uvicorn, httptools": uvicorn_with("httptools"),
    "uvicorn, httptools, bounded": serve_bounded,
    "uvicorn, h11": uvicorn_with("h11"),
    "hypercorn": hypercorn,
    "granian": granian,
}

if __name__ == "__main__":
    name, port, upstream = sys.argv[1:]
    keep_large_blocks()
    app = make_app(upstream)
    leave_old_objects()
    SERVERS[name](app, int(port))
