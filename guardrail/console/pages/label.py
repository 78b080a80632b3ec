"""Labels: requests drawn at random, judged without a look at what the guard decided."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardrail.console.decision_filter import PERIODS
from guardrail.console.label_view import view_item
from guardrail.console.roles import REVIEWERS
from guardrail.console.visit import ConsoleRoute
from guardrail.console.windows import DAYS, read_times
from guardrail.errors import RequestError
from guardrail.evaluation.recall_facts import BETA
from guardrail.labelling.effect import read_effect
from guardrail.labelling.looks import disagree, looks_wanted
from guardrail.labelling.oracle_errors import STEP
from guardrail.labelling.queue import judge, last_item, next_item, read_queue
from guardrail.labelling.round_draw import MOST_DRAWN, RoundPlan, start_round
from guardrail.labelling.rounds import RoundKind, list_rounds, read_round
from guardrail.labelling.sample_effect import (
    RecallDesign,
    read_answer_effect,
    read_request_effect,
)
from guardrail.labelling.standing import DELTA
from guardrail.records.query import DatabaseSource
from guardrail.records.review import LabelVerdict, add_label, list_labels

if TYPE_CHECKING:
    from starlette.responses import Response

    from guardrail.console.visit import Visit
    from guardrail.labelling.queue import QueueState
    from guardrail.labelling.rounds import Item, Round

__all__ = ["ROUTES"]

_SECOND_SHARES = {"0": "nobody", "0.1": "one in ten", "0.25": "one in four", "1": "all"}
_COUNT = 60
_KINDS = {
    RoundKind.DECISIONS: "what was decided: harm that left, false alarms",
    RoundKind.ANSWERS: "answers: what the oracle misses, for calibrate",
    RoundKind.REQUESTS: "requests: what shall be stopped, for recall",
}
_RECALL = RecallDesign(draws=100, recalls=(0.5, 0.9, 0.95, 0.99), delta=DELTA / 3, beta=BETA)
"""That of `guardrail recall` with its defaults; its recalls share delta in three parts."""
_UNKNOWN = ("item", "view", "again", "last", "progress", "effect", "answer_effect",
            "request_effect")  # fmt: skip
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Progress:
    """How far a round has come, for its reviewer."""

    labelled: int
    items: int
    mine: int
    waiting: int
    disagreements: int


async def _show(visit: Visit) -> Response:
    record_id = visit.request.query_params.get("record")
    if record_id is not None:
        return await _show_record(visit, record_id)
    rounds = await visit.run(list_rounds, visit.console.database)
    chosen = visit.request.query_params.get("round") or (rounds[0].round_id if rounds else "")
    round_ = await _read_round(visit, chosen) if chosen else None
    values: dict[str, Any] = {} if round_ is None else await _read_state(visit, round_)
    return visit.render(
        "label.html",
        rounds=rounds,
        round=round_,
        **{**await _form_values(visit), **values},
    )


async def _read_state(visit: Visit, round_: Round) -> dict[str, Any]:
    """The item to label, how far the round has come, and what its last labels did."""
    assert visit.visitor is not None
    database, reviewer, now = visit.console.database, visit.visitor.id, datetime.now(UTC)
    item, again = None, None
    again_id = visit.request.query_params.get("again")
    if visit.console.content_keys is not None and again_id is None:
        item = await visit.run(
            next_item, database, round_, reviewer, now, disagreements=_wants_disagreements(visit)
        )
    state = await visit.run(read_queue, database, round_, now)
    if again_id is not None:
        item, again = _find_again(round_, state, again_id, reviewer)
    last = last_item(state, round_, reviewer, again_id)
    progress = _count(round_, state, reviewer)
    return {
        "item": item,
        "again": again,
        "view": None if item is None else await _view_item(visit, round_, item),
        "last": last,
        "progress": progress,
        **await _read_effects(visit, round_, state, is_done=not progress.waiting),
        "only_disagreements": _wants_disagreements(visit),
    }


async def _read_effects(
    visit: Visit, round_: Round, state: QueueState, *, is_done: bool
) -> dict[str, Any]:
    """What the last labels did, in the words of the kind of the round."""
    database = visit.console.database
    if round_.kind is RoundKind.DECISIONS:
        return {"effect": await visit.run(read_effect, database, round_, state, is_done=is_done)}
    verdicts = state.verdicts()
    if round_.kind is RoundKind.ANSWERS:
        found = await visit.run(read_answer_effect, database, round_, verdicts)
        return {"answer_effect": found}
    collected = await visit.run(read_request_effect, database, round_, verdicts, _RECALL)
    return {"request_effect": collected}


def _wants_disagreements(visit: Visit) -> bool:
    return visit.request.query_params.get("queue") == "disagreements"


def _find_again(
    round_: Round, state: QueueState, item_id: str, reviewer: str
) -> tuple[Item, LabelVerdict]:
    """An item that this reviewer has labelled, and how."""
    mine = [one for one in state.judgements if one.reviewer == reviewer and one.item_id == item_id]
    if not mine:
        raise RequestError("you have not labelled this request; go back to the queue", status=404)
    return round_.by_id[item_id], mine[-1].verdict


def _count(round_: Round, state: QueueState, reviewer: str) -> _Progress:
    verdicts = state.verdicts()
    given = [(item, verdicts.get(item.item_id, [])) for item in round_.items]
    return _Progress(
        labelled=sum(bool(one) for _, one in given),
        items=len(given),
        mine=len(state.labelled_by(reviewer)),
        waiting=sum(len(one) < looks_wanted(one, item.looks) for item, one in given),
        disagreements=sum(disagree(one) for _, one in given),
    )


async def _view_item(visit: Visit, round_: Round, item: Item) -> Any:
    first_answers = round_.kind is not RoundKind.DECISIONS
    return await _view(visit, [name for name, _ in item.records], first_answers=first_answers)


async def _view(visit: Visit, record_ids: list[str], *, first_answers: bool = False) -> Any:
    assert visit.visitor is not None
    view = await visit.run(
        view_item,
        visit.console.database,
        record_ids,
        visit.console.content_keys,
        first_answers=first_answers,
    )
    if view is not None and view.said:
        for name in record_ids:
            _log.info("content of record %s was shown to %s", name, visit.visitor.id)
    return view


async def _form_values(visit: Visit) -> dict[str, Any]:
    source = DatabaseSource(visit.console.database)
    return {
        "sealed": visit.console.content_keys is None,
        "policies": await visit.run(source.values, "policy"),
        "periods": {
            **{name: f"the {words}" for name, (words, _) in PERIODS.items()},
            **DAYS,
        },
        "second_shares": _SECOND_SHARES,
        "count": _COUNT,
        "most": MOST_DRAWN,
        "kinds": _KINDS,
        "step": STEP,
        "confidence": 1.0 - DELTA,
        "verdicts": tuple(LabelVerdict),
        **dict.fromkeys(_UNKNOWN),
        "only_disagreements": False,
    }


async def _show_record(visit: Visit, record_id: str) -> Response:
    """One decision that its reviewer chose: no part of a random sample."""
    assert visit.visitor is not None
    view = await _view(visit, [record_id])
    if view is None:
        raise RequestError("there is no such decision; it may have been removed", status=404)
    labels = await visit.run(list_labels, visit.console.database, record_id)
    mine = [one for one in labels if one.reviewer == visit.visitor.id]
    return visit.render(
        "label_record.html",
        record_id=record_id,
        view=view,
        sealed=visit.console.content_keys is None,
        again=mine[0].verdict if mine else None,
        verdicts=tuple(LabelVerdict),
    )


async def _read_round(visit: Visit, round_id: str) -> Round:
    round_ = await visit.run(read_round, visit.console.database, round_id)
    if round_ is None:
        raise RequestError("there is no such round of labels; begin another one", status=404)
    return round_


async def _judge(visit: Visit) -> Response:
    assert visit.visitor is not None
    form = visit.form
    round_ = await _read_round(visit, visit.request.path_params["round_id"])
    await visit.run(
        judge,
        visit.console.database,
        round_,
        form.get("item", ""),
        visit.visitor.id,
        form.get("verdict", ""),
        datetime.now(UTC),
    )
    more = "&queue=disagreements" if form.get("queue") == "disagreements" else ""
    return visit.redirect(f"/label?round={round_.round_id}{more}")


async def _judge_record(visit: Visit) -> Response:
    assert visit.visitor is not None
    record_id = visit.request.path_params["record_id"]
    record = await visit.run(DatabaseSource(visit.console.database).find, record_id)
    if record is None:
        raise RequestError("there is no such decision; it may have been removed", status=404)
    await visit.run(
        add_label,
        visit.console.database,
        record,
        reviewer=visit.visitor.id,
        verdict=visit.form.get("verdict", ""),
    )
    return visit.redirect(f"/label?record={record_id}")


async def _start(visit: Visit) -> Response:
    assert visit.visitor is not None
    form, now = visit.form, datetime.now(UTC)
    if form.get("second") not in _SECOND_SHARES:
        raise RequestError("choose a share of second looks of those on the page", param="second")
    since, until = read_times(form, form.get("period", ""), now)
    if form.get("kind") not in _KINDS:
        raise RequestError("choose what to label of that on the page", param="kind")
    count = form.get("count", "")
    if not (count.isascii() and count.isdecimal() and len(count) < 5):
        raise RequestError("say how many to draw, as a number", param="count")
    plan = RoundPlan(
        policy=form.get("policy", ""),
        since=since,
        until=until,
        count=int(count),
        second_share=float(form["second"]),
        kind=RoundKind(form["kind"]),
    )
    round_id = await visit.run(
        start_round,
        visit.console.database,
        plan,
        reviewer=visit.visitor.id,
        keys=visit.console.content_keys,
        now=now,
    )
    return visit.redirect(f"/label?round={round_id}")


ROUTES = (
    ConsoleRoute("GET", "/label", _show, REVIEWERS, nav="Label"),
    ConsoleRoute("POST", "/label/rounds", _start, REVIEWERS),
    ConsoleRoute("POST", "/label/rounds/{round_id}", _judge, REVIEWERS),
    ConsoleRoute("POST", "/label/records/{record_id}", _judge_record, REVIEWERS),
)
