"""One request, tried under policies of the server as a client's request would be.

It goes through the same places, limits and budgets, by the key of whoever signed in, and is
recorded. Runs are held in memory for a while, by the process that began them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from guardrail.api.admission import enter_by_key
from guardrail.api.caller import ANYBODY, caller_of
from guardrail.api.check import CHECK_ENDPOINT
from guardrail.api.endpoint import check_model, decide_incoming
from guardrail.api.errors import log_crash
from guardrail.api.progress import JudgementCount, count_judgements
from guardrail.errors import GuardrailError, RequestError
from guardrail.records.origin import TRIED_ROUTE, Origin
from guardrail.records.recorder import NOT_RECORDED, build_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from guardrail.api.caller import Caller
    from guardrail.api.deployment import Deployment
    from guardrail.api.incoming import Incoming
    from guardrail.api.service import Service
    from guardrail.engine.verdict import Verdict
    from guardrail.keys.authenticator import Authenticator
    from guardrail.records.record import Record
    from guardrail.types import Json

__all__ = ["Playground", "Run", "Side", "Trial"]

MOST_AT_ONCE = 4
_MOST_KEPT = 16
_KEPT_S = 15 * 60.0
_WAIT_S = 30.0
"""So long a request may wait for a place, beside its decision's own deadline."""

_CANCELLED = "it was cancelled"


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried.

    Attributes:
        model: its name.
        prompt: the question.
        picture: a data URL; empty for none.
        policies: names of one or two that are served.
    """

    model: str
    prompt: str
    picture: str = field(repr=False)
    policies: tuple[str, ...]

    def body(self) -> dict[str, Json]:
        """The request as a client would send it."""
        parts: list[Json] = [{"type": "text", "text": self.prompt}] if self.prompt else []
        if self.picture:
            parts.append({"type": "image_url", "image_url": {"url": self.picture}})
        return {"model": self.model, "messages": [{"role": "user", "content": parts}]}


@dataclass(slots=True)
class Side:
    """The request under one policy.

    Attributes:
        policy: its name.
        tally: of the judgements so far.
        has_place: whether it is being decided, and does not wait any more.
        problem: why there is no decision; empty where there is one, or none yet.
        record: of the decision, without content.
        record_id: of the record that was kept; None where none was.
        answers: texts of the variants by their numbers.
        answer: the one that would have left.
    """

    policy: str
    tally: JudgementCount = field(default_factory=JudgementCount)
    has_place: bool = False
    problem: str = ""
    record: Record | None = None
    record_id: str | None = None
    answers: dict[int, str] = field(default_factory=dict)
    answer: str | None = None

    @property
    def is_done(self) -> bool:
        return self.record is not None or bool(self.problem)


@dataclass(slots=True)
class Run:
    """One try.

    Attributes:
        run_id: names it.
        owner: who began it, and alone may look.
        sides: one for each policy.
        pictures: how many were asked about.
        began: on the clock of `time.monotonic`.
    """

    run_id: str
    owner: str
    prompt: str
    pictures: int
    sides: Sequence[Side]
    began: float
    task: asyncio.Task[None] | None = None

    @property
    def is_done(self) -> bool:
        return all(side.is_done for side in self.sides)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    def cancel(self) -> None:
        """Ends what is under way; it is recorded as cancelled."""
        for side in self.sides:
            side.problem = side.problem or ("" if side.is_done else _CANCELLED)
        if self.task is not None:
            self.task.cancel()


class Playground:
    """The runs of one console; used on one event loop."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def begin(
        self, trial: Trial, owner: str, deployment: Deployment, keys: Authenticator | None
    ) -> Run:
        """Begins to decide.

        Raises:
            RequestError: there is nothing to ask, a policy is not served, the key is not valid any
                more, or too many runs are under way.
        """
        self._forget_old()
        self._check(trial, deployment)
        caller = _find_caller(owner, keys)
        run = Run(
            uuid.uuid4().hex,
            owner,
            trial.prompt,
            int(bool(trial.picture)),
            [Side(name) for name in trial.policies],
            time.monotonic(),
        )
        self._runs[run.run_id] = run
        run.task = asyncio.create_task(_decide_all(run, trial, deployment, caller))
        return run

    def find(self, run_id: str, owner: str) -> Run:
        """A run of this owner. Raises RequestError (404) where there is none any more."""
        self._forget_old()
        run = self._runs.get(run_id)
        if run is None or run.owner != owner:
            raise RequestError(
                "there is no such run here any more; what it decided is among the decisions",
                status=404,
            )
        return run

    def _check(self, trial: Trial, deployment: Deployment) -> None:
        if not (trial.prompt.strip() or trial.picture):
            raise RequestError("type a prompt, or drop a picture", param="prompt")
        served = {one.name for one in deployment.current.policies}
        if not trial.policies or not set(trial.policies) <= served:
            raise RequestError("choose policies of those on the page", param="policy")
        if len(set(trial.policies)) < len(trial.policies):
            raise RequestError("choose two different policies", param="policy")
        if sum(not run.is_done for run in self._runs.values()) >= MOST_AT_ONCE:
            raise RequestError(
                f"{MOST_AT_ONCE} runs are under way already; wait for one of them",
                status=503,
                code="overloaded",
            )

    def _forget_old(self) -> None:
        """Runs that ended are kept for a quarter of an hour, and only so many."""
        done = [run for run in self._runs.values() if run.is_done]
        for run in done:
            if run.elapsed_s > _KEPT_S or len(self._runs) >= _MOST_KEPT:
                del self._runs[run.run_id]


def _find_caller(owner: str, keys: Authenticator | None) -> Caller:
    if keys is None:
        return ANYBODY
    key = keys.find_by_id(owner)
    if key is None:
        raise RequestError("your key is not valid any more; sign in again", status=403)
    return caller_of(key)


async def _decide_all(run: Run, trial: Trial, deployment: Deployment, caller: Caller) -> None:
    body = trial.body()
    size = len(trial.picture) + len(trial.prompt)
    async with asyncio.TaskGroup() as group:
        for number, side in enumerate(run.sides):
            origin = Origin(
                route=TRIED_ROUTE,
                request_id=f"{run.run_id}-{number}",
                api_key_id=caller.key_id or "",
            )
            group.create_task(_ending(side, _decide(side, body, size, deployment, caller, origin)))


async def _ending(side: Side, decision: Awaitable[None]) -> None:
    """Waits for one side; a fault of it is told, and ends no other."""
    try:
        await decision
    except asyncio.CancelledError:
        side.problem = _CANCELLED
        raise
    except TimeoutError:
        side.problem = "no decision came in time"
    except GuardrailError as error:
        side.problem = str(error)
    except Exception as error:  # noqa: BLE001 (the edge: nothing is told but that it failed)
        log_crash(error)
        side.problem = "the guard failed; the server's log names the place"


async def _decide(
    side: Side,
    body: Mapping[str, Json],
    size: int,
    deployment: Deployment,
    caller: Caller,
    origin: Origin,
) -> None:
    async with AsyncExitStack() as stack:
        lease = deployment.lease()
        stack.callback(lease.release)
        found = [one.service for one in lease.policies.policies if one.name == side.policy]
        if not found:
            raise RequestError("this policy is not served any more; choose another one")
        service = found[0]
        await stack.enter_async_context(asyncio.timeout(service.engine.rules.deadline_s + _WAIT_S))
        stack.callback((await enter_by_key(deployment.limits, caller)).release)
        held = deployment.bodies.open()
        stack.callback(held.close)
        async with held.arriving():
            await held.take(size)
        incoming = await asyncio.to_thread(_read, service, body, origin.request_id)
        if service.admission.full:
            deployment.refusals.count("places")
        stack.callback((await service.admission.enter(caller)).release)
        side.has_place = True
        verdict, record_id = await service.decide_and_keep(
            partial(_judge, service, incoming, side, caller, origin, lambda: held.give_back(size)),
            incoming.chat,
            origin,
        )
        _keep(side, service, verdict, incoming, record_id, origin)


def _read(service: Service, body: Mapping[str, Json], request_id: str) -> Incoming:
    limits = service.policy.advanced.limits
    incoming = CHECK_ENDPOINT.read(
        body,
        max_images=limits.max_images,
        limits=service.image_loader.limits,
        rules=service.request_rules,
    )
    return dataclasses.replace(incoming, request_id=request_id)


async def _judge(
    service: Service,
    incoming: Incoming,
    side: Side,
    caller: Caller,
    origin: Origin,
    opened: Callable[[], None],
) -> Verdict:
    await check_model(service, incoming.chat.model)
    return await decide_incoming(
        service,
        count_judgements(service.engine, side.tally),
        incoming,
        caller=caller,
        waits=True,
        origin=origin,
        opened=opened,
    )


def _keep(
    side: Side,
    service: Service,
    verdict: Verdict,
    incoming: Incoming,
    record_id: str | None,
    origin: Origin,
) -> None:
    """What the page shows of a verdict: answers and all, in memory alone."""
    side.answers = {
        sample.index: sample.answer.text for sample in verdict.samples if sample.answer is not None
    }
    side.answer = None if verdict.answer is None else verdict.answer.text
    side.record_id = None if record_id == NOT_RECORDED else record_id
    side.record = build_record(verdict, incoming.chat, service.engine, origin=origin)
