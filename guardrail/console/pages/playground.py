"""The playground: a prompt and a picture, decided under two policies side by side."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from guardrail.console.decision_view import view_decision
from guardrail.console.playground import Trial
from guardrail.console.roles import EDITORS
from guardrail.console.visit import ConsoleRoute
from guardrail.errors import GuardrailError, RequestError
from guardrail.labelling.answers import find_first_decision

if TYPE_CHECKING:
    from starlette.responses import Response

    from guardrail.api.deployment import Deployment
    from guardrail.console.decision_view import DecisionView
    from guardrail.console.playground import Run, Side
    from guardrail.console.visit import Visit

__all__ = ["ROUTES"]

_MOST_BYTES = 12 * 1024 * 1024
_LONGEST_PROMPT = 20_000
_LONGEST_SHOWN = 20_000


@dataclasses.dataclass(frozen=True, slots=True)
class _SideView:
    """One side, and its decision where there is one."""

    side: Side
    view: DecisionView | None


async def _show(visit: Visit) -> Response:
    return await _render(visit, None)


async def _show_run(visit: Visit) -> Response:
    return await _render(visit, _find(visit))


async def _render(visit: Visit, run: Run | None, problem: str = "", status: int = 200) -> Response:
    deployment = visit.console.deployment
    policies = () if deployment is None else deployment.current.policies
    return visit.render(
        "playground.html",
        status=status,
        serves=deployment is not None,
        policies=[one.name for one in policies],
        models=await _models(deployment),
        most_bytes=_MOST_BYTES * 7 // 10,  # base64 takes four bytes for three
        problem=problem,
        **await _run_values(visit, run),
    )


async def _models(deployment: Deployment | None) -> list[str]:
    """The models that can be asked; none where nobody lists them."""
    if deployment is None:
        return []
    try:
        return await deployment.current.last.models.get()
    except GuardrailError:
        return []


async def _run_values(visit: Visit, run: Run | None) -> dict[str, Any]:
    if run is None:
        return {"run": None, "sides": []}
    return {"run": run, "sides": [await visit.run(_view, visit, side) for side in run.sides]}


def _view(visit: Visit, side: Side) -> _SideView:
    record = side.record
    if record is None:
        return _SideView(side, None)
    view = view_decision(record, None)
    answers = dict(side.answers)
    if record.remembered:
        first = find_first_decision(visit.console.database, record)
        if first is not None:
            may_read = visit.may("reviewer") and visit.console.keys is not None
            keys = visit.console.content_keys if may_read else None
            view = dataclasses.replace(view, draws=view_decision(first, keys).draws)
    draws = [
        dataclasses.replace(draw, answer=answers[draw.sample.index][:_LONGEST_SHOWN])
        if draw.sample.index in answers
        else draw
        for draw in view.draws
    ]
    return _SideView(side, dataclasses.replace(view, draws=draws))


def _find(visit: Visit) -> Run:
    assert visit.visitor is not None
    return visit.console.playground.find(visit.request.path_params["run_id"], visit.visitor.id)


async def _show_parts(visit: Visit) -> Response:
    """What a page asks for again and again while a run is under way."""
    run = _find(visit)
    return visit.render("playground_run.html", problem="", **await _run_values(visit, run))


async def _try(visit: Visit) -> Response:
    assert visit.visitor is not None
    console = visit.console
    try:
        run = console.playground.begin(
            _read_trial(visit), visit.visitor.id, _deployment_of(visit), console.keys
        )
    except RequestError as error:
        # The page keeps what was typed, and says what is wrong with it.
        if visit.asks_part:
            return visit.render("playground_run.html", run=None, sides=[], problem=str(error))
        return await _render(visit, None, str(error), error.status)
    if visit.asks_part:
        return visit.render("playground_run.html", problem="", **await _run_values(visit, run))
    return visit.redirect(f"/playground/{run.run_id}")


def _deployment_of(visit: Visit) -> Deployment:
    if visit.console.deployment is None:
        raise RequestError("no server decides here; the console of guardrail serve has one")
    return visit.console.deployment


def _read_trial(visit: Visit) -> Trial:
    form = visit.form
    prompt = form.get("prompt", "")
    if len(prompt) > _LONGEST_PROMPT:
        raise RequestError(f"a prompt has at most {_LONGEST_PROMPT:,} characters", param="prompt")
    return Trial(
        form.get("model", "").strip(),
        prompt,
        _read_picture(form.get("picture", "")),
        tuple(name for name in form.all("policy") if name),
    )


def _read_picture(given: str) -> str:
    """The data URL; the page sends it in the alphabet that forms carry as it is (RFC 4648, 5)."""
    if not given:
        return ""
    head, comma, data = given.partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise RequestError("the file is not a picture; drop a PNG, JPEG or WebP", param="picture")
    return f"{head},{data.translate(str.maketrans('-_', '+/'))}"


async def _cancel(visit: Visit) -> Response:
    run = _find(visit)
    run.cancel()
    return visit.redirect(f"/playground/{run.run_id}")


ROUTES = (
    ConsoleRoute("GET", "/playground", _show, EDITORS, nav="Playground"),
    ConsoleRoute("POST", "/playground", _try, EDITORS, most_bytes=_MOST_BYTES),
    ConsoleRoute("GET", "/playground/{run_id}", _show_run, EDITORS),
    ConsoleRoute("GET", "/playground/{run_id}/parts", _show_parts, EDITORS),
    ConsoleRoute("POST", "/playground/{run_id}/cancel", _cancel, EDITORS),
)
