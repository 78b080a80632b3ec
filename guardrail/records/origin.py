"""Where a request came from, as far as it is known."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TRIED_ROUTE", "UNKNOWN_ORIGIN", "Origin"]

TRIED_ROUTE = "/console/playground"
"""The route of what people only try: no client asked it, and no answer left."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked, and how; see the fields of the same names of `Record`.

    `principal` is the end user's name as it was given, of which a record holds a keyed digest.
    """

    route: str = ""
    request_id: str = ""
    principal: str = ""
    api_key_id: str = ""


UNKNOWN_ORIGIN = Origin()
