"""What one look at one part of a server found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Level", "error", "ok", "skip_check", "warning"]


class Level(StrEnum):
    """How bad it is. `SKIPPED`: it was not looked at, and nothing is known."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        check: what was looked at, as `upstream.seeds`.
        level: how bad it is.
        message: what was found; holds no key and no content.
        remedy: what to do; empty where there is nothing to do.
    """

    check: str
    level: Level
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, remedy: str) -> Finding:
    return Finding(check, Level.WARNING, message, remedy)


def error(check: str, message: str, remedy: str = "") -> Finding:
    return Finding(check, Level.ERROR, message, remedy)


def skip_check(check: str, message: str) -> Finding:
    return Finding(check, Level.SKIPPED, message)
