"""Tune: sliders over a policy's numbers, and what each setting does to recorded decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from guardrail.console.policy_text import find_served, read_policy_text
from guardrail.console.roles import ADMINS, ANY_ROLE, EDITORS
from guardrail.console.tune_goals import write_goals
from guardrail.console.tune_look import expect_calls, list_neighbours, list_noises, price_noise
from guardrail.console.tune_proposal import propose
from guardrail.console.tune_settings import list_sliders, read_setting
from guardrail.console.tune_view import TuneSetting, look_at
from guardrail.console.tune_work import TuneTask
from guardrail.console.visit import ConsoleRoute
from guardrail.console.windows import WINDOWS, read_window
from guardrail.errors import RequestError
from guardrail.policy.compile import policy_digest
from guardrail.replay.wording import describe_calls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from guardrail.console.tune_work import TuneWork
    from guardrail.console.visit import Visit

__all__ = ["ROUTES"]

_MOST_GOALS = 2_000


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


async def _show(visit: Visit) -> Response:
    deployment = visit.console.deployment
    policies = [] if deployment is None else [one.name for one in deployment.current.policies]
    if not policies:
        return visit.render("tune.html", policies=[], asked=None)
    asked = await _ask(visit, {"policy": policies[0], **visit.request.query_params})
    return visit.render(
        "tune.html",
        policies=policies,
        asked=asked,
        windows=WINDOWS,
        **await _read_body(visit, asked),
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
    values = await visit.run(look_at, asked.work, setting, asked.goals)
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
    window = read_window(given, datetime.now(UTC))
    policy = served.listed.policy
    digest = await visit.run(policy_digest, policy)
    if given.get("base", digest) != digest:
        raise RequestError(
            "another version of the policy is in force now; load the page again", status=409,
            code="changed_meanwhile",
        )  # fmt: skip
    task = TuneTask(served.name, digest, window)
    return _Asked(task, visit.console.tuning.open(task, policy), given)


def _read_setting(asked: _Asked) -> TuneSetting | None:
    """None while the records are being read. Raises RequestError."""
    records = asked.work.records
    if records is None:
        return None
    sliders = list_sliders(records.own, records.sigmas)
    return TuneSetting(records, sliders, read_setting(records.own, sliders, asked.given))


async def _read_body(visit: Visit, asked: _Asked) -> dict[str, Any]:
    setting = _read_setting(asked)
    values: dict[str, Any] = {"setting": setting, "may_write": _may_write(visit), "says": False}
    if asked.work.problem:
        visit.console.tuning.forget(asked.task)  # the next look tries again
    if setting is None or not len(setting.records.decisions):
        return values
    values |= await visit.run(look_at, asked.work, setting, asked.goals)
    _want(visit, asked, setting)
    return values


def _may_write(visit: Visit) -> bool:
    return visit.may("editor") or visit.may("admin")


def _want(visit: Visit, asked: _Asked, setting: TuneSetting) -> None:
    """Has everything computed that a next step along any slider could show."""
    numbers, own = setting.numbers, setting.records.own
    visit.console.tuning.want(
        asked.work,
        [own, numbers, *list_neighbours(numbers, setting.sliders),
         *list_noises(setting.records, numbers)],
    )  # fmt: skip


def _price(asked: _Asked, setting: TuneSetting) -> dict[str, Any]:
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
    return f"/tune?{urlencode(asked.task.fields)}"


_WRITERS = EDITORS | ADMINS
ROUTES = (
    ConsoleRoute("GET", "/tune", _show, ANY_ROLE, nav="Tune"),
    ConsoleRoute("GET", "/tune/body", _show_body, ANY_ROLE),
    ConsoleRoute("GET", "/tune/numbers", _show_numbers, ANY_ROLE),
    ConsoleRoute("GET", "/tune/calls", _show_calls, ANY_ROLE),
    ConsoleRoute("POST", "/tune/refresh", _refresh, ANY_ROLE),
    ConsoleRoute("POST", "/tune/propose", _propose, _WRITERS),
)
