"""Serves a console by itself, on this machine alone."""

from __future__ import annotations

import socket
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette

from guardrail.console.app import console_routes
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.console.console import Console

__all__ = ["serve_console"]

_HOST = "127.0.0.1"
_MOST_AT_ONCE = 100


def serve_console(console: Console, port: int, *, announce: Callable[[str], None]) -> None:
    """Serves until a signal; `announce` is told the address.

    Raises:
        ConfigError: the port is taken.
    """
    app = Starlette(routes=console_routes(console))
    with closing(_listen(port)) as listener, suppress(KeyboardInterrupt):
        announce(f"http://{_HOST}:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            limit_concurrency=_MOST_AT_ONCE,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        raise ConfigError(
            f"{_HOST}:{port} cannot be listened on ({error.strerror}); choose another --port",
            field="port",
        ) from error
