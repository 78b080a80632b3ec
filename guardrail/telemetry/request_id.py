"""The name of a request, by which its log line, its record and its answer are found together."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import TYPE_CHECKING

from guardrail.context_variable import SetVariable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HEADER", "choose_request_id", "current_request_id", "use_request_id"]

HEADER = "x-request-id"
_CURRENT: ContextVar[str | None] = ContextVar("guardrail_request_id", default=None)
_WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def choose_request_id(given: Sequence[str]) -> str:
    """The client's own id where it sent one that is well-formed, else a new one.

    Args:
        given: the values of all its headers `x-request-id`. 1 to 128 letters, digits, dots,
            hyphens and underscores, the first one a letter or a digit, are well-formed.
    """
    if len(given) == 1 and _WELL_FORMED.fullmatch(given[0]):
        return given[0]
    return secrets.token_hex(16)


def current_request_id() -> str | None:
    """The id of the request that is served now; None outside of any."""
    return _CURRENT.get()


def use_request_id(request_id: str) -> SetVariable[str | None]:
    """Makes it the current one, for this task and those that it begins meanwhile."""
    return SetVariable(_CURRENT, request_id)
