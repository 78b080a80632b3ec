"""HTML pages of results that need nothing else: their style, their frame, their tables."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["format_fact", "format_table", "write_page"]

_STYLE = Path(__file__).with_name("report.css")


def write_page(path: Path, title: str, body: str) -> None:
    """Writes one HTML file that needs nothing else. Raises ConfigError."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    page = (
        f"<!doctype html><html lang=en>{head}<title>{escape(title)}</title>"
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style>{body}</html>\n"
    )
    try:
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(
            f"the report cannot be written ({error.strerror}); choose another path", file=str(path)
        ) from error


def format_fact(value: str, what: str, more: str = "") -> str:
    """A number that stands out, in a box, with what it is and some words more."""
    return (
        f"<div class=fact><b>{escape(value)}</b>{escape(what)}<br><span>{escape(more)}</span></div>"
    )


def format_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a row of names."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
