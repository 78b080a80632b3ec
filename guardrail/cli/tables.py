"""Tables for people, on standard output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.printable import show_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["print_table"]

_FILE_WIDTH = 160
"""Without a terminal, no cell is folded to fit a screen."""


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints one table; the first column is text, the others are numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", overflow="fold")
    for row in rows:
        # As text: names may hold [markup], and codes that a terminal would obey.
        table.add_row(*(Text(show_text(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    console.print(table)
