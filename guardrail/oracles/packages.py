"""The packages of an extra: whether they are there, and those that most oracles import."""

from __future__ import annotations

import importlib.util
from typing import Any

from guardrail.distribution import install_command
from guardrail.errors import ConfigError, OracleError

__all__ = ["are_installed", "import_torch", "missing_package", "require"]


def import_torch(extra: str) -> tuple[Any, Any]:
    """The modules torch and transformers.

    Raises:
        OracleError: one of them is not installed; the message names the extra that brings it.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise missing_package(error.name, extra) from error
    return torch, transformers


def missing_package(name: str | None, extra: str) -> OracleError:
    """The error for a package that an oracle cannot do without."""
    return OracleError(f"the package {name} is not installed; {install_command(extra)}")


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
            f"{install_command(extra)}",
            field="oracle.kind",
        )


def are_installed(*packages: str) -> bool:
    """Whether all of them can be imported; none is."""
    return all(map(_is_installed, packages))


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module that was imported without a spec is there all the same
        return True
