"""LiteLLM's Generic Guardrail API, without HTTP: one question, answered NONE or BLOCKED."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from guardrail.api.caller import ANYBODY
from guardrail.api.chat.reply import block_words, verdict_headers
from guardrail.api.endpoint import check_model, decide_incoming
from guardrail.api.errors import Reply
from guardrail.api.litellm.request import GivenAnswer
from guardrail.engine.verdict import Action
from guardrail.records.origin import UNKNOWN_ORIGIN
from guardrail.upstreams.given import GivenAnswerUpstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.api.caller import Caller
    from guardrail.api.incoming import Incoming
    from guardrail.api.service import Service
    from guardrail.engine.verdict import Verdict
    from guardrail.records.origin import Origin

__all__ = ["blocked_reply", "decide_question"]


async def decide_question(
    service: Service,
    question: Incoming | GivenAnswer | None,
    note: Callable[[Verdict, str | None], None],
    origin: Origin = UNKNOWN_ORIGIN,
    caller: Caller = ANYBODY,
) -> Reply:
    """The reply to one question.

    Args:
        service: what all requests share.
        question: what LiteLLM asks; None asks for nothing.
        note: told the verdict and the name of its record, None where there is none.
        origin: where the question came from.
        caller: who asks.

    Raises:
        GuardrailError: there is no verdict.
    """
    if question is None:
        return Reply(200, {"action": "NONE"})
    sent = None if isinstance(question, GivenAnswer) else question.sent
    verdict, record_id = await service.decide_and_keep(
        partial(_judge, service, question, caller), question.chat, origin, sent
    )
    note(verdict, record_id)
    headers = _headers(service, verdict)
    if verdict.action is Action.PASS:
        return Reply(200, {"action": "NONE"}, headers)
    return Reply(200, blocked_reply(_reason(service, verdict, record_id)).body, headers)


def _headers(service: Service, verdict: Verdict) -> dict[str, str]:
    """Those of the other routes that tell a block from a fault, and what observing hides."""
    values = {
        "decision": verdict.action.value,
        "reason": verdict.reason.value,
        "policy": service.policy.name,
        "mode": service.policy.mode.value,
        "would-block": "true" if verdict.would_block else "false",
    }
    return verdict_headers(values)


async def _judge(service: Service, question: Incoming | GivenAnswer, caller: Caller) -> Verdict:
    if isinstance(question, GivenAnswer):
        return await _judge_answer(service, question)
    await check_model(service, question.chat.model)
    return await decide_incoming(service, service.engine, question, caller=caller, waits=True)


async def _judge_answer(service: Service, said: GivenAnswer) -> Verdict:
    """The decision on an answer that is there already."""
    engine = service.engine
    given = engine.with_upstream(GivenAnswerUpstream(said.answer))
    return await service.decisions.decide(given, said.chat, scope=None)


def _reason(service: Service, verdict: Verdict, record_id: str | None) -> str:
    if verdict.action is Action.BLOCK:
        return f"{block_words(verdict, service.policy, record_id)} ({verdict.reason.value})"
    return f"The guard could not decide ({verdict.reason.value}): {verdict.failure}"


def blocked_reply(reason: str) -> Reply:
    """What LiteLLM takes for a block; the status of everything here is 200."""
    return Reply(200, {"action": "BLOCKED", "blocked_reason": reason})
