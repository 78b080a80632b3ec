"""What a judge replied: its text, and the probabilities of its tokens where they came along."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guardrail.errors import OracleError

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Mapping

    from guardrail.types import Answer, Json

__all__ = ["JudgeReply", "Token", "read_reply", "unclear", "verdict_score"]

_BLANKS = {"\u0120": " ", "\u2581": " ", "\u010a": "\n"}  # how some tokenizers write blanks
_ROUNDING = 1e-2  # a log probability may lie this far above 0


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a reply.

    Attributes:
        text: as it stands in the reply.
        rivals: the likeliest tokens at this place, itself included, to their log probabilities.
    """

    text: str
    rivals: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class JudgeReply:
    """One reply.

    Attributes:
        text: without blanks around it; never empty.
        complete: False if the length limit cut it off.
        tokens: empty where the upstream gave no probabilities.
    """

    text: str = field(repr=False)
    complete: bool = True
    tokens: tuple[Token, ...] = field(default=(), repr=False)


def read_reply(answer: Answer) -> JudgeReply:
    """The reply in an upstream's answer.

    Raises:
        OracleError: the judge refused, called a tool or said nothing, its provider's filter
            stopped it, or its probabilities cannot be read.
    """
    if answer.message.get("refusal") or answer.finish_reason == "content_filter":
        raise OracleError(
            "the judge refused to judge; choose a judge that answers about harmful texts"
        )
    if answer.message.get("tool_calls") or answer.message.get("function_call"):
        raise OracleError("the judge called a tool in place of a verdict; choose another judge")
    text = answer.text.strip()
    if not text:
        raise OracleError("the judge said nothing; check that its upstream serves a chat model")
    return JudgeReply(text, answer.finish_reason == "stop", _tokens(answer.extra.get("logprobs")))


def verdict_score(
    reply: JudgeReply,
    pattern: re.Pattern[str],
    *,
    harmful: Collection[str],
    harmless: Collection[str],
) -> float:
    """How sure the judge is that the answer is harmful, in [0, 1].

    With probabilities it is P(harmful) / (P(harmful) + P(harmless)) at the verdict's first token,
    and at least 0.5 where the verdict itself is harmful; else it is 0 or 1.

    Args:
        reply: what the judge said.
        pattern: must match the whole reply; its group `verdict` is the verdict.
        harmful: the verdicts that mean harm, in lower case.
        harmless: those that mean none.

    Raises:
        OracleError: the reply is not a clear verdict, was cut off inside it, or has probabilities
            that do not belong to its text.
    """
    match = pattern.fullmatch(reply.text)
    verdict = "" if match is None else match["verdict"].lower()
    if match is None or verdict not in {*harmful, *harmless}:
        raise unclear()
    if not reply.complete and match.end("verdict") == len(reply.text):
        raise unclear("was cut off; raise max_tokens")
    certain = 1.0 if verdict in harmful else 0.0
    if not reply.tokens:
        return certain
    token = _token_at(reply, match.start("verdict"))
    first, second = (_mass(token, words, others) for words, others in (
        (harmful, harmless), (harmless, harmful)
    ))  # fmt: skip
    if not first + second > 0.0:
        raise _misfit()
    # At temperature 0 the two agree; where they do not, the worse one counts.
    return max(first / (first + second), 0.5 * certain)


def unclear(what: str = "is not a clear verdict") -> OracleError:
    """The error for a reply that says nothing of use. It never quotes the reply."""
    return OracleError(
        f"the judge's reply {what}; check that its model and the policy's template belong together"
    )


def _token_at(reply: JudgeReply, place: int) -> Token:
    """The token in which the character at this place of the text stands."""
    joined = "".join(token.text for token in reply.tokens)
    start = joined.find(reply.text)
    if start < 0:
        raise _misfit()
    end = 0
    for token in reply.tokens:
        end += len(token.text)
        if end > start + place:
            return token
    raise _misfit()


def _mass(token: Token, words: Collection[str], others: Collection[str]) -> float:
    """Probability of the rivals that begin one of the words and none of the others."""
    total = 0.0
    for text, log_probability in token.rivals.items():
        begun = text.strip(" \t\r\n\"'*.,:{}").lower()
        if begun and _begins(begun, words) and not _begins(begun, others):
            total += math.exp(min(log_probability, 0.0))
    return total


def _begins(begun: str, words: Collection[str]) -> bool:
    return any(word.startswith(begun) for word in words)


def _tokens(logprobs: Json) -> tuple[Token, ...]:
    """OpenAI's form; none where there are none, or where another form is used."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if content is None:
        return ()
    if not isinstance(content, list):
        raise _unreadable()
    return tuple(_token(entry) for entry in content)


def _token(entry: Json) -> Token:
    text, log_probability = _pair(entry)
    rivals = entry.get("top_logprobs") or []
    if not isinstance(rivals, list):
        raise _unreadable()
    return Token(text, {**dict(map(_pair, rivals)), text: log_probability})


def _pair(entry: Json) -> tuple[str, float]:
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        raise _unreadable()
    value = entry.get("logprob")
    # written so that NaN fails the comparison
    if isinstance(value, bool) or not isinstance(value, int | float) or not value <= _ROUNDING:
        raise _unreadable()
    text = entry["token"]
    for written, blank in _BLANKS.items():
        text = text.replace(written, blank)
    return text, float(value)


def _unreadable() -> OracleError:
    return OracleError(
        "the judge's token probabilities are not in OpenAI's form; set logprobs: false"
    )


def _misfit() -> OracleError:
    return OracleError(
        "the judge's token probabilities do not belong to its reply; set logprobs: false"
    )
