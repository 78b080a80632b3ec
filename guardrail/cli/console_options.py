"""Whether `serve` shows a console, and what it needs for it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from guardrail.database.address import is_database
from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.routing import BaseRoute

    from guardrail.api.deployment import Deployment
    from guardrail.keys.authenticator import Authenticator
    from guardrail.telemetry.telemetry import Telemetry

__all__ = ["open_console_routes", "wants_console"]


def wants_console(asked: bool | None, *, place: str | None, host: str, takes_keys: bool) -> bool:
    """Whether there is a console.

    Args:
        asked: what the operator said; None for what fits.
        place: where records go.
        host: address that is listened on.
        takes_keys: whether callers need a key. Without keys whoever reaches the server would be
            let in, so that it must be this machine alone.

    Raises:
        ConfigError: one is asked for where there can be none.
    """
    from guardrail.server.bind import is_loopback

    if asked is False:
        return False
    has_records = place is not None and is_database(place)
    if asked and not has_records:
        raise ConfigError(
            "the console shows records of a database; name one by --records FILE.db or "
            "--records postgresql://USER@HOST/NAME",
            field="console",
        )
    is_safe = takes_keys or is_loopback(host)
    if asked and not is_safe:
        raise ConfigError(
            f"the console would be open to whoever reaches {host}: name the keys that it asks for "
            "by --keys, or listen on 127.0.0.1",
            field="console",
        )
    return has_records and is_safe


@contextmanager
def open_console_routes(
    place: str,
    *,
    keys: Authenticator | None,
    content_key: Path | None,
    deployment: Deployment,
    telemetry: Telemetry,
    needs_second_person: bool,
) -> Iterator[list[BaseRoute]]:
    """The routes of the console of records at `place`.

    What was asked and answered is opened for signed-in reviewers only: without keys every program
    on this machine could read it.

    Raises:
        ConfigError: the database cannot be opened; or a second person is asked for where nobody
            signs in, so that all are one.
        StorageError: it cannot be reached.
    """
    if needs_second_person and keys is None:
        raise ConfigError(
            "without keys all readers of the console are one person; name keys by --keys",
            field="console_second_person",
        )
    from guardrail.console.app import console_routes
    from guardrail.console.console import open_console
    from guardrail.records.content import load_or_create_content_keys

    content_keys = None
    if keys is not None and content_key is not None:
        content_keys = load_or_create_content_keys(content_key)
    with open_console(
        place,
        keys=keys,
        content_keys=content_keys,
        deployment=deployment,
        telemetry=telemetry,
        needs_second_person=needs_second_person,
    ) as console:
        yield console_routes(console)
