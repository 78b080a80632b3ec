"""`guardrail keys`: makes API keys, lists, shows, replaces and revokes them."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from guardrail.cli.access import key_options
from guardrail.cli.environment import variable_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from guardrail.keys.api_key import ApiKey
    from guardrail.keys.store import KeyStore

__all__ = ["command"]

_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class _Span(click.ParamType[timedelta]):
    """A time as `90d`."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = _SPAN.fullmatch(str(value).strip())
        if found is None:
            self.fail("give a number and m, h, d or w, as 90d", param, ctx)
        return timedelta(**{_UNITS[found[2]]: int(found[1])})


@click.group("keys")
def command() -> None:
    """Make API keys, list, show, replace and revoke them.

    A secret is shown once, when it is made; what is kept is its digest. Servers see a change
    within some seconds.
    """


def _store_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--keys and --pepper, also by their variables."""
    function = key_options(function)
    for option in function.__click_params__[-2:]:  # type: ignore[attr-defined] # click's own list
        option.envvar = variable_of(option)
        option.show_envvar = True
        option.required = option.name == "keys_address"
    return function


@command.command("create")
@_store_options
@click.option("--name", required=True, help="What it is for, as 'chat page'; for people.")
@click.option("--tenant", required=True,
              help="To whom it belongs. Keys of one tenant share what is remembered; keys of two "
              "never do.")  # fmt: skip
@click.option("--scope", "scopes", multiple=True, default=("client",), show_default=True,
              type=click.Choice(["client", "reviewer", "editor", "admin"]),
              help="What it may do; several times for more. None contains another.")  # fmt: skip
@click.option("--policy", help="Policy by which its requests are decided.  [default: the server's]")
@click.option("--expires", type=_Span(), help="After how long, as 90d.  [default: never]")
@click.option("--requests-per-minute", type=int, help="Most requests in any 60 seconds.")
@click.option("--calls-per-minute", type=int,
              help="Most calls to models in any 60 seconds. A decision sets aside as many as its "
              "plan may take, and gives back what it does not use.")  # fmt: skip
@click.option("--max-concurrency", type=int, help="Most requests at a time.")
@click.option("--usd-per-day", type=float,
              help="Most US dollars for calls to models in a day (UTC).")  # fmt: skip
def create(
    keys_address: str,
    pepper_path: Path | None,
    name: str,
    tenant: str,
    scopes: tuple[str, ...],
    policy: str | None,
    expires: timedelta | None,
    **limits: Any,
) -> None:
    """Make a key and print its secret, once."""
    from guardrail.keys.api_key import ApiKey, KeyLimits, KeyScope, new_key_id, utc_now
    from guardrail.keys.opening import pepper_file
    from guardrail.keys.pepper import create_pepper
    from guardrail.keys.secret import digest_secret, new_secret

    now, secret = utc_now(), new_secret()
    chosen_limits = KeyLimits(**limits)
    with _open_store(keys_address) as store:
        pepper = create_pepper(pepper_path or pepper_file(keys_address))
        key = ApiKey(
            id=new_key_id(),
            digest=digest_secret(secret, pepper),
            name=name,
            tenant=tenant,
            scopes=frozenset(map(KeyScope, scopes)),
            policy=policy,
            limits=chosen_limits,
            created=now,
            expires=None if expires is None else now + expires,
        )
        store.add(key)
    _tell_secret(key, secret)


@command.command("list")
@_store_options
def list_keys(keys_address: str, pepper_path: Path | None) -> None:
    """List all keys, the oldest first."""
    from rich.console import Console
    from rich.table import Table

    from guardrail.keys.api_key import utc_now

    del pepper_path
    with _open_store(keys_address) as store:
        keys, now = store.read(), utc_now()
    table = Table("id", "name", "tenant", "scopes", "state", "created", "expires")
    for key in keys:
        table.add_row(
            key.id,
            key.name,
            key.tenant,
            " ".join(sorted(key.scopes)),
            _state(key, now),
            f"{key.created:%Y-%m-%d}",
            "never" if key.expires is None else f"{key.expires:%Y-%m-%d %H:%M}",
        )
    Console().print(table)


@command.command("show")
@_store_options
@click.argument("key_id", metavar="ID")
def show(keys_address: str, pepper_path: Path | None, key_id: str) -> None:
    """Show one key, without its digest."""
    from guardrail.errors import ConfigError
    from guardrail.keys.api_key import utc_now

    del pepper_path
    with _open_store(keys_address) as store:
        key = next((one for one in store.read() if one.id == key_id), None)
    if key is None:
        raise ConfigError(f"there is no key {key_id!r}; 'guardrail keys list' shows them")
    rows: dict[str, object] = {
        "id": key.id,
        "state": _state(key, utc_now()),
        "name": key.name,
        "tenant": key.tenant,
        "scopes": " ".join(sorted(key.scopes)),
        "policy": key.policy or "the server's",
        **{
            limit: "no limit" if (value := getattr(key.limits, limit)) is None else f"{value:g}"
            for limit in key.limits.__dataclass_fields__
        },
        "created": key.created.isoformat(),
        "expires": "never" if key.expires is None else key.expires.isoformat(),
    }
    if key.revoked is not None:
        rows["revoked"] = key.revoked.isoformat()
    if key.old_until is not None:
        rows["secret before taken until"] = key.old_until.isoformat()
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{name:{width}}  {value}")


@command.command("revoke")
@_store_options
@click.argument("key_id", metavar="ID")
def revoke(keys_address: str, pepper_path: Path | None, key_id: str) -> None:
    """Refuse a key from now on, for good."""
    import dataclasses

    from guardrail.keys.api_key import utc_now

    del pepper_path

    def edit(key: ApiKey) -> ApiKey:
        return dataclasses.replace(
            key, revoked=key.revoked or utc_now(), old_digest=None, old_until=None
        )

    with _open_store(keys_address) as store:
        key = store.change(key_id, edit)
    click.echo(f"revoked {key.id} ({key.name}); running servers refuse it within some seconds")


@command.command("rotate")
@_store_options
@click.option("--grace", type=_Span(), default="24h", show_default=True,
              help="For how long the secret before is still taken; 0m for not at all.")  # fmt: skip
@click.argument("key_id", metavar="ID")
def rotate(keys_address: str, pepper_path: Path | None, grace: timedelta, key_id: str) -> None:
    """Give a key another secret, and print that, once; id, limits and scopes stay."""
    import dataclasses

    from guardrail.errors import ConfigError
    from guardrail.keys.api_key import utc_now
    from guardrail.keys.opening import pepper_file
    from guardrail.keys.pepper import read_pepper
    from guardrail.keys.secret import digest_secret, new_secret

    secret, now = new_secret(), utc_now()
    digest = digest_secret(secret, read_pepper(pepper_path or pepper_file(keys_address)))

    def edit(key: ApiKey) -> ApiKey:
        if not key.is_valid(now):
            raise ConfigError(f"the key {key.id} is {_state(key, now)}; make a new one")
        return dataclasses.replace(
            key,
            digest=digest,
            old_digest=key.digest if grace else None,
            old_until=now + grace if grace else None,
        )

    with _open_store(keys_address) as store:
        key = store.change(key_id, edit)
    _tell_secret(key, secret)


@contextmanager
def _open_store(address: str) -> Iterator[KeyStore]:
    from guardrail.keys.opening import open_key_store

    store = open_key_store(address)
    try:
        yield store
    finally:
        store.close()


def _tell_secret(key: ApiKey, secret: str) -> None:
    """The secret alone on stdout, so that a script can take it."""
    click.echo(
        f"{key.id} ({key.name}, tenant {key.tenant}); its secret is shown only now:", err=True
    )
    click.echo(secret)


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked is not None:
        return "revoked"
    return "valid" if key.is_valid(now) else "expired"
