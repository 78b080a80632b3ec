"""Where keys are kept: a YAML file for a few, a database where several servers share them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.keys.api_key import ApiKey

__all__ = ["MOST_KEYS", "KeyStore"]

MOST_KEYS = 100_000
"""As many keys as one store may hold: every server holds all of them in memory."""


class KeyStore(Protocol):
    """Keys, read by servers and written by `guardrail keys`. Blocks; for any thread."""

    @property
    def name(self) -> str:
        """What a person would call it; holds no password."""

    def version(self) -> object:
        """A value that is another one as soon as any key has changed. Raises GuardrailError."""

    def read(self) -> tuple[ApiKey, ...]:
        """All keys, revoked ones included, the oldest first. Raises GuardrailError."""

    def add(self, key: ApiKey) -> None:
        """Keeps a new key. Raises GuardrailError."""

    def change(self, key_id: str, edit: Callable[[ApiKey], ApiKey]) -> ApiKey:
        """Puts an edited key in the place of the one with this id, and returns it.

        Raises:
            ConfigError: there is no such key.
            GuardrailError: it cannot be written.
        """

    def close(self) -> None:
        """Closes what is open."""
