"""An API key as it is kept: its digest, whose it is, what it may do, and how much."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum

from guardrail.errors import ConfigError

__all__ = ["NO_LIMITS", "ApiKey", "KeyLimits", "KeyScope", "new_key_id", "utc_now"]

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@:/+-]{0,127}")
_ID = re.compile(r"key_[0-9a-f]{16}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_COUNT = 1_000_000_000


class KeyScope(StrEnum):
    """What a key is for. None of them contains another one: a key lists all that it is for."""

    CLIENT = "client"
    """The guarded routes and the list of models."""
    REVIEWER = "reviewer"
    """Reads decisions, and gives judgements on them."""
    EDITOR = "editor"
    """Proposes and tries policies."""
    ADMIN = "admin"
    """Changes what the server does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """How much a key may ask; None sets no limit.

    Attributes:
        requests_per_minute: most requests in any 60 seconds.
        calls_per_minute: most calls to models in any 60 seconds; one decision makes dozens.
        max_concurrency: most requests that are read, wait or are decided at a time.
        usd_per_day: most US dollars for calls to models in a day (UTC).

    Raises:
        ConfigError: one of them is not positive, or too large to be meant.
    """

    requests_per_minute: int | None = None
    calls_per_minute: int | None = None
    max_concurrency: int | None = None
    usd_per_day: float | None = None

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value is not None and not 0 < value <= _MOST_COUNT:
                raise ConfigError(
                    f"must be above 0 and at most {_MOST_COUNT}, not {value!r}; leave it out for "
                    "no limit",
                    field=f"limits.{one.name}",
                )


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key. All times are in UTC.

    Attributes:
        id: stays when the secret is replaced; names the key in records and logs.
        digest: of the secret, see `digest_secret`.
        name: for people.
        tenant: to whom it belongs; keys of one tenant share what is remembered.
        scopes: what it is for.
        policy: by which its requests are decided; None for the server's own.
        limits: how much it may ask.
        created: when.
        expires: from when on it is refused; None for never.
        revoked: since when it is refused for good.
        old_digest: of the secret before, which is still taken until `old_until`.

    Raises:
        ConfigError: a field has no sense.
    """

    id: str
    digest: str = field(repr=False)
    name: str
    tenant: str
    scopes: frozenset[KeyScope] = frozenset({KeyScope.CLIENT})
    policy: str | None = None
    limits: KeyLimits = NO_LIMITS
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    old_digest: str | None = field(default=None, repr=False)
    old_until: datetime | None = None

    def __post_init__(self) -> None:
        _check(_ID.fullmatch(self.id), "id", "must be key_ and 16 hexadecimal digits")
        for name in ("name", "tenant") if self.policy is None else ("name", "tenant", "policy"):
            told = "must be up to 128 letters, digits, blanks and ._@:/+-, and begin with a letter "
            _check(_WORD.fullmatch(getattr(self, name)), name, told + "or digit")
        for digest in (self.digest, self.old_digest):
            if digest is not None:
                _check(_DIGEST.fullmatch(digest), "digest", "must be 64 hexadecimal digits")
        both = (self.old_digest is None) == (self.old_until is None)
        _check(both, "old_until", "belongs to old_digest; give both or neither")
        _check(self.scopes, "scopes", f"must name what it is for: {', '.join(KeyScope)}")
        for name in ("created", "expires", "revoked", "old_until"):
            at = getattr(self, name)
            _check(at is None or at.tzinfo is not None, name, "must say its time zone")

    def is_valid(self, now: datetime) -> bool:
        """Whether it may be used, its limits aside."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def digests(self, now: datetime) -> tuple[str, ...]:
        """Those of the secrets that are taken for it."""
        if self.old_digest is None or self.old_until is None or now >= self.old_until:
            return (self.digest,)
        return (self.digest, self.old_digest)


def new_key_id() -> str:
    return f"key_{secrets.token_hex(8)}"


def utc_now() -> datetime:
    """The time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def _check(holds: object, name: str, told: str) -> None:
    if not holds:
        raise ConfigError(told, field=name)
