"""A model behind its upstream: reached, let in, and as the policy and the file take it to be.

Every question is short, and is asked as a decision asks: through the upstream of the file with its
key, its map of names and its limits. What the model says is compared and thrown away.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from guardrail.assembly import open_entry
from guardrail.doctor.clock import examine_clock
from guardrail.doctor.finding import Finding, error, ok, skip_check, warning
from guardrail.errors import GuardrailError, UpstreamError
from guardrail.policy.threats import compile_threats
from guardrail.types import Chat, picture_chat
from guardrail.upstreams.base import StreamingUpstream, undrawn_statuses
from guardrail.upstreams.limited import LimitedUpstream
from guardrail.upstreams.undrawn import TOO_MANY_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from guardrail.policy.schema import Policy
    from guardrail.policy.upstreams import UpstreamEntry
    from guardrail.types import Answer, Json, Pixels
    from guardrail.upstreams.base import Upstream

__all__ = ["examine_upstream"]

_OPENAI = "openai_compatible:"
_CALL_S = 60.0
_SHOWN_MODELS = 5
_LIMIT_TOKENS = 16
_MOST_WORDS = 2 * _LIMIT_TOKENS  # a token of an English text is hardly ever more than a word
_DIGITS = "Write twenty random digits and nothing else."
_COUNT = "Count from one to sixty in words, in one line."
_COLOUR = "Which colour is this picture? Answer in one word."
_RED = (220, 20, 20)
_SEED, _OTHER_SEED = 0x2A6D365B7F4A7C15, 0x53C5A1D7E19B0F37


async def examine_upstream(
    entry: UpstreamEntry, policy: Policy, *, model: str | None = None, calls: bool = True
) -> list[Finding]:
    """All that can be found out about one upstream, by seven short calls.

    Args:
        entry: of the file of upstreams.
        policy: says how pictures are sent.
        model: whom to ask; the first one that the upstream lists where it is None.
        calls: whether the model is asked at all.
    """
    check = f"upstream {entry.upstream}"
    try:
        opened = open_entry(entry, policy, alone=True)
    except GuardrailError as fault:
        return [error(check, str(fault))]
    try:
        threats = compile_threats(policy.threats)
        temperature = None if threats is None else threats.temperature
        return await _Examination(check, entry, opened, temperature).run(model, calls=calls)
    finally:
        await opened.aclose()


class _Examination:
    """One upstream and what was found about it so far."""

    def __init__(
        self, check: str, entry: UpstreamEntry, opened: Upstream, temperature: float | None
    ) -> None:
        self._check = check
        self._entry = entry
        self._temperature = temperature
        # Without the limiter: its breaker would answer for a model that failed twice.
        self._upstream = opened.upstream if isinstance(opened, LimitedUpstream) else opened
        self._model = ""

    async def run(self, model: str | None, *, calls: bool) -> list[Finding]:
        findings: list[Finding] = []
        if self._entry.upstream.startswith(_OPENAI):
            base_url = self._entry.upstream.removeprefix(_OPENAI).partition("?")[0]
            findings.append(await examine_clock(base_url))
        listed, names = await self._list_models(model)
        findings.append(listed)
        if not self._entry.is_local:
            findings.append(self._tell_repeats())
        self._model = model or next(iter(names), "")
        if not self._model:
            return [
                *findings,
                skip_check(self._check, "no model's name is known; give one by --model"),
            ]
        if not calls:
            return [*findings, skip_check(self._check, "the model was not asked (--no-calls)")]
        first = await self._guard("answers", self._ask_first)
        findings += first
        if any(finding.level == "error" for finding in first):
            return findings
        for name, look in self._looks().items():
            findings += await self._guard(name, look)
        return findings

    def _looks(self) -> dict[str, Callable[[], Awaitable[Sequence[Finding]]]]:
        looks: dict[str, Callable[[], Awaitable[Sequence[Finding]]]] = {
            "draws": self._compare_draws,
            "pictures": self._show_picture,
        }
        if self._entry.is_local:
            return looks
        if self._entry.seeds:
            looks["seeds"] = self._compare_seeds
        if self._temperature is not None:
            looks["temperature"] = self._cool
        return {**looks, "token limit": self._limit_tokens, "streams": self._stream}

    async def _guard(
        self, name: str, look: Callable[[], Awaitable[Sequence[Finding]]]
    ) -> Sequence[Finding]:
        """What a look finds; its fault is a finding too."""
        check = f"{self._check}: {name}"
        try:
            async with asyncio.timeout(_CALL_S):
                return await look()
        except TimeoutError:
            return [error(check, f"no answer within {_CALL_S:g} s", "see the upstream's own log")]
        except GuardrailError as fault:
            return [error(check, str(fault))]

    async def _list_models(self, wished: str | None) -> tuple[Finding, Sequence[str]]:
        check = f"{self._check}: models"
        try:
            async with asyncio.timeout(_CALL_S):
                names = await self._upstream.models()
        except TimeoutError:
            return error(
                check, f"no list within {_CALL_S:g} s; /readyz says 503", "see its log"
            ), ()
        except GuardrailError as fault:
            return error(check, f"{fault}; /readyz says 503"), ()
        if not names:
            return warning(check, "it lists none", "load a model, or give one by --model"), ()
        if wished is not None and wished not in names:
            remedy = "check the spelling, or map the name in the file of upstreams"
            return warning(check, f"'{wished}' is not among the {len(names)} listed", remedy), names
        more = f" and {len(names) - _SHOWN_MODELS} more" if len(names) > _SHOWN_MODELS else ""
        return ok(check, f"lists {', '.join(names[:_SHOWN_MODELS])}{more}"), names

    def _tell_repeats(self) -> Finding:
        check = f"{self._check}: direct"
        if TOO_MANY_REQUESTS in undrawn_statuses(self._upstream):
            return ok(check, "a 429 stands for no answer, and its call is made again")
        told = "it is not known whether a gateway stands between, so a 429 ends the decision"
        if self._entry.direct is False:
            return ok(check, "said not to be: a 429 ends the decision")
        return warning(
            check, told, "say 'direct: true' or 'direct: false' in the file of upstreams"
        )

    async def _ask(
        self,
        text: str,
        *,
        seed: int = _SEED,
        parameters: Mapping[str, Json] | None = None,
        pictures: Sequence[Pixels] = (),
    ) -> Answer:
        return await self._upstream.complete(
            self._chat(text, parameters, len(pictures)), pictures, seed=seed
        )

    def _chat(
        self, text: str, parameters: Mapping[str, Json] | None = None, pictures: int = 0
    ) -> Chat:
        if pictures:
            return picture_chat(self._model, text, dict(parameters or {}), pictures=pictures)
        return Chat(self._model, ({"role": "user", "content": text},), dict(parameters or {}))

    async def _ask_first(self) -> Sequence[Finding]:
        self._first = await self._ask(_DIGITS)
        check = f"{self._check}: answers"
        return [ok(check, f"'{self._model}' answers, and the key is taken")]

    async def _compare_draws(self) -> Sequence[Finding]:
        """Whether two calls for one text are two draws."""
        check = f"{self._check}: draws"
        second = await self._ask(_DIGITS, seed=_OTHER_SEED)
        if self._first.cached or second.cached:
            remedy = "switch the cache of answers off: what it answers counts as missing"
            return [error(check, "an answer came out of a cache", remedy)]
        if self._first.text == second.text:
            remedy = (
                "look for a cache of answers, a fixed seed or a temperature of 0 in front of the "
                "model: without chance in its answers nothing is lost, a cache must go"
            )
            told = "two answers to one question were equal, word for word"
            return [warning(check, told, remedy)]
        return [ok(check, "two answers to one question differ, and none says that it was cached")]

    async def _compare_seeds(self) -> Sequence[Finding]:
        check = f"{self._check}: seeds"
        again = await self._ask(_DIGITS)
        if again.text == self._first.text:
            return [ok(check, "the same seed gives the same answer")]
        remedy = "say 'seeds: false': decisions then do without, and replay does not rest on it"
        return [warning(check, "the same seed gave another answer", remedy)]

    async def _cool(self) -> Sequence[Finding]:
        """Whether the model takes the temperature at which views are asked."""
        check = f"{self._check}: temperature"
        try:
            await self._ask(_DIGITS, parameters={"temperature": self._temperature})
        except UpstreamError as fault:
            remedy = "if it takes none, write 'threats: {temperature: null}' into the policy"
            told = f"asked at temperature {self._temperature:g}, as views are: {fault}"
            return [error(check, told, remedy)]
        return [ok(check, f"it takes temperature {self._temperature:g}, as views are asked")]

    async def _limit_tokens(self) -> Sequence[Finding]:
        check = f"{self._check}: token limit"
        named = self._entry.token_limit_name or "max_completion_tokens"
        try:
            answer = await self._ask(_COUNT, parameters={"max_completion_tokens": _LIMIT_TOKENS})
        except UpstreamError as fault:
            if fault.in_answer:  # all tokens went into reasoning, and the limit held
                return [ok(check, f"{named} holds; nothing but reasoning came within it")]
            raise
        if len(answer.text.split()) <= _MOST_WORDS:
            return [ok(check, f"{named} holds")]
        other = "max_tokens" if named != "max_tokens" else "max_completion_tokens"
        remedy = f"say 'token_limit_name: {other}' in the file of upstreams"
        return [error(check, f"{named} is ignored", remedy)]

    async def _stream(self) -> Sequence[Finding]:
        check = f"{self._check}: streams"
        if not isinstance(self._upstream, StreamingUpstream):
            return [skip_check(check, "it is not asked to stream")]
        looks = 0

        async def watch(_message: Mapping[str, Json], _chars: int) -> bool:
            nonlocal looks
            looks += 1
            return looks >= 3  # enough is seen

        await self._upstream.complete_watched(self._chat(_COUNT), (), seed=_SEED, watch=watch)
        if looks > 1:
            return [ok(check, "answers come in pieces")]
        remedy = "leave 'advanced.sampling.judge_every_chars' out: it saves nothing here"
        return [warning(check, "an answer came in one piece", remedy)]

    async def _show_picture(self) -> Sequence[Finding]:
        check = f"{self._check}: pictures"
        picture = np.full((64, 64, 3), _RED, dtype=np.uint8)
        answer = await self._ask(_COLOUR, pictures=(picture,))
        if "red" in answer.text.lower():
            return [ok(check, "a red picture is called red")]
        remedy = (
            "see whether this model takes pictures at all: one that drops them in silence answers "
            "without having looked"
        )
        return [warning(check, "a red picture is not called red", remedy)]
