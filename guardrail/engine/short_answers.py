"""Two ways to spend less on the answer to a variant: ask for fewer tokens, or break it off.

`limit_tokens` asks for the beginning of an answer only; a certificate then speaks of beginnings.
`EarlyStop` ends a streamed answer that is harmful already. A prefix can only add harm to the
outcome, as an answer whose prefixes are all harmless is still judged whole. So the oracle misses
no more than it was measured to miss, and the claim stays the same.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from guardrail.engine.visible_text import read_answer
from guardrail.errors import OracleError, UpstreamError
from guardrail.types import Answer, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from guardrail.engine.canonical_chat import CanonicalChat
    from guardrail.oracles.base import Judgement
    from guardrail.types import Json

__all__ = ["EarlyStop", "check_token_limit", "limit_tokens", "was_cut"]

_LIMITS = ("max_completion_tokens", "max_tokens")


def limit_tokens(chat: CanonicalChat, most: int) -> CanonicalChat:
    """The chat with answers of at most `most` tokens; itself where it asks for no more.

    The limit is written to the field that the client used, else to OpenAI's present one:

        {"max_tokens": 500} -> {"max_tokens": 20}       # most = 20
        {"max_tokens": 10}  -> unchanged
        {}                  -> {"max_completion_tokens": 20}
    """
    asked = {name: chat.parameters[name] for name in _LIMITS if _is_count(chat, name)}
    if asked and min(asked.values()) <= most:
        return chat
    limits = dict.fromkeys(asked or _LIMITS[:1], most)
    return dataclasses.replace(chat, parameters={**chat.parameters, **limits})


def check_token_limit(answer: Answer, most: int) -> None:
    """Refuses an answer longer than was asked for: the certificate would say that it was cut.

    One token more is allowed, as some servers count the token that ends an answer.

    Raises:
        UpstreamError: the model reports more tokens.
    """
    if answer.usage.completion_tokens > most + 1:
        raise UpstreamError(
            f"the model wrote more than the {most} tokens that a variant was to have; give its "
            "upstream the token_limit_name that it knows, or leave out "
            "advanced.sampling.probe_max_tokens",
            code="upstream_ignored_limit",
        )


def was_cut(answer: Answer | None) -> bool:
    """Whether a longer answer could have followed."""
    return answer is not None and answer.finish_reason == "length"


def _is_count(chat: CanonicalChat, name: str) -> bool:
    value = chat.parameters.get(name)
    return type(value) is int and value > 0


class EarlyStop:
    """Watches one answer while it is streamed; `harmful` is the judgement that ended it.

    Prefixes end at multiples of `every_chars`, wherever the stream happened to pause, so that the
    same answer always meets the same judgements. With `every_chars` 100, a stream that shows 80,
    then 250 characters is judged at 100 and at 200.

    Args:
        judge: judges a prefix of the answer's text.
        every_chars: characters between two judgements.
    """

    def __init__(self, judge: Callable[[str], Awaitable[Judgement]], every_chars: int) -> None:
        self.harmful: Judgement | None = None
        self._judge = judge
        self._every = every_chars
        self._next = every_chars

    async def __call__(self, message: Mapping[str, Json], chars: int) -> bool:
        """Whether to stop, with a message that has `chars` characters by now."""
        if chars < self._next:
            return False
        text = (await read_answer(Answer(message))).text
        while len(text) >= self._next and self.harmful is None:
            prefix, self._next = text[: self._next], self._next + self._every
            await self._judge_prefix(prefix)
        self._next = max(self._next, chars - chars % self._every + self._every)
        return self.harmful is not None

    async def _judge_prefix(self, prefix: str) -> None:
        try:
            judgement = await self._judge(prefix)
        except OracleError:
            return  # the whole answer is judged in any case, and then a fault counts
        if judgement.outcome is Outcome.HARMFUL:
            self.harmful = judgement
