"""The frame of a page that is one file, and where it is written."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path

from guardrail.errors import ConfigError

__all__ = ["TOKENS", "make_page", "report_style", "write_page"]

_FOLDER = Path(__file__).parent
TOKENS = _FOLDER / "tokens.css"
"""Colours and typefaces; what comes after it in a style sheet uses them by `var(--…)`."""

# The page asks nobody for anything, whatever stands in it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def make_page(title: str, body: str, style: str) -> str:
    """A document whose main part is `body`, and whose style is that of all pages and `style`.

    Args:
        title: plain text.
        body: HTML, with a first `<h1>`.
        style: CSS, trusted.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)}</title><style>{_read(TOKENS)}{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def write_page(path: Path, title: str, body: str, style: str = "") -> None:
    """Writes a report as one HTML file that needs nothing else.

    `style` comes after the style of all reports. Raises ConfigError.
    """
    page = make_page(title, body, report_style() + style)
    try:
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(
            f"the report cannot be written ({error.strerror}); choose another path", file=str(path)
        ) from error


def report_style() -> str:
    """CSS of facts, tables, charts and remarks, without the colours, which every page has."""
    return _read(_FOLDER / "report.css")


@cache
def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")
