"""GET /docs: the OpenAPI document as one page that loads nothing else."""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from guardrail.types import Json

__all__ = ["docs_endpoint", "docs_page"]

_STYLE = """
:root { color-scheme: light dark; --line: #8883; --soft: #8881; --dim: #777; --mark: #0a7d55 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 58rem; margin: 2rem auto }
body { padding: 0 1rem }
h1 { margin: 0 } h1 small { font-size: .9rem; font-weight: normal; color: var(--dim) }
h2 { margin: 3rem 0 0; font-size: 1.15rem; border-top: 1px solid var(--line); padding-top: 1.5rem }
h3 { margin: 1.4rem 0 .3rem; font-size: .75rem; letter-spacing: .06em; text-transform: uppercase }
h3, .kind { color: var(--dim) } .kind { font-size: .85rem; white-space: nowrap }
code, pre { font: .875em/1.5 ui-monospace, monospace } a { color: inherit }
p code, td.told code { background: var(--soft); padding: .1em .3em; border-radius: 3px }
b.verb { font: 700 .75rem/1 ui-monospace, monospace; color: #fff; background: var(--mark) }
b.verb { border-radius: 4px; padding: .25em .5em; margin-right: .6em; vertical-align: 2px }
b.get { background: #2c64b5 } sup { color: #c33; font-weight: 700 }
pre { background: var(--soft); padding: .75rem 1rem; overflow-x: auto; margin: 0 }
table { border-collapse: collapse; width: 100% } tr + tr { border-top: 1px solid var(--line) }
td { padding: .35rem 1.2rem .35rem 0; vertical-align: top } td:first-child { width: 14rem }
.answers td:first-child { width: 3rem }
nav td { padding: .2rem 1.2rem .2rem 0; white-space: nowrap }
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
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title} <small>{version}</small></h1>"
        f"<p>{_prose(info.get('description', ''))} "
        'The same for machines: <a href="openapi.json">openapi.json</a></p>'
        f"<nav><table>{''.join(_entry(*operation) for operation in operations)}</table></nav>"
        f"{''.join(_section(*operation) for operation in operations)}</html>"
    )


def _entry(path: str, method: str, operation: Mapping[str, Json]) -> str:
    anchor = escape(_anchor(path, method))
    link = f'<a href="#{anchor}"><code>{escape(path)}</code></a>'
    told = _prose(operation.get("summary", ""))
    return f"<tr><td>{_verb(method)}{link}</td><td>{told}</td></tr>"


def _section(path: str, method: str, operation: Mapping[str, Json]) -> str:
    return (
        f'<h2 id="{escape(_anchor(path, method))}">{_verb(method)}<code>{escape(path)}</code></h2>'
        f"<p>{_prose(operation.get('summary', ''))}</p>{_request(operation)}"
        f'<h3>Answers</h3><table class="answers">{"".join(_answers(operation))}</table>'
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
        f"<h3>Example</h3><pre>{example}</pre>"
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
            f'<td class="told">{_prose(told)}</td></tr>'
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
        yield f'<tr><td><code>{escape(status)}</code></td><td class="told">{told}</td></tr>'


def _prose(text: str) -> str:
    """Escaped, and what stands between backticks as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
