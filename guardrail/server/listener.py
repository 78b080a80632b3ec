"""The socket that the server listens on; light to import: it is opened before workers start."""

from __future__ import annotations

import socket
import sys

from guardrail.errors import ConfigError

__all__ = ["open_beside", "open_listener"]

_BACKLOG = 2048
_REUSE = getattr(socket, "SO_REUSEPORT", None) if sys.platform == "linux" else None
"""Elsewhere the newest socket of an address may get all connections."""


def open_listener(host: str, port: int, *, may_have_more: bool = False) -> socket.socket:
    """A listening socket, bound before anything starts, so that a taken port is reported.

    Args:
        host: the address.
        port: 0 takes a free one.
        may_have_more: whether `open_beside` shall be possible, where the system can.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    if not 0 <= port <= 65_535:
        raise _unusable(host, port, "no such port")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        return _open_again(listener) if may_have_more and _REUSE is not None else listener
    except UnicodeError as error:
        raise _unusable(host, port, "not an address") from error
    except OSError as error:
        raise _unusable(host, port, error.strerror or "not an address") from error


def _open_again(found_free: socket.socket) -> socket.socket:
    """The same address so that others may be opened beside it: such a one finds no port taken."""
    host, port = found_free.getsockname()[:2]
    family = found_free.family
    found_free.close()
    return socket.create_server((host, port), family=family, backlog=_BACKLOG, reuse_port=True)


def open_beside(listener: socket.socket) -> socket.socket | None:
    """A worker's own socket on the address that it shares with others; None where it may have none.

    The system spreads new connections over all sockets of an address. With a shared one alone the
    worker that happens to be awake takes all that come at once, and clients that keep their
    connections stay with it: 16 of 16 were seen (`benchmarks/workers`). If a worker dies its own
    socket goes with it: connections that waited there are reset, later ones go to the others.
    """
    if _REUSE is None or not listener.getsockopt(socket.SOL_SOCKET, _REUSE):
        return None
    host, port = listener.getsockname()[:2]
    return socket.create_server(
        (host, port), family=listener.family, backlog=_BACKLOG, reuse_port=True
    )


def _unusable(host: str, port: int, reason: str) -> ConfigError:
    return ConfigError(
        f"cannot listen on {host} port {port} ({reason}); choose another host or port"
    )
