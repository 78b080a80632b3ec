"""Questions of an oracle to a model: deterministic settings, and strict reading of replies."""

from __future__ import annotations

import asyncio
import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from guardrail.canonical import short_digest
from guardrail.errors import GuardrailError, OracleError, UpstreamError
from guardrail.oracles.judge.fence import Fence
from guardrail.oracles.judge.reply import JudgeReply, read_reply, verdict_score
from guardrail.required_option import require_option
from guardrail.types import Chat
from guardrail.upstreams.base import is_deterministic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.types import Json, Pixels
    from guardrail.upstreams.base import Upstream

__all__ = ["YES_NO", "Asker", "Logprobs", "yes_no_question"]

YES_NO = re.compile(r"[*_\"'`]{0,3}(?P<verdict>yes|no)[*_\"'`]{0,3}\.?", re.IGNORECASE)
"""A clear yes or no: the word alone, as models write it."""

_RIVALS = 10  # likeliest tokens asked for at each place


class Logprobs(StrEnum):
    """Whether the probabilities of tokens are asked for."""

    OFF = "off"
    """They are not; some upstreams refuse such a question."""
    WANTED = "wanted"
    """They are, and a reply without them is good too."""
    REQUIRED = "required"
    """They are, and a reply without them is an error."""


class Asker:
    """Asks one model, closed with the oracle that owns it.

    Nothing is asked twice, and each question goes alone: whether a judgement is tried again is
    decided by the engine.

    Args:
        upstream: the model; the asker closes it.
        model: its name in the requests; upstreams that serve one model ignore it.
        max_tokens: most tokens of a reply.
        logprobs: see `Logprobs`.
        max_parallel: most questions in flight; further ones wait in order.
        deadline_s: longest that a question may take, waiting included.
        parameters: further fields of every request, as the model's server names them.
        deterministic: whether the model is known to reply alike to the same question, also where
            its upstream does not say so.

    Raises:
        ConfigError: an option lies outside its range.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        model: str = "",
        max_tokens: int = 16,
        logprobs: Logprobs = Logprobs.WANTED,
        max_parallel: int = 16,
        deadline_s: float = 30.0,
        parameters: Mapping[str, Json] | None = None,
        deterministic: bool = False,
    ) -> None:
        require_option(max_tokens >= 1, "oracle.max_tokens", "must be at least 1")
        require_option(max_parallel >= 1, "oracle.max_parallel", "must be at least 1")
        require_option(deadline_s > 0.0, "oracle.deadline_s", "must be more than 0")
        self._upstream = upstream
        self._model = model
        self._logprobs = logprobs
        self._parameters = {**(parameters or {}), **_settings(max_tokens, logprobs)}
        self._room = asyncio.Semaphore(max_parallel)
        self._deadline_s = deadline_s
        self._deterministic = deterministic

    @property
    def revision(self) -> str:
        """A digest of everything that fixes a reply, as far as the upstream knows it."""
        upstream = [self._upstream.name, self._upstream.revision, self._model]
        settings = [*upstream, self._parameters, self._logprobs.value]
        return short_digest(json.dumps(settings, sort_keys=True), 16)

    @property
    def logprobs(self) -> Logprobs:
        return self._logprobs

    @property
    def deterministic(self) -> bool:
        """Whether the model gives the same reply to the same question, bit for bit."""
        return self._deterministic or is_deterministic(self._upstream)

    async def ask(
        self,
        messages: Sequence[Mapping[str, Json]],
        pictures: Sequence[Pixels] = (),
        parameters: Mapping[str, Json] | None = None,
    ) -> JudgeReply:
        """The model's reply; the messages hold the placeholders of the pictures.

        Raises:
            OracleError: none came, it came too late, or it is a refusal.
        """
        asked = {**(parameters or {}), **self._parameters}
        chat = Chat(self._model, tuple(messages), asked, len(pictures))
        # Raised here, outside any `except`: an unknown exception may quote the question.
        result = await self._exchange(chat, pictures)
        if isinstance(result, OracleError):
            raise result
        if self._logprobs is Logprobs.REQUIRED and not result.tokens:
            raise OracleError(
                "the judge's upstream returns no token probabilities; set logprobs: false"
            )
        return result

    async def yes_no(self, question: str, texts: Mapping[str, str]) -> float:
        """How sure the model is of a yes, in [0, 1]; without probabilities it is 0 or 1.

        Args:
            question: a question about the texts, to be answered by yes or no.
            texts: name, in a few plain words, to an untrusted text.

        Raises:
            OracleError: no clear yes or no was had.
        """
        reply = await self.ask(yes_no_question(question, texts))
        return verdict_score(reply, YES_NO, harmful={"yes"}, harmless={"no"})

    async def aclose(self) -> None:
        """Closes the upstream. Raises OracleError if it could not be closed."""
        try:
            await self._upstream.aclose()
        except GuardrailError as error:
            raise OracleError(f"the judge's upstream could not be closed: {error}") from error

    async def _exchange(self, chat: Chat, pictures: Sequence[Pixels]) -> JudgeReply | OracleError:
        try:
            async with asyncio.timeout(self._deadline_s), self._room:
                answer = await self._upstream.complete(chat, pictures, seed=0)
                if answer.cached:
                    return OracleError(
                        "the judge's reply came out of a cache and is not a fresh judgement; "
                        "turn the cache of answers off at its upstream"
                    )
                return read_reply(answer)
        except TimeoutError:
            return OracleError(
                f"the judge did not answer within {self._deadline_s:g} s; raise deadline_s or "
                "lower the load"
            )
        except OracleError as error:
            return OracleError(str(error))
        except GuardrailError as error:  # these never quote
            undrawn = isinstance(error, UpstreamError) and error.undrawn
            return OracleError(f"the judge failed: {error}", undrawn=undrawn)
        except Exception as error:  # noqa: BLE001 - whatever an upstream raises, nothing was judged
            return OracleError(f"the judge failed ({type(error).__name__}); check its upstream")


def yes_no_question(question: str, texts: Mapping[str, str]) -> tuple[dict[str, Json], ...]:
    """The messages of a question about fenced texts, with the question before and after them."""
    fence = Fence(texts)
    order = f"{question}\nAnswer with one word, Yes or No, and nothing else."
    system = f"{order}\n\n{fence.rule}"
    user = f"{fence}\n\nThe texts end here. {fence.rule}\n\n{order}"
    return {"role": "system", "content": system}, {"role": "user", "content": user}


def _settings(max_tokens: int, logprobs: Logprobs) -> dict[str, Json]:
    greedy = {"temperature": 0, "max_tokens": max_tokens}
    if logprobs is Logprobs.OFF:
        return greedy
    return {**greedy, "logprobs": True, "top_logprobs": _RIVALS}
