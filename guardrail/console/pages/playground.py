"""The playground: a prompt and a picture, decided under two policies side by side."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse

from guardrail.console.decision_view import view_decision
from guardrail.console.playground import Trial, list_policies
from guardrail.console.roles import EDITORS
from guardrail.console.visit import ConsoleRoute
from guardrail.errors import GuardrailError, RequestError
from guardrail.labelling.answers import find_first_decision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from guardrail.api.deployment import Deployment
    from guardrail.console.decision_view import DecisionView
    from guardrail.console.playground import Run, Side
    from guardrail.console.visit import Visit
    from guardrail.console.visitor import Visitor

__all__ = ["ROUTES"]

_MOST_BYTES = 12 * 1024 * 1024
_LONGEST_PROMPT = 20_000
_LONGEST_SHOWN = 20_000
_EVERY_S = 1.0
_LINES = "application/x-ndjson"
_UNBUFFERED = {"x-accel-buffering": "no"}
"""Asks nginx, and those that heed its header, to pass on each line as it comes."""


@dataclasses.dataclass(frozen=True, slots=True)
class _SideView:
    """One side, and its decision where there is one."""

    side: Side
    view: DecisionView | None


async def _show(visit: Visit) -> Response:
    return await _render(visit, None)


async def _render(visit: Visit, run: Run | None, problem: str = "", status: int = 200) -> Response:
    deployment = visit.console.deployment
    policies: list[str] = []
    if deployment is not None:
        try:
            policies = list_policies(deployment, _visitor(visit).id, visit.console.keys)
        except RequestError as error:
            problem, status = problem or str(error), error.status
    return visit.render(
        "playground.html",
        status=status,
        serves=deployment is not None,
        policies=policies,
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


async def _try(visit: Visit) -> Response:
    """Decides within this request: it is streamed to a page with scripts, others wait for it."""
    try:
        run = _begin(visit)
    except RequestError as error:
        if visit.asks_part:
            return Response(await _line(visit, None, str(error)), error.status, media_type=_LINES)
        # The page keeps what was typed, and says what is wrong with it.
        return await _render(visit, None, str(error), error.status)
    if visit.asks_part:
        return _RunResponse(visit, run)
    try:
        while not run.is_done and not await visit.request.is_disconnected():
            await run.wait(_EVERY_S)
    finally:
        run.cancel()
    return await _render(visit, run)


class _RunResponse(StreamingResponse):
    """The part of the page that shows a run, again and again until it ends, a JSON text a line.

    The run ends with the answer, also where the reader presses Cancel or leaves the page.
    """

    def __init__(self, visit: Visit, run: Run) -> None:
        super().__init__(_write_lines(visit, run), media_type=_LINES, headers=_UNBUFFERED)
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._run.cancel()


async def _write_lines(visit: Visit, run: Run) -> AsyncIterator[bytes]:
    while not run.is_done:
        yield await _line(visit, run)
        await run.wait(_EVERY_S)
    yield await _line(visit, run)


async def _line(visit: Visit, run: Run | None, problem: str = "") -> bytes:
    values = await _run_values(visit, run)
    page = visit.render("playground_run.html", problem=problem, **values)
    return json.dumps(bytes(page.body).decode()).encode() + b"\n"


def _begin(visit: Visit) -> Run:
    """Raises RequestError."""
    console = visit.console
    return console.playground.begin(
        _read_trial(visit),
        _visitor(visit).id,
        _deployment_of(visit),
        console.keys,
        console.telemetry,
    )


def _visitor(visit: Visit) -> Visitor:
    assert visit.visitor is not None  # the pages are for editors
    return visit.visitor


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


ROUTES = (
    ConsoleRoute("GET", "/playground", _show, EDITORS, nav="Playground"),
    ConsoleRoute("POST", "/playground", _try, EDITORS, most_bytes=_MOST_BYTES),
)
