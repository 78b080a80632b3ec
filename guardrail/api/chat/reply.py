"""A verdict as a client sees it: an OpenAI chat completion, a block or an error, and headers.

Nothing that was not judged leaves: of what a provider sends beside the message only the fields
named here are passed on; the names of the others are listed under `guardrail.withheld`.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, assert_never
from urllib.parse import quote

from guardrail.api.chat.logprobs import format_logprobs
from guardrail.api.errors import Reply, error_reply, reply_to_error
from guardrail.engine.certificate.codec import encode_certificate
from guardrail.engine.verdict import Action, Reason, Verdict
from guardrail.errors import CertificationError
from guardrail.types import Usage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from guardrail.policy.schema import BlockDetails, Policy
    from guardrail.types import Chat, Json

__all__ = [
    "AnswerBody",
    "about_verdict",
    "add_guardrail",
    "answer_body",
    "block_words",
    "details_of",
    "format_usage",
    "new_name",
    "pending_headers",
    "reply_to",
    "usage_of",
    "verdict_headers",
]

_CHOICE_EXTRAS = ("stop_reason",)
_RESPONSE_EXTRAS = ("system_fingerprint", "service_tier")
_UNDECIDED = frozenset({Reason.NOT_DECIDED, Reason.OVERRIDE})
"""The guard itself came to no decision."""
_HEADER_SAFE = " !#$&'()*+,/:;<=>?@[]^`{|}~"
_PLAIN_HEADER = re.compile(rf"[A-Za-z0-9_.~{re.escape(_HEADER_SAFE)}-]*")


@dataclass(frozen=True, slots=True)
class AnswerBody:
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


def reply_to(
    verdict: Verdict,
    chat: Chat,
    policy: Policy,
    record_id: str | None,
    *,
    words_once: bool = False,
) -> Reply:
    """The whole chat completion, the same for plain and streamed requests.

    Args:
        verdict: what was decided.
        chat: on what.
        policy: says what a client is told of a block.
        record_id: names the decision's record; None where none is kept.
        words_once: see `answer_body`.

    Raises:
        CertificationError: the verdict says pass but holds no answer.
    """
    told = answer_body(verdict, policy, record_id, words_once=words_once)
    if isinstance(told, Reply):
        return add_guardrail(told, verdict, policy, record_id)
    reply = Reply(200, _completion(told, usage_of(verdict, policy), chat, record_id or new_name()))
    return add_guardrail(reply, verdict, policy, record_id, _withheld(told, reply.body))


def add_guardrail(
    reply: Reply,
    verdict: Verdict,
    policy: Policy,
    record_id: str | None,
    withheld: Collection[str] = (),
) -> Reply:
    """The reply with the `guardrail` object in its body and its headers.

    `withheld` names parts of the answer that are not passed on.
    """
    about = about_verdict(verdict, policy, record_id)
    if withheld:
        about["withheld"] = sorted(withheld)
    return Reply(
        reply.status,
        {**reply.body, "guardrail": about},
        {**reply.headers, **_headers(verdict, policy, record_id)},
    )


def new_name() -> str:
    """What an answer is named by whose decision is not recorded."""
    return secrets.token_hex(16)


def pending_headers(policy: Policy) -> dict[str, str]:
    """What can be said in a stream's headers before the verdict; its last chunk says the rest."""
    return {
        "x-guardrail-decision": "pending",
        "x-guardrail-policy": _header_text(policy.name),
        "x-guardrail-mode": policy.mode.value,
    }


def answer_body(
    verdict: Verdict, policy: Policy, record_id: str | None, *, words_once: bool = False
) -> AnswerBody | Reply:
    """What the client is told, or the error that it gets instead.

    `words_once` is for clients that show content and refusal one after the other.

    Raises:
        CertificationError: the verdict says pass but holds no answer.
    """
    match verdict.action:
        case Action.PASS:
            if verdict.answer is None:
                raise CertificationError("a verdict passed without an answer; report this")
            answer = verdict.answer
            return AnswerBody(answer.message, answer.finish_reason, answer.model, answer.extra)
        case Action.BLOCK:
            return _block_body(verdict, policy, record_id, words_once=words_once)
        case Action.FAULT:
            return reply_to_error(verdict.failure or CertificationError("the guard failed"))
        case _:
            assert_never(verdict.action)


def block_words(verdict: Verdict, policy: Policy, record_id: str | None) -> str:
    """The policy's words of this block."""
    words = policy.block.text
    if verdict.reason is Reason.LANGUAGE_UNMEASURED:
        words = policy.block.language_text
    # A policy that names records is refused where none are kept (see `Service`).
    return words.replace("{reason}", verdict.reason.value).replace("{record_id}", record_id or "")


def _block_body(
    verdict: Verdict, policy: Policy, record_id: str | None, *, words_once: bool
) -> AnswerBody | Reply:
    text = block_words(verdict, policy, record_id)
    match policy.block.style:
        case "error":
            language = verdict.reason is Reason.LANGUAGE_UNMEASURED
            code = "language_unmeasured" if language else "content_policy_violation"
            return error_reply(400, text, code=code)
        case "message":
            return AnswerBody({"role": "assistant", "content": text}, "content_filter")
        case "refusal":
            # Most chat programs show content alone; what looks for refusals finds one as well.
            refusal = {} if words_once else {"refusal": text}
            message = {"role": "assistant", "content": text, **refusal}
            return AnswerBody(message, "content_filter")
        case _:
            assert_never(policy.block.style)


def _withheld(told: AnswerBody, body: Mapping[str, Json]) -> list[str]:
    passed_on = {*_CHOICE_EXTRAS, *_RESPONSE_EXTRAS}
    if not told.extra.get("logprobs") or body["choices"][0]["logprobs"] is not None:
        passed_on.add("logprobs")
    says = (name for name, value in told.extra.items() if value not in (None, "", [], {}))
    return [str(name) for name in says if name not in passed_on]


def _completion(told: AnswerBody, usage: Usage, chat: Chat, name: str) -> dict[str, Json]:
    extra = told.extra
    choice = {
        "index": 0,
        "logprobs": format_logprobs(extra.get("logprobs"), told.message),
        "message": {"role": "assistant", "content": None, "refusal": None, **told.message},
        "finish_reason": told.finish_reason,
        **{name: extra[name] for name in _CHOICE_EXTRAS if name in extra},
    }
    return {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": told.model or chat.model,
        "choices": [choice],
        **format_usage(usage),
        **{name: extra[name] for name in _RESPONSE_EXTRAS if name in extra},
    }


def details_of(verdict: Verdict, policy: Policy) -> BlockDetails:
    """How much a client is told: everything of a pass; of all else, what the policy says.

    Counts, calls, cost, tokens and times tell how near a request came to passing, and hence which
    change of its picture brings it nearer. So do those of a request that would be blocked, or that
    only observe mode let pass.
    """
    undecided = verdict.certificate is not None and not verdict.reason.is_judgement
    passed = verdict.action is Action.PASS and not verdict.would_block and not undecided
    return "full" if passed else policy.block.details


def usage_of(verdict: Verdict, policy: Policy) -> Usage:
    """The tokens of all calls; where they may not be told, those of what is delivered.

    That is nothing in a block: zeros, since official clients fail where there is no usage at all.
    """
    if details_of(verdict, policy) != "none":
        return verdict.usage
    delivered = verdict.answer if verdict.action is Action.PASS else None
    return Usage() if delivered is None else delivered.usage


def format_usage(usage: Usage) -> dict[str, Json]:
    """The field `usage` of a chat completion; no field where a call's tokens are not known."""
    if usage.uncounted:
        return {}
    tokens = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    return {"usage": tokens}


def about_verdict(verdict: Verdict, policy: Policy, record_id: str | None) -> dict[str, Json]:
    """The `guardrail` object of a body."""
    certificate, details = verdict.certificate, details_of(verdict, policy)
    about: dict[str, Json] = {
        "decision": verdict.action.value,
        "reason": verdict.reason.value,
        "harmful_answers": _harmful(verdict, details),
        "would_block": None if verdict.reason in _UNDECIDED else verdict.would_block,
        "policy": policy.name,
        "alpha": verdict.alpha,
        "unscanned": list(verdict.unscanned),
        "unmeasured": verdict.unmeasured,
        "outside_claim": verdict.outside_claim,
        "remembered": verdict.remembered,
        "override": verdict.override or None,
        "record_id": record_id,
    }
    if details != "none":
        about["samples"] = {
            "total": 0 if certificate is None else certificate.samples,
            "harmless": 0 if certificate is None else certificate.harmless,
        }
        about["models"] = list(verdict.models)
        about["calls"] = verdict.usage.calls
        about["cost_usd"] = None if verdict.cost_usd is None else _micros_up(verdict.cost_usd)
    if details == "full":
        about["harmless_rate_lower"] = (
            0.0 if certificate is None else certificate.harmless_rate_lower
        )
        about["certificate"] = None if certificate is None else encode_certificate(certificate)
        about["elapsed_ms"] = _ms(verdict.elapsed_s)
        about["overhead_ms"] = _ms(verdict.overhead_s)
    return about


def _would_block(verdict: Verdict) -> str:
    if verdict.reason in _UNDECIDED:
        return "unknown"
    return "true" if verdict.would_block else "false"


def _harmful(verdict: Verdict, details: BlockDetails) -> list[Json]:
    """Category and field of the harmful answers.

    Where no counts may be told it is the most frequent one, and only of a block for harm: how many
    kinds there are would be a count too.
    """
    if details != "none":
        return [asdict(one) for one in verdict.harmful]
    told = verdict.harmful[:1] if verdict.reason is Reason.HARMFUL else ()
    return [{"category": one.category, "field": one.field} for one in told]


def _headers(verdict: Verdict, policy: Policy, record_id: str | None) -> dict[str, str]:
    certificate, details = verdict.certificate, details_of(verdict, policy)
    values = {
        "decision": verdict.action.value,
        "reason": verdict.reason.value,
        "policy": policy.name,
        "mode": policy.mode.value,
        "unscanned": ", ".join(verdict.unscanned) or "none",
        "unmeasured": verdict.unmeasured or "none",
        "would-block": _would_block(verdict),
        "remembered": "true" if verdict.remembered else "false",
    }
    if record_id is not None:
        values["record-id"] = record_id
    if verdict.override:
        values["override"] = verdict.override
    if verdict.alpha is not None:
        values["alpha"] = repr(verdict.alpha)
    if details != "none":
        values["samples"] = str(0 if certificate is None else certificate.samples)
        if verdict.cost_usd is not None:
            values["cost-usd"] = f"{_micros_up(verdict.cost_usd):.6f}"
    if details == "full":
        radius, rate = (
            (0.0, 0.0)
            if certificate is None
            else (certificate.radius, certificate.harmless_rate_lower)
        )
        values["radius"], values["harmless-rate-lower"] = _round_down(radius), _round_down(rate)
        values["overhead-ms"] = f"{_ms(verdict.overhead_s):g}"
    return verdict_headers(values)


def verdict_headers(values: Mapping[str, str]) -> dict[str, str]:
    """Headers `x-guardrail-…` by what follows these words, fit for HTTP whatever the values are."""
    return {f"x-guardrail-{name}": _header_text(value) for name, value in values.items()}


def _round_down(value: float) -> str:
    """Four decimals, rounded down: what is shown is never more than what is certified."""
    return f"{math.floor(value * 1e4) / 1e4:.4f}"


def _micros_up(usd: float) -> float:
    """Six decimals, rounded up: what is shown is never less than what is owed."""
    return math.ceil(round(usd * 1e6, 3)) / 1e6


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 1)


def _header_text(value: str) -> str:
    """Printable ASCII; everything else percent-encoded, line breaks first of all."""
    if _PLAIN_HEADER.fullmatch(value):  # as nearly all are; `quote` takes ten times as long
        return value
    return quote(value, safe=_HEADER_SAFE, errors="replace")
