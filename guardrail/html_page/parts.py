"""What reports are made of. Every text is escaped, and characters that cannot be seen are codes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from guardrail.printable import show_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["format_chart", "format_fact", "format_table", "format_text", "format_warning"]


def format_text(text: str) -> str:
    """A text of whomever, on one line."""
    return escape(show_text(text))


def format_fact(value: str, what: str, more: str = "", *, hint: str = "") -> str:
    """A number that stands out, in a box, with what it is and some words more.

    `hint` is seen when one points at the number.
    """
    shown = format_text(value)
    if hint:
        shown = f'<abbr title="{format_text(hint)}">{shown}</abbr>'
    rest = f"<br><span>{format_text(more)}</span>" if more else ""
    return f"<div class=fact><b>{shown}</b>{format_text(what)}{rest}</div>"


def format_warning(text: str) -> str:
    """A remark that nobody should miss."""
    return f"<p class=warn>{format_text(text)}</p>"


def format_table(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    label: str,
    words: Collection[int] = (),
) -> str:
    """A table in a box that scrolls where it is wider than the screen.

    Args:
        names: of the columns; an empty one heads a column of names.
        rows: texts, as many in each as there are names.
        label: what the table holds, for those who hear the page.
        words: numbers of the columns with words, which are broken into lines; the first column
            has words always, all others have numbers.
    """
    head = "".join(_head(name, i in words) for i, name in enumerate(names))
    body = "".join(
        f"<tr>{''.join(_cell(cell, i in words) for i, cell in enumerate(row))}</tr>" for row in rows
    )
    return _box(
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", label, "table"
    )


def format_chart(svg: str, label: str) -> str:
    """A chart in a box that scrolls on a small screen, where it would be too small to be read."""
    return _box(svg, label, "chart")


def _head(name: str, words: bool) -> str:
    mark = " class=words" if words else ""
    # A cell without a word heads nothing.
    return f"<th scope=col{mark}>{format_text(name)}</th>" if name else "<td></td>"


def _cell(text: str, words: bool) -> str:
    mark = " class=words" if words else ""
    return f"<td{mark}>{format_text(text)}</td>"


def _box(inner: str, label: str, kind: str) -> str:
    """Can be reached, and so scrolled, by the keyboard."""
    return (
        f'<div class="wide {kind}" tabindex=0 role=region aria-label="{format_text(label)}">'
        f"{inner}</div>"
    )
