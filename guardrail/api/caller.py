"""Who asks, as far as the wire knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.keys.api_key import NO_LIMITS, KeyLimits, KeyScope

if TYPE_CHECKING:
    from guardrail.keys.api_key import ApiKey

__all__ = ["ANYBODY", "Caller", "caller_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks; nothing of it is secret.

    Attributes:
        key_id: names the key; None where no keys are used.
        name: the key's, for people.
        tenant: to whom it belongs; empty where no keys are used.
        scopes: what the caller may do.
        policy: by which its requests are decided; None for the server's own.
        limits: how much it may ask.
    """

    key_id: str | None
    name: str
    tenant: str
    scopes: frozenset[KeyScope] = frozenset({KeyScope.CLIENT})
    policy: str | None = None
    limits: KeyLimits = NO_LIMITS


ANYBODY = Caller(key_id=None, name="anybody", tenant="")
"""Whoever reaches a server that takes no keys: a client, and no more."""


def caller_of(key: ApiKey) -> Caller:
    """Who asks by this key."""
    return Caller(
        key_id=key.id,
        name=key.name,
        tenant=key.tenant,
        scopes=key.scopes,
        policy=key.policy,
        limits=key.limits,
    )
