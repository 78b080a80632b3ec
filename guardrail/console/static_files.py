"""The console's scripts and styles: files of this package, read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response

from guardrail.console.templates import STATIC, read_static

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["serve_static"]

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_KEPT_S = 365 * 24 * 3600  # their addresses change with their content


async def serve_static(request: Request) -> Response:
    """A file by its name; 404 for any other name."""
    found = _files().get(request.path_params["name"])
    if found is None:
        raise HTTPException(404)
    content, kind = found
    headers = {"cache-control": f"public, max-age={_KEPT_S}, immutable"}
    return Response(content, media_type=kind, headers=headers)


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    names = [
        file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*") if file.suffix in _TYPES
    ]
    return {name: (read_static(name), _TYPES[Path(name).suffix]) for name in names}
