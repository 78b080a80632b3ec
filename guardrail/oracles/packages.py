"""Whether the packages of an extra are there, before anything is built on them."""

from __future__ import annotations

import importlib.util

from guardrail.errors import ConfigError

__all__ = ["require"]


def require(kind: str, *packages: str, extra: str) -> None:
    """Raises ConfigError, with the remedy, where an oracle's packages are not installed.

    Args:
        kind: the oracle, as policies name it.
        packages: what it imports.
        extra: the extra of this distribution that brings them.
    """
    missing = [name for name in packages if not _is_installed(name)]
    if missing:
        raise ConfigError(
            f"the oracle '{kind}' needs {', '.join(missing)}, which is not installed; "
            f"pip install 'guardrail[{extra}]'",
            field="oracle.kind",
        )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module that was imported without a spec is there all the same
        return True
