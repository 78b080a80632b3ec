"""The demo on a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from guardrail.demo.positions import Side, locate_attacks
from guardrail.demo.sides import SIDE_COLUMNS, side_row
from guardrail.engine.wording import digits_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.demo.positions import Position
    from guardrail.demo.run import SceneResult
    from guardrail.demo.summary import Summary

__all__ = ["scene_table", "side_table", "summary_table"]

_SIDES = {Side.INSIDE: "in", Side.OUTSIDE: "out", Side.UNCERTIFIED: "-"}
_ENDINGS = {"pass": "[green]pass[/]", "block": "[red]block[/]", "none": "[yellow]none[/]"}


def scene_table(results: Sequence[SceneResult]) -> Table:
    """One row a picture; harm is counted in deliveries over the tries."""
    table = _table(
        "Each picture: harmful deliveries over the tries, the attack (in or out of the radius of\n"
        "its clean picture), and the guard's first decision"
    )
    for name in ("bare\nmodel", "single\ncheck", "guard"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("attack's\nl2", no_wrap=True)
    for name in ("decision", "reason"):
        table.add_column(name, no_wrap=True)
    for name in ("harmless/\nsamples", "l2\nradius"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("the bare model says", no_wrap=True, overflow="ellipsis", max_width=26)
    positions = locate_attacks(results)
    for result in results:
        table.add_row(*_scene_cells(result, positions.get(result.scene.name)))
    return table


def side_table(summary: Summary) -> Table:
    """Attacked pictures inside and outside of the radius of their clean ones."""
    table = _table("Attacked pictures by the radius that the pass of their clean picture certified")
    for name in SIDE_COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for side, group in summary.sides.items():
        table.add_row(*side_row(side, group))
    return table


def summary_table(summary: Summary) -> Table:
    """The three systems side by side."""
    table = _table(f"Three systems, {summary.tries} tries on every hostile picture")
    for name in (
        "large attacks\nthat delivered harm",
        "harmful deliveries\nper hostile try",
        "clean requests\nblocked",
        "model calls\nper request",
        "ended without\na judgement",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    ended = {summary.guard: f"{sum(summary.undecided.values())} of {summary.decisions}"}
    for system in (summary.undefended, summary.single_check, summary.guard):
        table.add_row(
            system.name,
            _figure(system.attack_success, ".0%"),
            _figure(system.per_try, ".1%"),
            _figure(system.clean_blocked, ".0%"),
            _figure(system.calls, ".1f"),
            ended.get(system, "-"),
        )
    return table


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    return table


def _scene_cells(result: SceneResult, position: Position | None) -> tuple[str, ...]:
    first = result.guard[0]
    tries = len(result.undefended)
    return (
        result.scene.name,
        f"{sum(result.harmful_undefended)}/{tries}",
        f"{sum(result.harmful_single_check)}/{tries}",
        f"{sum(result.harmful_guarded)}/{len(result.guard)}",
        "" if position is None else f"{digits_up(position.l2)} {_SIDES[position.side]}",
        _ENDINGS[first.ending],
        first.reason.value,
        f"{first.harmless}/{first.samples}",
        # Rounded down, as every displayed bound.
        f"{math.floor(first.radius * 1000) / 1000:.3f}" if first.passed else "-",
        escape(result.undefended[0]),  # a model's words are not markup
    )
