"""Who looks at the console: a key's owner who signed in, or whoever is on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardrail.console.roles import ANY_ROLE

if TYPE_CHECKING:
    from guardrail.console.console import Console
    from guardrail.keys.api_key import KeyScope

__all__ = ["LOCAL", "Visitor", "find_visitor"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """One who may see pages.

    Attributes:
        id: stands in labels and saved filters: the id of a key, or `local`.
        name: for people.
        roles: which pages are open.
    """

    id: str
    name: str
    roles: frozenset[KeyScope]


LOCAL = Visitor("local", "this machine", ANY_ROLE)
"""Whoever reaches a server that takes no keys; it listens on this machine alone."""


async def find_visitor(console: Console, token: str | None) -> Visitor | None:
    """Who a session's token stands for; None for nobody.

    Raises:
        RequestError: 503, it is not known which keys are valid.
        StorageError: the sessions cannot be read.
    """
    if console.keys is None:
        return LOCAL
    session = None if token is None else await console.run(console.sessions.find, token)
    key = None if session is None else console.keys.find_by_id(session.key_id)
    if session is None or key is None or not session.belongs_to(key, datetime.now(UTC)):
        return None
    return Visitor(key.id, key.name, key.scopes & ANY_ROLE)
