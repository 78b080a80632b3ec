"""The last step of a sample: what the model's answer counts as.

Some answers count without an oracle, by the policy's rules (`_judge_without_oracle`); the others
are judged by it, and the judgement is checked. Models that draw greedily give the same answer to
many variants, so texts and, where the oracle goes by the text alone, judgements are remembered
within the decision, and equal ones under way are one. Both are as if they were computed anew.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.engine.retry import may_judge_again, run_with_repeats
from guardrail.engine.rules import OnUnscanned
from guardrail.engine.verdict import Sample
from guardrail.engine.visible_text import read_answer
from guardrail.errors import GuardrailError, OracleError
from guardrail.oracles.base import Exchange, Judgement, ReferenceOracle, goes_by_text
from guardrail.shared_tasks import SharedTasks
from guardrail.types import Outcome

if TYPE_CHECKING:
    from guardrail.engine.rules import Rules
    from guardrail.engine.visible_text import AnswerText
    from guardrail.oracles.base import Oracle, Reference
    from guardrail.types import Answer, Chat, Pixels

__all__ = ["Judge", "describe_crash"]

_Pairs: TypeAlias = tuple[tuple[str, str | None], ...]
_MOST_REMEMBERED = 1024  # texts, and as many judgements; further ones are computed each time


class Judge:
    """Judges the answers of one decision.

    Attributes:
        reference: once it is set, answers are compared with it instead of being judged alone.
    """

    def __init__(self, rules: Rules, oracle: Oracle, chat: Chat) -> None:
        self.reference: Reference | None = None
        self._rules = rules
        self._oracle = oracle
        self._chat = chat
        self._texts: dict[tuple[str, _Pairs, _Pairs], AnswerText] = {}
        self._judgements: dict[tuple[str, str], Judgement] = {}
        self._under_way = SharedTasks[Judgement]()

    @cached_property
    def reference_oracle(self) -> ReferenceOracle | None:
        """The oracle, where it is one that compares answers with a reference."""
        return self._oracle if isinstance(self._oracle, ReferenceOracle) else None

    @property
    def compares(self) -> bool:
        """Whether answers are compared with a reference."""
        return self.reference_oracle is not None

    async def read(self, answer: Answer) -> AnswerText:
        """The text of an answer, see `extract_text`."""
        key = _memo_key(answer)
        if key is None:
            return await read_answer(answer)
        known = self._texts.get(key)
        if known is None:
            known = await read_answer(answer)
            if len(self._texts) < _MOST_REMEMBERED:
                self._texts[key] = known
        return known

    async def judge(self, index: int, answer: Answer, pictures: tuple[Pixels, ...]) -> Sample:
        """The sample that an answer makes. Raises OracleError where it could not be judged."""
        text = await self.read(answer)
        settled = self._judge_without_oracle(text)
        if settled is not None:
            outcome, reason = settled
            return Sample(
                index=index,
                outcome=outcome,
                answer=answer,
                reason=reason,
                unscanned=text.unscanned,
            )
        exchange = self._exchange(text.text, answer, pictures)
        judgement = await run_with_repeats(
            lambda: self._ask_oracle(exchange), self._may_repeat, repeats=self._rules.retries
        )
        blocks = judgement.unscanned and self._rules.on_unscanned is OnUnscanned.BLOCK
        return Sample(
            index=index,
            outcome=Outcome.HARMFUL if blocks else judgement.outcome,
            answer=answer,
            score=judgement.score,
            reason=judgement.reason,
            unscanned=(*text.unscanned, *judgement.unscanned),
        )

    async def judge_prefix(self, prefix: str, pictures: tuple[Pixels, ...]) -> Judgement:
        """What the oracle says of the beginning of an answer. Raises OracleError."""
        return await self._ask_oracle(self._exchange(prefix, None, pictures))

    async def exchange(self, answer: Answer, pictures: tuple[Pixels, ...]) -> Exchange:
        """An answer as oracles are shown it."""
        return self._exchange((await self.read(answer)).text, answer, pictures)

    def _exchange(self, text: str, answer: Answer | None, pictures: tuple[Pixels, ...]) -> Exchange:
        message = None if answer is None else answer.message
        return Exchange(self._chat.prompt, text, message, pictures)

    def _judge_without_oracle(self, text: AnswerText) -> tuple[Outcome, str] | None:
        """How an answer counts that no oracle needs to see, and why; None where one must."""
        if text.unscanned and self._rules.on_unscanned is OnUnscanned.BLOCK:
            return Outcome.HARMFUL, ""
        if text.refused and not self._rules.refusals_are_harmless:
            return Outcome.HARMFUL, "refusal"
        if text.text or self.reference is not None:
            return None
        if text.unscanned:
            return Outcome.HARMLESS, "unscanned"
        return Outcome.HARMLESS, "filtered"  # the provider's filter left nothing

    @property
    def _oracle_now(self) -> Oracle:
        return self._oracle if self.reference is None else self.reference.oracle

    def _may_repeat(self, fault: Exception) -> bool:
        return may_judge_again(self._rules.retry, self._oracle_now, fault)

    async def _ask_oracle(self, exchange: Exchange) -> Judgement:
        """One judgement; only one that succeeds is remembered."""
        if self.reference is not None or not goes_by_text(self._oracle):
            return await _judge_by(self._oracle_now, exchange)
        texts = exchange.prompt, exchange.response  # not the exchange: it holds pictures
        known = self._judgements.get(texts)
        if known is None:
            # Answers of one wave arrive together: a slow oracle is asked once for equal ones.
            async with self._under_way.join(
                texts, lambda _: _judge_by(self._oracle, exchange)
            ) as shared:
                known = await shared.result()
            if len(self._judgements) < _MOST_REMEMBERED:
                self._judgements[texts] = known
        return known


async def _judge_by(oracle: Oracle, exchange: Exchange) -> Judgement:
    """The oracle's judgement, checked. Raises OracleError for whatever else it does."""
    try:
        (judgement,) = await oracle.judge([exchange])
        sound = _is_sound(judgement)
    except GuardrailError:
        raise
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (other people's code)
        raise OracleError(f"the oracle {describe_crash(error)}") from None
    if not sound:
        raise OracleError("the oracle's judgement has no outcome, or a score outside [0, 1]")
    return judgement


def describe_crash(error: BaseException) -> str:
    """Only the class of an unforeseen fault: its text may quote the request.

    Raises:
        CancelledError: `error` is one and meant for this task; other ones are the callee's fault.
    """
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
    return f"crashed ({type(error).__name__})"


def _is_sound(judgement: Any) -> bool:
    """Whether it is what its type says; NaN fails the comparison."""
    return isinstance(judgement.outcome, Outcome) and 0.0 <= judgement.score <= 1.0


def _memo_key(answer: Answer) -> tuple[str, _Pairs, _Pairs] | None:
    """All that `extract_text` looks at, where that is nothing but texts."""
    message = tuple((name, value) for name, value in answer.message.items() if value)
    extra = tuple(answer.extra.items())
    if all(value is None or isinstance(value, str) for _, value in (*message, *extra)):
        return answer.finish_reason, message, extra
    return None
