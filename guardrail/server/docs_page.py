"""GET /docs: the OpenAPI document as one page that loads nothing else."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

from guardrail.html_page.page import make_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from guardrail.types import Json

__all__ = ["docs_endpoint", "docs_page"]

_STYLE = """
* { box-sizing: border-box }
body { margin: 0; font: 15px/1.5 var(--text); color: var(--ink); background: var(--page) }
main { max-width: 60rem; margin: 0 auto; padding: 28px 24px 48px } a { color: var(--link) }
h1 { font-size: 24px; margin: 0 0 6px } h1 small { font-size: 14px; color: var(--soft) }
h2 { margin: 40px 0 0; font-size: 17px; border-top: 1px solid var(--line); padding-top: 22px }
h3 { margin: 20px 0 4px; font-size: 13px; color: var(--soft) } p { margin: 4px 0 10px }
.kind { font-size: 13px; color: var(--soft) } h2, p, td { overflow-wrap: anywhere }
code, pre { font: 13px/1.5 var(--mono) } h2 code { font-size: 16px }
p code, td.words code { background: var(--hover); padding: 1px 4px; border-radius: 3px }
.verb { font: 600 12px/1 var(--mono); background: var(--good-back); color: var(--good) }
.verb { display: inline-block; border-radius: 4px; padding: 4px 7px; margin-right: 6px }
.verb.get { background: var(--watch-back); color: var(--watch) } sup { color: var(--bad) }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px }
pre { padding: 10px 14px; overflow-x: auto; margin: 0; position: relative }
table { border-collapse: collapse; width: 100% } tr + tr { border-top: 1px solid var(--line) }
td { padding: 6px 16px 6px 0; vertical-align: top } td:last-child { padding-right: 0 }
td:first-child { width: 15rem } td.kind { width: 8rem } td.status { width: 4rem }
nav td:first-child { width: 24rem } nav tr + tr { border: 0 } nav td { padding: 3px 16px 3px 0 }
@media (max-width: 640px) { main { padding: 18px 14px 32px }
  table, tbody, tr, td, td:first-child, td.kind, td.status { display: block; width: auto }
  nav td:first-child { width: auto }
  td, nav td { padding: 1px 0 } tr { padding: 7px 0 } nav tr { padding: 4px 0 } }
"""
_KINDS = {
    "string": "text",
    "boolean": "true or false",
    "integer": "whole number",
    "array": "list",
    "object": "object",
}
_SMALL = re.compile(r"[\[{][^\[\]{}]*\n[^\[\]{}]*[\]}]")
_LINE = 88
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}


def docs_endpoint(document: Mapping[str, Json]) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint that shows this document."""

    async def answer(_request: Request) -> Response:
        return HTMLResponse(docs_page(document), headers=_HEADERS)

    return answer


def docs_page(document: Mapping[str, Json]) -> str:
    """The page; every text of the document is escaped."""
    info = document["info"]
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    title, version = escape(info["title"]), escape(info.get("version", ""))
    body = (
        f"<h1>{title} <small>{version}</small></h1><p>{_prose(info.get('description', ''))} "
        'The same for machines: <a href="openapi.json">openapi.json</a></p>'
        '<nav aria-label="Routes"><table>'
        f"{''.join(_entry(*operation) for operation in operations)}</table></nav>"
        f"{''.join(_section(*operation) for operation in operations)}"
    )
    return make_page(info["title"], body, _STYLE)


def _entry(path: str, method: str, operation: Mapping[str, Json]) -> str:
    anchor = escape(_anchor(path, method))
    link = f'<a href="#{anchor}"><code>{escape(path)}</code></a>'
    told = _prose(operation.get("summary", ""))
    return f"<tr><td>{_verb(method)}{link}</td><td>{told}</td></tr>"


def _section(path: str, method: str, operation: Mapping[str, Json]) -> str:
    return (
        f'<h2 id="{escape(_anchor(path, method))}">{_verb(method)}<code>{escape(path)}</code></h2>'
        f"<p>{_prose(operation.get('summary', ''))}</p>{_request(operation)}"
        f"<h3>Answers</h3><table>{''.join(_answers(operation))}</table>"
    )


def _anchor(path: str, method: str) -> str:
    return f"{method}{path}"


def _verb(method: str) -> str:
    return f'<b class="verb {escape(method)}">{escape(method.upper())}</b> '


def _request(operation: Mapping[str, Json]) -> str:
    if "requestBody" not in operation:
        return ""
    content = operation["requestBody"]["content"]["application/json"]
    schema = content["schema"]
    more = "passed on" if schema["additionalProperties"] is True else "refused"
    example = escape(_compact(content["example"]))
    return (
        f"<h3>Body</h3><table>{''.join(_fields(schema))}</table>"
        f"<p><sup>*</sup> required. Other fields are {more}.</p>"
        f'<h3>Example</h3><pre tabindex="0" aria-label="Example">{example}</pre>'
    )


def _fields(schema: Mapping[str, Json]) -> Iterator[str]:
    """One row for each description; fields that share one stand together."""
    rows: dict[tuple[str, str], list[str]] = {}
    for name, field in schema["properties"].items():
        mark = "<sup>*</sup>" if name in schema["required"] else ""
        row = (_kind(field), field["description"])
        rows.setdefault(row, []).append(f"<code>{escape(name)}</code>{mark}")
    for (kind, told), names in rows.items():
        yield (
            f'<tr><td>{", ".join(names)}</td><td class="kind">{escape(kind)}</td>'
            f'<td class="words">{_prose(told)}</td></tr>'
        )


def _kind(field: Mapping[str, Json]) -> str:
    """What a field holds, in a word or two."""
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "anyOf" in field:
        kinds = [_kind(shape) for shape in field["anyOf"] if shape.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    return _KINDS.get(field.get("type", ""), "")


def _compact(example: Json) -> str:
    """JSON with what is short on one line."""
    text = json.dumps(example, indent=2)
    while (shorter := _SMALL.sub(_on_one_line, text)) != text:
        text = shorter
    return text


def _on_one_line(match: re.Match[str]) -> str:
    joined = re.sub(r"\s*\n\s*", " ", match[0])
    return joined if len(joined) <= _LINE else match[0]


def _answers(operation: Mapping[str, Json]) -> Iterator[str]:
    for status, answer in operation["responses"].items():
        told = _prose(answer["description"])
        code = f'<td class="status"><code>{escape(status)}</code></td>'
        yield f'<tr>{code}<td class="words">{told}</td></tr>'


def _prose(text: str) -> str:
    """Escaped, and what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
