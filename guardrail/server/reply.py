"""A verdict as a client sees it: an OpenAI chat completion, a block or an error, and headers.

Nothing that was not judged leaves: of what a provider sends beside the message only the fields
named here are passed on; the names of the others are listed under `guardrail.withheld`.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never
from urllib.parse import quote

from guardrail.engine.verdict import Action, Verdict
from guardrail.errors import CertificationError
from guardrail.server.failures import Reply, error_reply, reply_to_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.policy.schema import Policy
    from guardrail.types import Answer, Chat, Json

__all__ = ["pending_headers", "reply_to"]

_CHOICE_EXTRAS = ("logprobs", "stop_reason")
_RESPONSE_EXTRAS = ("system_fingerprint", "service_tier")
_HEADER_SAFE = " !#$&'()*+,/:;<=>?@[]^`{|}~"


def reply_to(verdict: Verdict, chat: Chat, policy: Policy, record_id: str) -> Reply:
    """The whole reply, the same for plain and streamed requests.

    Raises:
        CertificationError: the verdict says pass but holds no answer.
    """
    about = _about(verdict, record_id)
    reply = _bare(verdict, chat, policy, record_id)
    if verdict.answer is not None and (withheld := _withheld(verdict.answer)):
        about["withheld"] = withheld
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


def _bare(verdict: Verdict, chat: Chat, policy: Policy, record_id: str) -> Reply:
    match verdict.action:
        case Action.PASS:
            if verdict.answer is None:
                raise CertificationError("a verdict passed without an answer; report this")
            return Reply(200, _completion(_passed(verdict.answer), verdict, chat, record_id))
        case Action.BLOCK:
            return _blocked(verdict, chat, policy, record_id)
        case Action.FAIL:
            return reply_to_error(verdict.failure or CertificationError("the guard failed"))
        case _:
            assert_never(verdict.action)


def _blocked(verdict: Verdict, chat: Chat, policy: Policy, record_id: str) -> Reply:
    text = policy.block.text
    match policy.block.style:
        case "error":
            return error_reply(400, text, code="content_policy_violation")
        case "message":
            message = {"role": "assistant", "content": text, "refusal": None}
        case "refusal":
            message = {"role": "assistant", "content": None, "refusal": text}
        case _:
            assert_never(policy.block.style)
    choice = {"message": message, "finish_reason": "content_filter"}
    return Reply(200, _completion({"choice": choice}, verdict, chat, record_id))


def _passed(answer: Answer) -> dict[str, Json]:
    message = {"role": "assistant", "content": None, "refusal": None, **answer.message}
    choice = {"message": message, "finish_reason": answer.finish_reason}
    extra = answer.extra
    return {
        "model": answer.model,
        "choice": choice | {name: extra[name] for name in _CHOICE_EXTRAS if name in extra},
        "extra": {name: extra[name] for name in _RESPONSE_EXTRAS if name in extra},
    }


def _withheld(answer: Answer) -> list[str]:
    return sorted(str(n) for n in answer.extra if n not in (*_CHOICE_EXTRAS, *_RESPONSE_EXTRAS))


def _completion(
    given: Mapping[str, Json], verdict: Verdict, chat: Chat, record_id: str
) -> dict[str, Json]:
    usage = verdict.usage
    return {
        "id": f"chatcmpl-{record_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": given.get("model") or chat.model,
        "choices": [{"index": 0, "logprobs": None, **given["choice"]}],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
        **given.get("extra", {}),
    }


def _about(verdict: Verdict, record_id: str) -> dict[str, Json]:
    """The `guardrail` object of a body."""
    certificate = verdict.certificate
    return {
        "decision": verdict.action.value,
        "reason": verdict.reason.value,
        "would_block": verdict.would_block,
        "certificate": None if certificate is None else certificate.to_dict(),
        "unscanned": list(verdict.unscanned),
        "outside_claim": verdict.outside_claim,
        "samples": {
            "total": 0 if certificate is None else certificate.samples,
            "harmless": 0 if certificate is None else certificate.harmless,
        },
        "calls": verdict.usage.calls,
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
    }
    return {f"x-guardrail-{name}": _header_text(value) for name, value in values.items()}


def _radius(radius: float) -> str:
    """Four decimals, rounded down: what is shown is never more than what is certified."""
    return f"{math.floor(radius * 1e4) / 1e4:.4f}"


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)


def _header_text(value: str) -> str:
    """Printable ASCII; everything else percent-encoded, line breaks first of all."""
    return quote(value, safe=_HEADER_SAFE, errors="replace")
