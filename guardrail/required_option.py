"""Checks one option of many that somebody set."""

from __future__ import annotations

from guardrail.errors import ConfigError

__all__ = ["require_option"]


def require_option(holds: bool, field: str, what: str) -> None:
    """Raises ConfigError, which names the option and what is wrong, unless it holds."""
    if not holds:
        raise ConfigError(what, field=field)
