"""How results show in a line of a console and in a notebook."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["html_table", "one_line"]


def one_line(kind: str, facts: Mapping[str, object]) -> str:
    """`Kind(name: fact, ...)`; facts that are None or empty say nothing and are left out."""
    told = (f"{name}: {value}" for name, value in facts.items() if value not in (None, ""))
    return f"{kind}({', '.join(told)})"


def html_table(kind: str, facts: Mapping[str, object]) -> str:
    """The same as a table of two columns, every text escaped."""
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(str(value))}</td></tr>'
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"<table><caption>{html.escape(kind)}</caption>{rows}</table>"
