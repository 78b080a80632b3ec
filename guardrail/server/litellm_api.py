"""POST /beta/litellm_basic_guardrail_api: a guardrail inside an existing LiteLLM gateway.

Whatever goes wrong is answered BLOCKED and with status 200: LiteLLM can be told to let pass what
its guardrails answer with an error.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response  # noqa: TC002 (FastAPI resolves it at run time)
from starlette.requests import ClientDisconnect

from guardrail.engine.guard import Engine
from guardrail.engine.verdict import Action
from guardrail.errors import GuardrailError, RequestError
from guardrail.server.access import note
from guardrail.server.described import LITELLM
from guardrail.server.direct import Direct
from guardrail.server.failures import Reply, log_crash
from guardrail.server.guarded import check_model, decided_with, read_aside
from guardrail.server.json_response import json_response
from guardrail.server.litellm_request import Said, read_question
from guardrail.server.watch import settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.verdict import Verdict
    from guardrail.server.service import Service
    from guardrail.server.wire import Incoming
    from guardrail.types import Answer, Chat, Pixels

__all__ = ["litellm_router"]

_PATH = "/beta/litellm_basic_guardrail_api"
_SUMMARY = "LiteLLM's Generic Guardrail API."


def litellm_router(service: Service) -> APIRouter:
    """The route, bound to one service."""
    router = APIRouter(route_class=Direct)

    @router.post(_PATH, summary=_SUMMARY, openapi_extra=LITELLM)
    async def litellm_basic_guardrail_api(request: Request) -> Response:
        _check_key(service, request)
        return json_response(await _answered(service, request))

    return router


def _check_key(service: Service, request: Request) -> None:
    wanted = service.settings.litellm_api_key
    given = request.headers.get("x-api-key", "")
    if wanted is not None and not hmac.compare_digest(given.encode(), wanted.encode()):
        raise RequestError(
            "x-api-key: not the key that is set for LiteLLM here; set the same api_key there",
            status=401,
            code="invalid_api_key",
        )


async def _answered(service: Service, request: Request) -> Reply:
    """The reply to one question; every fault blocks."""
    try:
        ticket = await service.admission.enter()
    except GuardrailError as error:
        return _blocked(str(error))
    try:
        question = await _question(service, request)
        decision = asyncio.create_task(_decided(service, request, question))
        await settled(decision, request.receive)
        return decision.result()
    except GuardrailError as error:
        return _blocked(str(error))
    except ClientDisconnect:
        raise
    except Exception as error:  # noqa: BLE001 (the server's edge: nothing passes by a crash)
        log_crash(error)
        return _blocked("the guard failed; its log names the place")
    finally:
        ticket.release()


async def _question(service: Service, request: Request) -> Incoming | Said | None:
    most, model = service.policy.limits.max_images, service.settings.litellm_model

    def read(raw: bytes) -> Incoming | Said | None:
        return read_question(raw, model=model, max_images=most, limits=service.desk.limits)

    return await read_aside(service, request, read)


async def _decided(service: Service, request: Request, question: Incoming | Said | None) -> Reply:
    if question is None:
        return Reply(200, {"action": "NONE"})
    if isinstance(question, Said):
        verdict = await _judged(service, question)
    else:
        await check_model(service, question.chat.model)
        verdict = await decided_with(service, service.engine, question)
    note(request.scope, verdict, service.record(verdict, question.chat))
    if verdict.action is Action.PASS:
        return Reply(200, {"action": "NONE"})
    return _blocked(_reason(service, verdict))


async def _judged(service: Service, said: Said) -> Verdict:
    """The decision on an answer that is there already."""
    engine = service.engine
    given = Engine(engine.rules, _Given(said.answer), engine.oracle, engine.key)
    return await service.decisions.decide(given, said.chat, scope=None)


def _reason(service: Service, verdict: Verdict) -> str:
    if verdict.action is Action.BLOCK:
        return f"{service.policy.block.text} ({verdict.reason.value})"
    return f"The guard could not decide ({verdict.reason.value}): {verdict.failure}"


def _blocked(reason: str) -> Reply:
    return Reply(200, {"action": "BLOCKED", "blocked_reason": reason})


@dataclass(frozen=True, slots=True)
class _Given:
    """An upstream with one answer."""

    answer: Answer
    name: str = "given"
    revision: str = "given"
    deterministic: bool = True  # see `is_deterministic`

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:  # noqa: ARG002 (the protocol's)
        return self.answer

    async def models(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        """Nothing is open."""
