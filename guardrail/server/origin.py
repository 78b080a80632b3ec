"""Where an HTTP request came from, for its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardrail.records.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["origin_of"]


def origin_of(scope: Mapping[str, Any]) -> Origin:
    """The route by its pattern, the request's id, and the id of the caller's key, if it has one."""
    caller = scope.get("guardrail.caller")
    return Origin(
        route=getattr(scope.get("route"), "path", ""),
        request_id=scope.get("guardrail.request_id") or "",
        api_key_id=getattr(caller, "key_id", None) or "",
    )
