"""The options of `serve` that bound what strangers may send; one for each field of `WireLimits`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

from guardrail.api.wire_limits import WireLimits

__all__ = ["wire_options"]

_F = TypeVar("_F", bound=Callable[..., Any])
_HELP = {
    "max_connections": "Connections open at a time.",
    "max_connections_per_address": "The same for one address; behind a load balancer as many as "
    "in all.",
    "max_head_bytes": "Bytes of the request line and the header fields.",
    "max_headers": "Header fields of a request.",
    "head_timeout_s": "Seconds in which they must arrive.",
    "keep_alive_s": "Seconds for which a connection may be idle; longer than the load balancer's.",
    "max_bodies": "Bodies that arrive at a time.",
    "max_bodies_bytes": "Bytes that all bodies together may hold.",
    "min_body_rate_bps": "Bytes per second that a body must bring at the least.",
    "body_grace_s": "Seconds over which that is measured.",
    "body_timeout_s": "Seconds in which a whole body must arrive.",
}


def wire_options(function: _F) -> _F:
    """Gives the command its `wire`, of the options of this file."""
    names = [each.name for each in fields(WireLimits)]

    @functools.wraps(function)
    def with_limits(**options: Any) -> Any:
        wire = WireLimits(**{name: options.pop(name) for name in names})
        return function(**options, wire=wire)

    command: Any = with_limits
    for each in reversed(fields(WireLimits)):
        kind = click.FloatRange if isinstance(each.default, float) else click.IntRange
        option = "--" + each.name.removesuffix("_s").removesuffix("_bps").replace("_", "-")
        command = click.option(
            option,
            each.name,
            default=each.default,
            show_default=True,
            type=kind(min=0, min_open=True),
            help=_HELP[each.name],
        )(command)
    wrapped: _F = command
    return wrapped
