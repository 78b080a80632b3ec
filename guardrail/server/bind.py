"""Where a server without keys may listen: on this machine alone, unless it is told otherwise."""

from __future__ import annotations

import ipaddress
import socket

from guardrail.errors import ConfigError

__all__ = ["check_bind", "is_loopback"]


def check_bind(host: str, *, takes_keys: bool, allow_anyone: bool) -> None:
    """Raises ConfigError where strangers could spend the key of the upstream.

    Args:
        host: address or name to listen on.
        takes_keys: whether callers need a key.
        allow_anyone: whether the operator said that they need none.
    """
    if takes_keys or allow_anyone or not _find_addresses(host) or is_loopback(host):
        return  # a name that stands for nothing is reported where it is listened on
    raise ConfigError(
        f"whoever reaches {host} could use this server, as it takes no API keys: make keys by "
        "'guardrail keys create' and name them by --keys, or listen on 127.0.0.1 behind a proxy "
        "that knows its callers, or say --allow-anyone if the network lets in only those who may",
        field="host",
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches every address that a name stands for."""
    addresses = _find_addresses(host)
    return bool(addresses) and all(ipaddress.ip_address(one).is_loopback for one in addresses)


def _find_addresses(host: str) -> set[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(address[0]).partition("%")[0] for *_, address in found}
