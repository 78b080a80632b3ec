"""The socket that the server listens on; light to import: it is opened before workers start."""

from __future__ import annotations

import socket

from guardrail.errors import ConfigError

__all__ = ["open_listener"]


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket, bound before anything starts, so that a taken port is reported.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    if not 0 <= port <= 65_535:
        raise _unusable(host, port, "no such port")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except UnicodeError as error:
        raise _unusable(host, port, "not an address") from error
    except OSError as error:
        raise _unusable(host, port, error.strerror or "not an address") from error


def _unusable(host: str, port: int, reason: str) -> ConfigError:
    return ConfigError(
        f"cannot listen on {host} port {port} ({reason}); choose another host or port"
    )
