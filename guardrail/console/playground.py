"""One request, tried under policies of the server as a client's request would be.

It goes through the same places, limits and budgets, by the key of whoever signed in, and is
recorded and counted. A run belongs to the one request that began it, and ends with it: with several
processes on one address, another request may reach another one, which knows nothing of it.
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
from guardrail.engine.observer import observe_with
from guardrail.errors import GuardrailError, RequestError
from guardrail.records.origin import TRIED_ROUTE, Origin
from guardrail.records.recorder import NOT_RECORDED, build_record
from guardrail.telemetry.request_id import use_request_id
from guardrail.telemetry.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from guardrail.api.caller import Caller
    from guardrail.api.deployment import Deployment
    from guardrail.api.incoming import Incoming
    from guardrail.api.policy_set import PolicySet
    from guardrail.api.service import Service
    from guardrail.engine.verdict import Verdict
    from guardrail.keys.authenticator import Authenticator
    from guardrail.records.record import Record
    from guardrail.types import Json

__all__ = ["Playground", "Run", "Side", "Trial", "list_policies"]

MOST_AT_ONCE = 4
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


@dataclass(slots=True, eq=False)
class Run:
    """One try.

    Attributes:
        run_id: names it in logs and records.
        prompt: what was asked.
        sides: one for each policy.
        began: on the clock of `time.monotonic`.
    """

    run_id: str
    prompt: str
    sides: Sequence[Side]
    began: float
    task: asyncio.Task[None] | None = None

    @property
    def is_done(self) -> bool:
        has_ended = self.task is not None and self.task.done()
        return has_ended or all(side.is_done for side in self.sides)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    async def wait(self, timeout_s: float) -> None:
        """Returns when all is decided, or when that time is over."""
        if self.task is not None:
            await asyncio.wait([self.task], timeout=timeout_s)

    def cancel(self) -> None:
        """Ends what is under way, which is recorded as cancelled; nothing where all is decided."""
        if self.task is not None and not self.is_done:
            self.task.cancel()


class Playground:
    """The runs of one console; used on one event loop."""

    def __init__(self) -> None:
        self._under_way: set[Run] = set()

    def begin(
        self,
        trial: Trial,
        owner: str,
        deployment: Deployment,
        keys: Authenticator | None,
        telemetry: Telemetry | None,
    ) -> Run:
        """Begins to decide; `Run.cancel` it when nobody waits any more.

        Raises:
            RequestError: there is nothing to ask, a policy is not served, or looser than the one
                that the key is bound to, the key is not valid any more, or too many runs are under
                way.
        """
        caller = _find_caller(owner, keys)
        self._check(trial, deployment, caller)
        sides = [Side(name) for name in trial.policies]
        run = Run(uuid.uuid4().hex, trial.prompt, sides, time.monotonic())
        run.task = asyncio.create_task(
            _decide_all(run, trial, deployment, caller, telemetry or Telemetry())
        )
        self._under_way.add(run)
        run.task.add_done_callback(lambda _: self._under_way.discard(run))
        return run

    def _check(self, trial: Trial, deployment: Deployment, caller: Caller) -> None:
        if not (trial.prompt.strip() or trial.picture):
            raise RequestError("type a prompt, or drop a picture", param="prompt")
        served = {one.name for one in deployment.current.policies}
        if not trial.policies or not set(trial.policies) <= served:
            raise RequestError("choose policies of those on the page", param="policy")
        if len(set(trial.policies)) < len(trial.policies):
            raise RequestError("choose two different policies", param="policy")
        for name in trial.policies:
            _find_service(deployment.current, caller, name)
        if len(self._under_way) >= MOST_AT_ONCE:
            raise RequestError(
                f"{MOST_AT_ONCE} runs are under way already; wait for one of them",
                status=503,
                code="overloaded",
            )


def list_policies(deployment: Deployment, owner: str, keys: Authenticator | None) -> list[str]:
    """The policies that a key may try, the strictest first.

    Raises:
        RequestError: the key is not valid any more, or its policy is not served.
    """
    policies = deployment.current
    return [one.name for one in policies.list_allowed(_find_caller(owner, keys).policy or "")]


def _find_service(policies: PolicySet, caller: Caller, name: str) -> Service:
    """Raises RequestError: 403, the caller's key is bound to a stricter policy."""
    allowed = policies.list_allowed(caller.policy or "")
    found = next((one.service for one in allowed if one.name == name), None)
    if found is not None:
        return found
    if all(one.name != name for one in policies.policies):
        raise RequestError("this policy is not served any more; choose another one")
    raise RequestError(
        f"your key is bound to the policy '{caller.policy}', and '{name}' is looser; try that one "
        "or a stricter one, or sign in with a key that is not bound",
        status=403,
        param="policy",
        code="policy_not_allowed",
    )


def _find_caller(owner: str, keys: Authenticator | None) -> Caller:
    if keys is None:
        return ANYBODY
    key = keys.find_by_id(owner)
    if key is None:
        raise RequestError("your key is not valid any more; sign in again", status=403)
    return caller_of(key)


async def _decide_all(
    run: Run, trial: Trial, deployment: Deployment, caller: Caller, telemetry: Telemetry
) -> None:
    body = trial.body()
    size = len(trial.picture) + len(trial.prompt)
    async with asyncio.TaskGroup() as group:
        for number, side in enumerate(run.sides):
            origin = Origin(
                route=TRIED_ROUTE,
                request_id=f"{run.run_id}-{number}",
                api_key_id=caller.key_id or "",
            )
            decide = partial(_decide, side, body, size, deployment, caller, origin)
            group.create_task(_observe(side, decide, origin.request_id, telemetry))


async def _observe(
    side: Side,
    decide: Callable[[], Awaitable[tuple[Verdict, str | None]]],
    request_id: str,
    telemetry: Telemetry,
) -> None:
    """Waits for one side, which is a request of its own in logs and metrics.

    A fault of it is told, and ends no other.
    """
    seen = telemetry.observe(request_id, is_tried=True)
    try:
        with use_request_id(request_id), observe_with(seen):
            verdict, record_id = await decide()
        seen.note_verdict(verdict, record_id)
        seen.log_decision(verdict)
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
) -> tuple[Verdict, str | None]:
    async with AsyncExitStack() as stack:
        lease = deployment.lease()
        stack.callback(lease.release)
        service = _find_service(lease.policies, caller, side.policy)
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
            incoming.sent,
        )
        _keep(side, service, verdict, incoming, record_id, origin)
        return verdict, record_id


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
