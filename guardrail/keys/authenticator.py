"""Knows keys by their secrets, from a copy of the store in memory that a thread keeps fresh.

A request asks nobody: it digests its secret (about 2 µs) and looks the digest up. A key that was
revoked in the store is refused some seconds later by every server.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError, GuardrailError, RequestError
from guardrail.keys.api_key import NO_LIMITS
from guardrail.keys.secret import digest_secret, is_secret
from guardrail.keys.store import MOST_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from guardrail.keys.api_key import ApiKey
    from guardrail.keys.store import KeyStore

__all__ = ["Authenticator"]

_log = logging.getLogger(__name__)
_NOTHING = "0" * 64
"""What an unknown digest is compared with, so that it takes as long as a known one."""


class Authenticator:
    """Finds the key of a secret. Used from any thread; `find` never waits.

    If the store cannot be read, the last copy serves for `longest_s` more, and then nobody is let
    in: a key may have been revoked since.

    Args:
        store: where the keys are; it is closed with this.
        pepper: see `digest_secret`.
        refresh_s: how often the store is asked whether anything has changed.
        longest_s: how old the copy may become.
        clock: seconds that never run backwards; for tests.

    Raises:
        GuardrailError: the store cannot be read, or holds too many keys.
    """

    def __init__(
        self,
        store: KeyStore,
        pepper: bytes,
        *,
        refresh_s: float = 2.0,
        longest_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._pepper = pepper
        self._refresh_s = refresh_s
        self._longest_s = longest_s
        self._clock = clock
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._version: object = None
        self._by_digest: Mapping[str, ApiKey] = {}
        self._by_id: Mapping[str, ApiKey] = {}
        self._read_at = 0.0
        self.refresh()

    def __repr__(self) -> str:
        return f"Authenticator({self._store.name!r}, {len(self._by_digest)} digests)"

    @property
    def where(self) -> str:
        """Where the keys are, without passwords."""
        return self._store.name

    @property
    def has_limits(self) -> bool:
        """Whether any key has a limit now."""
        return any(key.limits != NO_LIMITS for key in self._by_digest.values())

    def start(self) -> None:
        """Keeps the copy fresh from now on, in a thread that ends by `close`."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._keep_fresh, name="guardrail-keys", daemon=True
            )
            self._thread.start()

    def find(self, secret: str) -> ApiKey | None:
        """The key of a secret; None where there is none that may be used now.

        Raises:
            RequestError: 503, it is not known which keys are valid.
        """
        self._check_age()
        if not is_secret(secret):
            return None
        digest, now = self.digest(secret), datetime.now(UTC)
        key = self._by_digest.get(digest)
        # The digest of what a stranger sends cannot be steered without the pepper, so the time of
        # the look-up tells nothing of the table; the comparison is of the same length either way.
        taken = (_NOTHING,) if key is None else key.digests(now)
        is_same = any([hmac.compare_digest(digest, one) for one in taken])  # noqa: C419 (all)
        return key if key is not None and is_same and key.is_valid(now) else None

    def find_by_id(self, key_id: str) -> ApiKey | None:
        """The key of this id; None where there is none that may be used now.

        Raises:
            RequestError: 503, it is not known which keys are valid.
        """
        self._check_age()
        key = self._by_id.get(key_id)
        return key if key is not None and key.is_valid(datetime.now(UTC)) else None

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """All keys of the copy, revoked ones included."""
        return tuple(self._by_id.values())

    def digest(self, secret: str) -> str:
        """What is kept of a secret, see `digest_secret`."""
        return digest_secret(secret, self._pepper)

    def refresh(self) -> None:
        """Reads the store if it has changed. Raises GuardrailError; the old copy then stays."""
        began, version = self._clock(), self._store.version()
        if version != self._version:
            keys = self._store.read()
            self._by_digest = _by_digest(keys)
            self._by_id = {key.id: key for key in keys}
            self._version = version
        self._read_at = began

    def close(self) -> None:
        """Ends the thread and closes the store."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._store.close()

    def _check_age(self) -> None:
        if self._clock() - self._read_at > self._longest_s:
            raise RequestError(
                "the server's list of API keys could not be read for too long; retry later",
                status=503,
                code="keys_unavailable",
            )

    def _keep_fresh(self) -> None:
        was_fine = True
        # At once: what comes before the first request may have taken longer than a copy serves.
        while not self._ended.is_set():
            try:
                self.refresh()
            except GuardrailError as error:
                self._report(str(error), was_fine)
                was_fine = False
            except Exception as error:  # noqa: BLE001 (the thread must outlive any fault)
                self._report(type(error).__name__, was_fine)
                was_fine = False
            else:
                was_fine = True
            self._ended.wait(self._refresh_s)

    def _report(self, what: str, is_new: bool) -> None:
        if is_new:
            _log.error(
                "the API keys cannot be read again (%s); after %g s nobody is let in",
                what,
                self._longest_s,
            )


def _by_digest(keys: Sequence[ApiKey]) -> dict[str, ApiKey]:
    if len(keys) > MOST_KEYS:
        raise ConfigError(f"there are more than {MOST_KEYS} API keys; delete old ones")
    found = {key.digest: key for key in keys}
    found.update({key.old_digest: key for key in keys if key.old_digest is not None})
    return found
