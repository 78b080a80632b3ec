"""GET /docs: the OpenAPI document as one page that loads nothing else."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from guardrail.types import Json

__all__ = ["docs_page", "docs_router"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-top: 1px solid #8884; padding-top: 1.5rem }
h2 code { font-size: 1.05rem } pre, td code { font-size: .875rem }
pre { background: #8881; padding: .75rem 1rem; overflow-x: auto }
table { border-collapse: collapse } td { padding: .2rem 1.2rem .2rem 0; vertical-align: top }
:root { color-scheme: light dark }
"""
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}


def docs_router(document: Callable[[], Mapping[str, Json]]) -> APIRouter:
    """The route; `document` makes the OpenAPI document when it is first asked for."""
    router = APIRouter()

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(document()), headers=_HEADERS)

    return router


def docs_page(document: Mapping[str, Json]) -> str:
    """The page; every text of the document is escaped."""
    info = document["info"]
    sections = "".join(
        _section(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    title = escape(info["title"])
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
        f"<p>{escape(info.get('description', ''))}</p>"
        f'<p>The same for machines: <a href="openapi.json">openapi.json</a></p>{sections}</html>'
    )


def _section(path: str, method: str, operation: Mapping[str, Json]) -> str:
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('summary', ''))}</p>{_request(operation)}"
        f"<table>{''.join(_answers(operation))}</table>"
    )


def _request(operation: Mapping[str, Json]) -> str:
    if "requestBody" not in operation:
        return ""
    content = operation["requestBody"]["content"]["application/json"]
    schema = content["schema"]
    rows = "".join(
        _row(name + (" *" if name in schema["required"] else ""), field["description"])
        for name, field in schema["properties"].items()
    )
    more = "passed on" if schema["additionalProperties"] else "refused"
    example = escape(json.dumps(content["example"], indent=2))
    return f"<table>{rows}</table><p>Other fields are {more}.</p><pre>{example}</pre>"


def _answers(operation: Mapping[str, Json]) -> Iterator[str]:
    for status, answer in operation["responses"].items():
        yield _row(status, answer["description"])


def _row(name: str, told: str) -> str:
    return f"<tr><td><code>{escape(name)}</code></td><td>{escape(told)}</td></tr>"
