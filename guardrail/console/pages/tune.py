"""Tune: sliders over a policy's numbers, and what each setting does to recorded decisions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from guardrail.console.charts import Curve, Mark, draw_chart
from guardrail.console.policy_text import find_served, read_policy_text
from guardrail.console.roles import ADMINS, ANY_ROLE, EDITORS
from guardrail.console.tune_goals import hold_goals, read_goals, write_goals
from guardrail.console.tune_look import (
    count_decisions,
    draw_points,
    expect_calls,
    list_neighbours,
    list_noises,
    price_noise,
)
from guardrail.console.tune_proposal import propose
from guardrail.console.tune_settings import list_sliders, read_setting
from guardrail.console.tune_work import TuneTask
from guardrail.console.visit import ConsoleRoute
from guardrail.errors import ConfigError, RequestError
from guardrail.policy.compile import policy_digest
from guardrail.replay.wording import ASSUMED, describe_calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup
    from starlette.responses import Response

    from guardrail.console.tune_look import CurvePoint, SettingNumbers
    from guardrail.console.tune_records import TuneRecords
    from guardrail.console.tune_settings import Slider
    from guardrail.console.tune_work import TuneWork
    from guardrail.console.visit import Visit
    from guardrail.policy_search.numbers import Numbers

__all__ = ["ROUTES"]

_SPANS = (1_000, 5_000, 20_000)
_MOST_GOALS = 2_000
_CALLS = "calls of a decision, on average"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request of the page is about.

    Attributes:
        task: which records.
        work: what is known of them.
        given: the fields of the page's form.
    """

    task: TuneTask
    work: TuneWork
    given: Mapping[str, str]

    @property
    def goals(self) -> str:
        return self.given.get("goals", write_goals(self.work.policy))[:_MOST_GOALS]


@dataclass(frozen=True, slots=True)
class _Setting:
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


async def _show(visit: Visit) -> Response:
    deployment = visit.console.deployment
    policies = [] if deployment is None else [one.name for one in deployment.current.policies]
    if not policies:
        return visit.render("tune.html", policies=[], asked=None)
    asked = await _ask(visit, {"policy": policies[0], **visit.request.query_params})
    return visit.render(
        "tune.html", policies=policies, asked=asked, spans=_SPANS, **await _read_body(visit, asked)
    )


async def _show_body(visit: Visit) -> Response:
    """The part below the head: asked for until the records are read."""
    asked = await _ask(visit, visit.request.query_params)
    return visit.render("tune_body.html", asked=asked, **await _read_body(visit, asked))


async def _show_numbers(visit: Visit) -> Response:
    """The part that follows the sliders."""
    asked = await _ask(visit, visit.request.query_params)
    setting = _read_setting(asked)
    if setting is None:  # the records were dropped meanwhile
        return visit.redirect(_address(asked))
    values = await visit.run(_look, asked, setting)
    _want(visit, asked, setting)
    return visit.render(
        "tune_numbers.html", asked=asked, setting=setting, may_write=_may_write(visit),
        says=asked.given.get("quiet") != "yes", **values,
    )  # fmt: skip


async def _show_calls(visit: Visit) -> Response:
    """What calls could settle: asked for when the sliders rest."""
    asked = await _ask(visit, visit.request.query_params)
    setting = _read_setting(asked)
    if setting is None or asked.work.look_up(setting.numbers) != "":
        return visit.render("tune_calls.html", further="", noises=[])
    return visit.render("tune_calls.html", **await visit.run(_price, asked, setting))


async def _ask(visit: Visit, given: Mapping[str, str]) -> _Asked:
    """Raises RequestError where there is no such policy, or not that many decisions to choose."""
    served = find_served(visit.console.deployment, given.get("policy", ""))
    span = given.get("span", str(_SPANS[1]))
    if span not in map(str, _SPANS):
        raise RequestError("choose over how many decisions", param="span")
    policy = served.listed.policy
    digest = await visit.run(policy_digest, policy)
    if given.get("base", digest) != digest:
        raise RequestError(
            "another version of the policy is in force now; load the page again", status=409,
            code="changed_meanwhile",
        )  # fmt: skip
    task = TuneTask(served.name, digest, int(span))
    return _Asked(task, visit.console.tuning.open(task, policy), given)


def _read_setting(asked: _Asked) -> _Setting | None:
    """None while the records are being read. Raises RequestError."""
    records = asked.work.records
    if records is None:
        return None
    sliders = list_sliders(records.own, records.sigmas)
    return _Setting(records, sliders, read_setting(records.own, sliders, asked.given))


async def _read_body(visit: Visit, asked: _Asked) -> dict[str, Any]:
    setting = _read_setting(asked)
    values: dict[str, Any] = {"setting": setting, "may_write": _may_write(visit), "says": False}
    if asked.work.problem:
        visit.console.tuning.forget(asked.task)  # the next look tries again
    if setting is None or not len(setting.records.decisions):
        return values
    values |= await visit.run(_look, asked, setting)
    _want(visit, asked, setting)
    return values


def _may_write(visit: Visit) -> bool:
    return visit.may("editor") or visit.may("admin")


def _want(visit: Visit, asked: _Asked, setting: _Setting) -> None:
    """Has everything computed that a next step along any slider could show."""
    numbers, own = setting.numbers, setting.records.own
    visit.console.tuning.want(
        asked.work,
        [own, numbers, *list_neighbours(numbers, setting.sliders),
         *list_noises(setting.records, numbers)],
    )  # fmt: skip


def _look(asked: _Asked, setting: _Setting) -> dict[str, Any]:
    """All that the page shows of a setting, as far as tests are computed."""
    records, numbers = setting.records, setting.numbers
    columns = {
        name: None if asked.work.look_up(one) != "" else count_decisions(records, one)
        for name, one in (("own", records.own), ("now", numbers))
    }
    points = draw_points(asked.work, records, numbers, setting.radii)
    goals, mistake = [], ""
    try:
        goals = _hold(asked.goals, columns)
    except ConfigError as error:
        mistake = error.told
    return {
        "columns": columns,
        "problem": asked.work.look_up(numbers),
        "points": points,
        "chart": _draw(points, setting, columns),
        "goals": goals,
        "mistake": mistake,
        "steps": _count_steps(asked.work, setting),
        "assumed": ASSUMED,
        "calls_words": _CALLS,
    }


def _hold(text: str, columns: Mapping[str, SettingNumbers | None]) -> list[Any]:
    """Sentence, and state and reason under either setting; None where that is not computed."""
    goals = read_goals(text)
    held = {name: one and hold_goals(goals, one) for name, one in columns.items()}
    return [
        (goal.sentence, *(states and states[number] for states in held.values()))
        for number, goal in enumerate(goals)
    ]


def _count_steps(work: TuneWork, setting: _Setting) -> list[tuple[str, int, int]]:
    """Of each slider: how many of its steps are computed, and how many there are."""
    return [
        (slider.label, sum(work.look_up(one) is not None for one in found), len(found))
        for slider in setting.sliders
        if slider.name != "threshold"
        for found in [list_neighbours(setting.numbers, [slider])]
    ]


def _draw(
    points: Sequence[CurvePoint],
    setting: _Setting,
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


def _price(asked: _Asked, setting: _Setting) -> dict[str, Any]:
    records, work = setting.records, asked.work
    further = describe_calls(expect_calls(records, setting.numbers))
    noises = [price_noise(work, records, one) for one in list_noises(records, setting.numbers)]
    return {
        "further": further,
        "noises": [
            (f"{255.0 * one.sigma:.0f}", one.problem, one.calls and describe_calls(one.calls))
            for one in noises
        ],
    }


async def _refresh(visit: Visit) -> Response:
    asked = await _ask(visit, visit.form)
    visit.console.tuning.forget(asked.task)
    return visit.redirect(_address(asked))


async def _propose(visit: Visit) -> Response:
    assert visit.visitor is not None
    asked = await _ask(visit, visit.form)
    setting = _read_setting(asked)
    if setting is None or asked.work.look_up(setting.numbers) is None:
        raise RequestError("this setting is still being computed; wait until its numbers stand on "
                           "the page", status=409)  # fmt: skip
    deployment = visit.console.deployment
    assert deployment is not None
    target = await visit.run(read_policy_text, deployment, find_served(deployment, asked.task.name))
    version_id = await visit.run(
        propose, visit.console.database, target, asked.work, setting.records, setting.numbers,
        author=visit.visitor.id, note=visit.form.get("note", "") or "tuned by looking at records",
    )  # fmt: skip
    return visit.redirect(f"/policies/{target.name}/versions/{version_id}")


def _address(asked: _Asked) -> str:
    return f"/tune?{urlencode({'policy': asked.task.name, 'span': asked.task.most})}"


_WRITERS = EDITORS | ADMINS
ROUTES = (
    ConsoleRoute("GET", "/tune", _show, ANY_ROLE, nav="Tune"),
    ConsoleRoute("GET", "/tune/body", _show_body, ANY_ROLE),
    ConsoleRoute("GET", "/tune/numbers", _show_numbers, ANY_ROLE),
    ConsoleRoute("GET", "/tune/calls", _show_calls, ANY_ROLE),
    ConsoleRoute("POST", "/tune/refresh", _refresh, ANY_ROLE),
    ConsoleRoute("POST", "/tune/propose", _propose, _WRITERS),
)
