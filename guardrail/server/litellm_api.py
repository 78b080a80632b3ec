"""POST /beta/litellm_basic_guardrail_api: a guardrail inside an existing LiteLLM gateway.

Whatever goes wrong is answered BLOCKED and with status 200: LiteLLM can be told to let pass what
its guardrails answer with an error.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from guardrail.api.admission import enter_by_key
from guardrail.api.errors import log_crash
from guardrail.api.litellm.decide import blocked_reply, decide_question
from guardrail.api.litellm.request import read_question
from guardrail.errors import GuardrailError
from guardrail.server.access import note, note_fault
from guardrail.server.authentication import get_caller, set_rate
from guardrail.server.body import read_body
from guardrail.server.guarded import enter, read_aside
from guardrail.server.json_response import json_response
from guardrail.server.origin import origin_of
from guardrail.server.watch import wait_for_client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from guardrail.api.deployment import Deployment
    from guardrail.api.errors import Reply
    from guardrail.api.incoming import Incoming
    from guardrail.api.litellm.request import GivenAnswer
    from guardrail.api.policy_set import PolicySet
    from guardrail.api.service import Service
    from guardrail.engine.verdict import Verdict
    from guardrail.server.body import ArrivedBody
    from guardrail.types import Json

__all__ = ["litellm_endpoint"]


def litellm_endpoint(deployment: Deployment) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, bound to one deployment."""

    async def answer(request: Request) -> Response:
        with ExitStack() as held:
            return json_response(await _answer(deployment, request, held))

    return answer


async def _answer(deployment: Deployment, request: Request, held: ExitStack) -> Reply:
    """The reply to one question; every fault blocks. What it takes is released by `held`."""
    caller = get_caller(request.scope)
    try:
        lease = deployment.lease()
        held.callback(lease.release)
        place = await enter_by_key(deployment.limits, caller)
        held.callback(place.release)
        set_rate(request.scope, place.rate)
        most = lease.policies.max_body_bytes
        body = await read_body(deployment.bodies, request, max_bytes=most)
        held.callback(body.close)
        service, question = await _question(lease.policies, request, body)
        held.callback((await enter(service, deployment.refusals, request)).release)

        def note_verdict(verdict: Verdict, record_id: str | None) -> None:
            note(request.scope, verdict, record_id)

        origin = origin_of(request.scope)
        decision = asyncio.create_task(
            decide_question(service, question, note_verdict, origin, caller)
        )
        await wait_for_client(decision, request.receive)
        return decision.result()
    except GuardrailError as error:
        note_fault(request.scope, error)
        return blocked_reply(str(error))
    except ClientDisconnect:
        raise
    except Exception as error:  # noqa: BLE001 (the server's edge: a crash must block)
        return _crashed(request, error)


def _crashed(request: Request, error: Exception) -> Reply:
    note_fault(request.scope, error)
    log_crash(error)
    return blocked_reply("the guard failed; its log names the place")


async def _question(
    policies: PolicySet, request: Request, body: ArrivedBody
) -> tuple[Service, Incoming | GivenAnswer | None]:
    def read(service: Service, given: Mapping[str, Json]) -> Incoming | GivenAnswer | None:
        return read_question(
            given,
            tests_texts=service.engine.rules.tests(0),
            model=service.settings.litellm_model,
            max_images=service.policy.advanced.limits.max_images,
            limits=service.image_loader.limits,
            rules=service.request_rules,
        )

    return await read_aside(policies, request, body, read)
