"""One setting of the page Tune as its template shows it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from guardrail.console.charts import Curve, Mark, draw_chart
from guardrail.console.tune_goals import hold_goals, read_goals
from guardrail.console.tune_look import count_decisions, draw_points, list_neighbours
from guardrail.errors import ConfigError
from guardrail.replay.wording import ASSUMED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from guardrail.console.tune_look import CurvePoint, SettingNumbers
    from guardrail.console.tune_records import TuneRecords
    from guardrail.console.tune_settings import Slider
    from guardrail.console.tune_work import TuneWork
    from guardrail.policy_search.numbers import Numbers

__all__ = ["TuneSetting", "look_at"]


@dataclass(frozen=True, slots=True)
class TuneSetting:
    """Where the sliders stand, over records that are read."""

    records: TuneRecords
    sliders: tuple[Slider, ...]
    numbers: Numbers

    @property
    def is_own(self) -> bool:
        return self.numbers == self.records.own

    @property
    def places(self) -> dict[str, int]:
        """Where each slider stands."""
        return {one.name: one.levels.index(getattr(self.numbers, one.name)) for one in self.sliders}

    @property
    def radii(self) -> Slider:
        return next(one for one in self.sliders if one.name == "radius")


def look_at(work: TuneWork, setting: TuneSetting, goals: str) -> dict[str, Any]:
    """What `tune_numbers.html` shows of a setting, as far as tests are computed.

    Args:
        work: which tests are.
        setting: where the sliders stand.
        goals: as they are typed.
    """
    records, numbers = setting.records, setting.numbers
    columns = {
        name: None if work.look_up(one) != "" else count_decisions(records, one)
        for name, one in (("own", records.own), ("now", numbers))
    }
    points = draw_points(work, records, numbers, setting.radii)
    held, mistake = [], ""
    try:
        held = _hold(goals, columns, work, setting)
    except ConfigError as error:
        mistake = error.told
    return {
        "columns": columns,
        "problem": work.look_up(numbers),
        "points": points,
        "chart": _draw(points, setting, columns),
        "goals": held,
        "mistake": mistake,
        "steps": _count_steps(work, setting),
        "assumed": ASSUMED,
    }


def _hold(
    text: str,
    columns: Mapping[str, SettingNumbers | None],
    work: TuneWork,
    setting: TuneSetting,
) -> list[Any]:
    """Sentence, and state and reason under either setting; None where that is not computed."""
    goals = read_goals(text)
    measured = {"own": work.recall, "now": work.recall if setting.is_own else None}
    held = {name: one and hold_goals(goals, one, measured[name]) for name, one in columns.items()}
    return [
        (goal.sentence, *(states and states[number] for states in held.values()))
        for number, goal in enumerate(goals)
    ]


def _count_steps(work: TuneWork, setting: TuneSetting) -> list[tuple[str, int, int]]:
    """Of each slider: how many of its steps are computed, and how many there are."""
    return [
        (slider.label, sum(work.look_up(one) is not None for one in found), len(found))
        for slider in setting.sliders
        if slider.name != "threshold"
        for found in [list_neighbours(setting.numbers, [slider])]
    ]


def _draw(
    points: Sequence[CurvePoint],
    setting: TuneSetting,
    columns: Mapping[str, SettingNumbers | None],
) -> Markup:
    curves = []
    for is_known, row in groupby(points, lambda point: point.least is not None):
        if is_known:
            steps = [(255.0 * one.radius, one.least or 0.0, one.most or 0.0) for one in row]
            curves.append(Curve([(x, y) for x, y, _ in steps], "var(--bar-bad)"))
            curves.append(Curve([(x, y) for x, _, y in steps], "var(--soft)", "5 4"))
    marks = [
        Mark(255.0 * numbers.radius, one.stopped / one.total, "var(--ink)", shape, title)
        for (name, shape, title), numbers in zip(
            (("own", "circle", "in force"), ("now", "up", "this setting")),
            (setting.records.own, setting.numbers),
            strict=True,
        )
        for one in [columns[name]]
        if one is not None
    ]
    heights = [one.most for one in points if one.most is not None] + [mark.y for mark in marks]
    return draw_chart(
        curves, marks=marks, shares=True, y_high=max(heights, default=1.0) or 1.0,
        x_high=255.0 * setting.radii.levels[-1],
        x_label="how far a picture may be changed, in levels of 255",
        y_label="stopped", title="Share that is stopped, by how far a picture may be changed",
    )  # fmt: skip
