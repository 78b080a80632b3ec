"""Options of who may reach a server: keys, TLS, and whether anybody may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from guardrail.cli.environment import SecretOption
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from guardrail.keys.authenticator import Authenticator
    from guardrail.server.tls import TlsFiles

__all__ = ["ACCESS_OPTIONS", "Access", "access_options", "key_options", "open_access"]

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Access:
    """Who may reach a server.

    Attributes:
        keys: knows the API keys; None where none are taken.
        tls: certificate and key; None for plain HTTP.
        allow_anyone: whether the operator said that strangers may.
        description: a line or two for the operator.
    """

    keys: Authenticator | None
    tls: TlsFiles | None
    allow_anyone: bool
    description: str


def key_options(function: _F) -> _F:
    """--keys, --pepper."""
    for option in (
        click.option(
            "--pepper",
            "pepper_path",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Secret file without which the keys' digests say nothing.  [default: the name of "
            "the file of keys and .pepper]",
        ),
        click.option(
            "--keys",
            "keys_address",
            metavar="FILE|URL",
            cls=SecretOption,
            help="Where the API keys are: a .yaml file, a .db file or the URL of a database; see "
            "'guardrail keys'. A URL with a password had better come by GUARDRAIL_KEYS_FILE, the "
            "name of a file that holds it.",
        ),
    ):
        function = option(function)
    return function


def access_options(function: _F) -> _F:
    """--keys, --pepper, --allow-anyone, --tls-cert, --tls-key."""
    pem = click.Path(path_type=Path, dir_okay=False)
    for option in (
        click.option("--tls-key", type=pem, help="Its private key (PEM, unencrypted)."),
        click.option(
            "--tls-cert",
            type=pem,
            help="Certificate with its chain (PEM), for HTTPS; read again when it is renewed.",
        ),
        click.option(
            "--allow-anyone",
            is_flag=True,
            help="Listen beyond this machine without --keys: whoever reaches the port may ask.",
        ),
    ):
        function = option(function)
    return key_options(function)


ACCESS_OPTIONS = ("keys_address", "pepper_path", "allow_anyone", "tls_cert", "tls_key")
"""What `access_options` adds to a command's parameters."""


def open_access(
    host: str,
    *,
    keys_address: str | None,
    pepper_path: Path | None,
    allow_anyone: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> Access:
    """What the options say; nothing is opened where they do not fit together.

    Raises:
        ConfigError: they do not, the keys cannot be read, or the address is open to strangers.
    """
    from guardrail.server.bind import check_bind
    from guardrail.server.tls import TlsFiles

    if (tls_cert is None) != (tls_key is None):
        raise ConfigError("give --tls-cert and --tls-key together", field="tls")
    if keys_address is None and pepper_path is not None:
        raise ConfigError("a pepper is for keys; name them by --keys too", field="pepper")
    if keys_address is not None and allow_anyone:
        raise ConfigError("--keys and --allow-anyone contradict each other; give one of them")
    check_bind(host, takes_keys=keys_address is not None, allow_anyone=allow_anyone)
    tls = None if tls_cert is None or tls_key is None else TlsFiles(tls_cert, tls_key)
    keys = None if keys_address is None else _open_keys(keys_address, pepper_path)
    return Access(keys, tls, allow_anyone, _describe(host, keys, tls))


def _open_keys(address: str, pepper_path: Path | None) -> Authenticator:
    from guardrail.keys.authenticator import Authenticator
    from guardrail.keys.opening import open_key_store, pepper_file
    from guardrail.keys.pepper import read_pepper

    pepper = read_pepper(pepper_path or pepper_file(address))
    store = open_key_store(address)
    try:
        return Authenticator(store, pepper)
    except BaseException:
        store.close()
        raise


def _describe(host: str, keys: Authenticator | None, tls: TlsFiles | None) -> str:
    from guardrail.server.bind import is_loopback

    if keys is not None:
        plain = tls is None and not is_loopback(host)
        told = "; WARNING: keys travel unencrypted, so put TLS in front or give --tls-cert"
        return f"callers need an API key of {keys.where}{told if plain else ''}"
    if is_loopback(host):
        return "no API keys: whoever is on this machine may ask"
    return f"WARNING: no API keys: whoever reaches {host} may ask, at the expense of the upstream"
