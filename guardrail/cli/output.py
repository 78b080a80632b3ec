"""Files that a command will write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["require_writable"]


def require_writable(path: Path) -> None:
    """Says that a file cannot be written before minutes of work are lost. Raises ConfigError."""
    folder = path.parent
    if not folder.is_dir():
        raise ConfigError(f"there is no folder '{folder}'; make it first", file=str(path))
    if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
        raise ConfigError("this file cannot be written; choose another place", file=str(path))
