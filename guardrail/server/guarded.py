"""One guarded request over HTTP: admitted, read, decided, answered at once or as a held stream."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from guardrail.api.admission import enter_by_key, too_large
from guardrail.api.endpoint import check_model, decide_incoming, word_reply
from guardrail.api.errors import Reply, log_crash, reply_to_error
from guardrail.api.heartbeats import held_headers, next_heartbeat
from guardrail.api.opening import Opening
from guardrail.api.progress import JudgementCount, count_judgements
from guardrail.api.strict_json import parse_object
from guardrail.errors import GuardrailError
from guardrail.policy.policy_list import Asked
from guardrail.server.access import REQUEST_ID, note, note_fault, note_policy
from guardrail.server.authentication import get_caller, set_rate
from guardrail.server.body import read_body
from guardrail.server.error_form import form_error
from guardrail.server.held_stream import HeldStream, stream_response
from guardrail.server.json_response import json_response
from guardrail.server.origin import origin_of
from guardrail.server.watch import wait_for_client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from guardrail.api.admission import Ticket
    from guardrail.api.caller import Caller
    from guardrail.api.deployment import Deployment
    from guardrail.api.endpoint import Endpoint
    from guardrail.api.incoming import Incoming
    from guardrail.api.policy_set import PolicySet
    from guardrail.api.refusals import Refusals
    from guardrail.api.service import Service
    from guardrail.engine.verdict import Verdict
    from guardrail.records.origin import Origin
    from guardrail.server.body import ArrivedBody
    from guardrail.types import Json

__all__ = ["answer_guarded", "choose_service", "enter", "read_aside"]


_SHOWS_BOTH = "ai-sdk/"
"""In the user agent of Vercel's AI SDK, which shows a message's content and then its refusal."""
_KEY_HEADERS = ("authorization", "api-key", "x-api-key")
"""Where OpenAI's clients, Azure's and Anthropic's put their keys."""
_T = TypeVar("_T")


async def answer_guarded(deployment: Deployment, request: Request, endpoint: Endpoint) -> Response:
    """Reads, admits, decides; a stream is handed over at its first heartbeat.

    The place among the decisions is taken when the body is there: a client that sends slowly must
    not keep others from theirs.
    """
    caller, held = get_caller(request.scope), _Held()
    try:
        lease = deployment.lease()
        held.add(lease.release)
        place = await enter_by_key(deployment.limits, caller)
        held.add(place.release)
        set_rate(request.scope, place.rate)
        body = await read_body(deployment.bodies, request, max_bytes=lease.policies.max_body_bytes)
        held.add(body.close)
        service, incoming = await _read_incoming(lease.policies, request, endpoint, body)
        held.add((await enter(service, deployment.refusals, request)).release)
        tally = _tally(service, incoming)
        decision = asyncio.create_task(_decide(service, request, endpoint, incoming, tally, body))
    except BaseException:
        held.release()
        raise
    # Not inside the task: one that is cancelled before it runs would never get there.
    decision.add_done_callback(held.release)
    settings = service.settings
    patience_s = settings.first_byte_s if incoming.stream else None
    if not await wait_for_client(decision, request.receive, timeout_s=patience_s):
        opening = Opening()
        return HeldStream(
            decision,
            heartbeat_s=settings.heartbeat_s,
            heartbeat=lambda: next_heartbeat(service.policy, endpoint, incoming, opening, tally),
            events=lambda reply: endpoint.events(reply, incoming, opening),
            headers=held_headers(service.policy),
        )
    reply = decision.result()
    if incoming.stream and not reply.is_error:
        return stream_response(reply, endpoint.events(reply, incoming))
    return json_response(reply)


class _Held:
    """What a request holds until its decision has ended; an `ExitStack` takes ten times as long."""

    def __init__(self) -> None:
        self._releases: list[Callable[[], object]] = []

    def add(self, release: Callable[[], object]) -> None:
        self._releases.append(release)

    def release(self, *_: object) -> None:
        """Gives everything back, the last first; none of it can fail."""
        while self._releases:
            self._releases.pop()()


def _tally(service: Service, incoming: Incoming) -> JudgementCount | None:
    tells = service.policy.block.details != "none"
    return JudgementCount() if incoming.progress and tells else None


async def enter(service: Service, refusals: Refusals, request: Request) -> Ticket:
    """A place among the decisions, for a request whose body is there; release it.

    Raises:
        RequestError: 503, too many wait.
        ClientDisconnect: the client went away while it waited, and its body is held no longer.
    """
    if service.admission.full:
        refusals.count("places")
    caller = get_caller(request.scope)
    if not service.admission.waits or service.admission.full:
        return await service.admission.enter(caller)
    entering = asyncio.create_task(service.admission.enter(caller))
    try:
        await wait_for_client(entering, request.receive)
    except BaseException:
        entering.add_done_callback(_release)
        raise
    return entering.result()


def _release(entering: asyncio.Task[Ticket]) -> None:
    if not entering.cancelled() and entering.exception() is None:
        entering.result().release()


async def read_aside(
    policies: PolicySet,
    request: Request,
    body: ArrivedBody,
    read: Callable[[Service, Mapping[str, Json]], _T],
) -> tuple[Service, _T]:
    """The body, parsed and read in a thread where it is large, and the service that decides it.

    Raises:
        RequestError: the body is no object, or is larger than its policy allows; or what `read` and
            `choose_service` raise.
    """

    def parse(raw: bytes) -> tuple[Service, _T]:
        given = parse_object(raw, policies.json_limits)
        service = choose_service(policies, request, given.get("model"))
        most = service.policy.advanced.limits.max_body_bytes
        if len(raw) > most:
            raise too_large(most)
        return service, read(service, given)

    return await body.parse(parse)


def choose_service(policies: PolicySet, request: Request, model: Json) -> Service:
    """What decides a request. Raises RequestError, see `PolicySet.choose`."""
    caller = get_caller(request.scope)
    asked = Asked(
        route=getattr(request.scope.get("route"), "path", ""),
        model=model if isinstance(model, str) else "",
        headers=request.headers,
        tenant=caller.tenant,
        key="" if caller.key_id is None else caller.name,
    )
    service = policies.choose(asked, caller.policy or "")
    note_policy(request.scope, service)
    return service


async def _read_incoming(
    policies: PolicySet, request: Request, endpoint: Endpoint, body: ArrivedBody
) -> tuple[Service, Incoming]:
    def read(service: Service, given: Mapping[str, Json]) -> Incoming:
        return endpoint.read(
            given,
            max_images=service.policy.advanced.limits.max_images,
            limits=service.image_loader.limits,
            rules=service.request_rules,
            recall=lambda name: service.items.recall_for(_owner_of(request))(name),
        )

    service, incoming = await read_aside(policies, request, body, read)
    incoming = replace(
        incoming,
        words_once=_SHOWS_BOTH in request.headers.get("user-agent", ""),
        request_id=request.scope.get(REQUEST_ID) or "",
    )
    return service, incoming


def _owner_of(request: Request) -> str | None:
    """Whose the items of its answers are: of the API key that was verified.

    Where there are no API keys, of whoever presents the same ones. Nobody verifies them then, so
    that they prove nothing, but whoever knows the id of another caller's item still needs that
    caller's key to name it. None where none is presented.
    """
    caller = get_caller(request.scope)
    if caller.key_id is not None:
        return repr((caller.tenant, caller.key_id))
    presented = [request.headers.getlist(name) for name in _KEY_HEADERS]
    return repr(presented) if any(presented) else None


async def _judge(
    service: Service,
    endpoint: Endpoint,
    incoming: Incoming,
    tally: JudgementCount | None,
    body: ArrivedBody,
    caller: Caller,
    origin: Origin,
) -> Verdict:
    await check_model(service, incoming.chat.model)
    engine = service.engine if tally is None else count_judgements(service.engine, tally)
    encoded_bytes = sum(source.encoded_bytes for source in incoming.sources)
    return await decide_incoming(
        service,
        engine,
        incoming,
        caller=caller,
        waits=endpoint.asks_verdict,
        origin=origin,
        opened=lambda: body.give_back(encoded_bytes),
    )


async def _decide(
    service: Service,
    request: Request,
    endpoint: Endpoint,
    incoming: Incoming,
    tally: JudgementCount | None,
    body: ArrivedBody,
) -> Reply:
    """The reply to one chat; every fault is one as well."""
    origin = origin_of(request.scope)
    try:
        verdict, record_id = await service.decide_and_keep(
            partial(
                _judge, service, endpoint, incoming, tally, body, get_caller(request.scope), origin
            ),
            incoming.chat,
            origin,
            incoming.sent,
        )
        note(request.scope, verdict, record_id)
        owner = _owner_of(request) if incoming.keeps_items else None
        return word_reply(service, endpoint, verdict, incoming, record_id, owner=owner)
    except GuardrailError as error:
        note_fault(request.scope, error)
        return form_error(request.scope, reply_to_error(error))
    except Exception as error:  # noqa: BLE001 (the server's edge: nothing leaves but an error)
        note_fault(request.scope, error)
        log_crash(error)
        return form_error(request.scope, reply_to_error(error))
