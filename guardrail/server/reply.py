"""A verdict as a client sees it: an OpenAI chat completion, a block or an error, and headers.

Nothing that was not judged leaves: of what a provider sends beside the message only the fields
named here are passed on; the names of the others are listed under `guardrail.withheld`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never
from urllib.parse import quote

from guardrail.engine.verdict import Action, Verdict
from guardrail.errors import CertificationError
from guardrail.server.failures import Reply, error_reply, reply_to_error
from guardrail.server.logprobs import told_logprobs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from guardrail.policy.schema import Policy
    from guardrail.types import Chat, Json

__all__ = ["Said", "about_verdict", "dressed", "pending_headers", "reply_to", "said"]

_CHOICE_EXTRAS = ("stop_reason",)
_RESPONSE_EXTRAS = ("system_fingerprint", "service_tier")
_HEADER_SAFE = " !#$&'()*+,/:;<=>?@[]^`{|}~"


@dataclass(frozen=True, slots=True)
class Said:
    """What a client is told: an answer that passed, or the words of a block as one.

    Attributes:
        message: the assistant message in OpenAI's form.
        finish_reason: OpenAI's word.
        model: the model that answered; empty where none is named.
        extra: what else the provider sent, as in `Answer`.
    """

    message: Mapping[str, Json]
    finish_reason: str
    model: str = ""
    extra: Mapping[str, Json] = field(default_factory=dict)


def reply_to(verdict: Verdict, chat: Chat, policy: Policy, record_id: str) -> Reply:
    """The whole chat completion, the same for plain and streamed requests.

    Raises:
        CertificationError: the verdict says pass but holds no answer.
    """
    told = said(verdict, policy)
    if isinstance(told, Reply):
        return dressed(told, verdict, policy, record_id)
    reply = Reply(200, _completion(told, verdict, chat, record_id))
    return dressed(reply, verdict, policy, record_id, _withheld(told, reply.body))


def dressed(
    reply: Reply,
    verdict: Verdict,
    policy: Policy,
    record_id: str,
    withheld: Collection[str] = (),
) -> Reply:
    """The reply with the `guardrail` object in its body and its headers.

    `withheld` names parts of the answer that are not passed on.
    """
    about = about_verdict(verdict, record_id)
    if withheld:
        about["withheld"] = sorted(withheld)
    return replace(
        reply,
        body={**reply.body, "guardrail": about},
        headers={**reply.headers, **_headers(verdict, policy, record_id)},
    )


def pending_headers(policy: Policy) -> dict[str, str]:
    """What can be said in a stream's headers before the verdict; its last chunk says the rest."""
    return {
        "x-guardrail-decision": "pending",
        "x-guardrail-policy": _header_text(policy.name),
        "x-guardrail-mode": policy.mode.value,
    }


def said(verdict: Verdict, policy: Policy) -> Said | Reply:
    """What the client is told, or the error that it gets instead.

    Raises:
        CertificationError: the verdict says pass but holds no answer.
    """
    match verdict.action:
        case Action.PASS:
            if verdict.answer is None:
                raise CertificationError("a verdict passed without an answer; report this")
            answer = verdict.answer
            return Said(answer.message, answer.finish_reason, answer.model, answer.extra)
        case Action.BLOCK:
            return _blocked(policy)
        case Action.FAIL:
            return reply_to_error(verdict.failure or CertificationError("the guard failed"))
        case _:
            assert_never(verdict.action)


def _blocked(policy: Policy) -> Said | Reply:
    text = policy.block.text
    match policy.block.style:
        case "error":
            return error_reply(400, text, code="content_policy_violation")
        case "message":
            return Said({"role": "assistant", "content": text}, "content_filter")
        case "refusal":
            return Said({"role": "assistant", "refusal": text}, "content_filter")
        case _:
            assert_never(policy.block.style)


def _withheld(told: Said, body: Mapping[str, Json]) -> list[str]:
    passed_on = {*_CHOICE_EXTRAS, *_RESPONSE_EXTRAS}
    if not told.extra.get("logprobs") or body["choices"][0]["logprobs"] is not None:
        passed_on.add("logprobs")
    return [str(name) for name in told.extra if name not in passed_on]


def _completion(told: Said, verdict: Verdict, chat: Chat, record_id: str) -> dict[str, Json]:
    usage, extra = verdict.usage, told.extra
    choice = {
        "index": 0,
        "logprobs": told_logprobs(extra.get("logprobs"), told.message),
        "message": {"role": "assistant", "content": None, "refusal": None, **told.message},
        "finish_reason": told.finish_reason,
        **{name: extra[name] for name in _CHOICE_EXTRAS if name in extra},
    }
    return {
        "id": f"chatcmpl-{record_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": told.model or chat.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
        **{name: extra[name] for name in _RESPONSE_EXTRAS if name in extra},
    }


def about_verdict(verdict: Verdict, record_id: str) -> dict[str, Json]:
    """The `guardrail` object of a body."""
    certificate = verdict.certificate
    return {
        "decision": verdict.action.value,
        "reason": verdict.reason.value,
        "would_block": verdict.would_block,
        "certificate": None if certificate is None else certificate.to_dict(),
        "unscanned": list(verdict.unscanned),
        "outside_claim": verdict.outside_claim,
        "remembered": verdict.remembered,
        "samples": {
            "total": 0 if certificate is None else certificate.samples,
            "harmless": 0 if certificate is None else certificate.harmless,
        },
        "calls": verdict.usage.calls,
        "cost_usd": None if verdict.cost_usd is None else _micros_up(verdict.cost_usd),
        "record_id": record_id,
        "elapsed_ms": _ms(verdict.elapsed_s),
        "overhead_ms": _ms(verdict.overhead_s),
    }


def _headers(verdict: Verdict, policy: Policy, record_id: str) -> dict[str, str]:
    certificate = verdict.certificate
    values = {
        "decision": verdict.action.value,
        "reason": verdict.reason.value,
        "radius": _radius(0.0 if certificate is None else certificate.radius),
        "samples": str(0 if certificate is None else certificate.samples),
        "policy": policy.name,
        "mode": policy.mode.value,
        "record-id": record_id,
        "overhead-ms": f"{_ms(verdict.overhead_s):g}",
        "unscanned": ", ".join(verdict.unscanned) or "none",
        "would-block": "true" if verdict.would_block else "false",
        "remembered": "true" if verdict.remembered else "false",
    }
    if verdict.cost_usd is not None:
        values["cost-usd"] = f"{_micros_up(verdict.cost_usd):.6f}"
    return {f"x-guardrail-{name}": _header_text(value) for name, value in values.items()}


def _radius(radius: float) -> str:
    """Four decimals, rounded down: what is shown is never more than what is certified."""
    return f"{math.floor(radius * 1e4) / 1e4:.4f}"


def _micros_up(usd: float) -> float:
    """Six decimals, rounded up: what is shown is never less than what is owed."""
    return math.ceil(round(usd * 1e6, 3)) / 1e6


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)


def _header_text(value: str) -> str:
    """Printable ASCII; everything else percent-encoded, line breaks first of all."""
    return quote(value, safe=_HEADER_SAFE, errors="replace")
