"""The last step of a sample: what the model's answer counts as.

Some answers count without an oracle, by the policy's rules (`_judge_without_oracle`); the others
are judged by it, and the judgements are checked. Every field is judged by itself and so is the
whole answer; the worst judgement is the answer's. Models that draw greedily give the same answer to
many variants, so texts and, where the oracle goes by the text alone, judgements are remembered
within the decision, and equal ones under way are one. Both are as if they were computed anew.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.causes import chain_cause
from guardrail.engine.observer import current_observer
from guardrail.engine.retry import may_judge_again, run_with_repeats
from guardrail.engine.rules import OnUnscanned
from guardrail.engine.verdict import Sample
from guardrail.engine.visible_text import AnswerText, FieldText, read_answer
from guardrail.errors import GuardrailError, OracleError
from guardrail.oracles.base import (
    Exchange,
    Judgement,
    ReferenceOracle,
    goes_by_text,
    reads_whole,
)
from guardrail.shared_tasks import SharedTasks
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.rules import JudgingRules
    from guardrail.oracles.base import Oracle, Reference
    from guardrail.types import Answer, Chat, Pixels

__all__ = ["Judge", "describe_crash"]

_Pairs: TypeAlias = tuple[tuple[str, str | None], ...]
_MOST_REMEMBERED = 1024  # texts, and as many judgements; further ones are computed each time
_WHOLE, _BEGINNING = "whole answer", "beginning of the answer"
_RANK = {
    Outcome.HARMLESS: 0,
    Outcome.MISSING: 1,
    Outcome.OTHER_MEANING: 2,
    Outcome.OTHER_ACTION: 2,
    Outcome.HARMFUL: 3,
}


class Judge:
    """Judges the answers of one decision.

    Args:
        rules: of the policy.
        oracle: judges.
        chat: what was answered.
        shares: whether one judgement serves for all equal texts. Of one answer alone there is
            nothing to share, and a task less.

    Attributes:
        reference: once it is set, answers are compared with it instead of being judged alone.
    """

    def __init__(
        self, rules: JudgingRules, oracle: Oracle, chat: Chat, *, shares: bool = True
    ) -> None:
        self.reference: Reference | None = None
        self._rules = rules
        self._oracle = oracle
        self._chat = chat
        self._shares = shares
        self._texts: dict[tuple[str, _Pairs, _Pairs], AnswerText] = {}
        self._last_read: tuple[Answer | None, AnswerText] = (None, AnswerText("", (), (), False))
        self._judgements: dict[tuple[int, str, str], Judgement] = {}
        self._under_way = SharedTasks[list[Judgement]]()

    @cached_property
    def reference_oracle(self) -> ReferenceOracle | None:
        """The oracle, where it is one that compares answers with a reference."""
        if not hasattr(self._oracle, "n0"):  # quicker than the look at all its parts
            return None
        return self._oracle if isinstance(self._oracle, ReferenceOracle) else None

    @property
    def compares(self) -> bool:
        """Whether answers are compared with a reference."""
        return self.reference_oracle is not None

    async def read(self, answer: Answer) -> AnswerText:
        """The text of an answer, see `extract_text`."""
        last, known = self._last_read
        if answer is last:  # it is read when it comes, and judged then
            return known
        key = _memo_key(answer)
        found = None if key is None else self._texts.get(key)
        if found is None:
            found = await read_answer(answer)
            if key is not None and len(self._texts) < _MOST_REMEMBERED:
                self._texts[key] = found
        self._last_read = (answer, found)
        return found

    async def judge(
        self,
        index: int,
        answer: Answer,
        pictures: tuple[Pixels, ...],
        *,
        started: float | None = None,
    ) -> Sample:
        """The sample that an answer makes. Raises OracleError where it could not be judged.

        Args:
            index: of the sample in its decision.
            answer: the model's.
            pictures: the model saw these.
            started: when it was asked for, by `time.monotonic`; None says nothing of its time.
        """
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
                refused=text.refused,
                withheld=outcome is Outcome.HARMFUL,
                elapsed_s=_elapsed_s(started),
            )
        fields = self._select_fields(text)
        judgement, field = await self._judge_fields(fields, answer, pictures)
        blocks = bool(judgement.unscanned) and self._rules.on_unscanned is OnUnscanned.BLOCK
        return Sample(
            index=index,
            outcome=Outcome.HARMFUL if blocks else judgement.outcome,
            answer=answer,
            score=judgement.score,
            reason=judgement.reason,
            field=field,
            unscanned=(*text.unscanned, *judgement.unscanned),
            unmeasured=judgement.unmeasured,
            refused=text.refused,
            withheld=blocks or judgement.withheld,
            elapsed_s=_elapsed_s(started),
        )

    async def judge_prefix(self, prefix: str, pictures: tuple[Pixels, ...]) -> Judgement:
        """What the oracle says of the beginning of an answer. Raises OracleError."""
        exchange = self._exchange(prefix, None, pictures)
        (judgement,) = await self._ask_once(self._oracle, [exchange])
        return dataclasses.replace(judgement, field=_BEGINNING)

    async def exchange(self, answer: Answer, pictures: tuple[Pixels, ...]) -> Exchange:
        """An answer as oracles are shown it."""
        return self._exchange((await self.read(answer)).text, answer, pictures)

    def _select_fields(self, text: AnswerText) -> list[FieldText]:
        """What is judged by itself, the whole answer last; one text where both are the same.

        Fields whose lines stand in the whole word for word are judged within it by an oracle that
        reads long texts without dilution.
        """
        if len(text.fields) == 1 and text.fields[0].text == text.text:
            return [text.fields[0]]
        oracle = self._field_oracle
        only_whole = oracle is not None and reads_whole(oracle)
        fields = [
            field
            for field in (() if oracle is None else text.fields)
            if field.text != text.text
            and not (only_whole and all(line in text.text for line in field.text.splitlines()))
        ]
        whole = next((field.name for field in text.fields if field.text == text.text), _WHOLE)
        return [*fields, FieldText(whole, text.text)]

    @property
    def _field_oracle(self) -> Oracle | None:
        """What judges fields by themselves: of a comparison, the oracle of harm beside it.

        What is compared with a reference is the whole answer.
        """
        compares = self.compares or self.reference is not None
        return getattr(self._oracle, "harm", None) if compares else self._oracle

    async def _judge_fields(
        self, fields: Sequence[FieldText], answer: Answer, pictures: tuple[Pixels, ...]
    ) -> tuple[Judgement, str]:
        """The worst judgement and its field; only the whole is shown with its message."""
        *parts, whole = (field.text for field in fields)
        exchanges = [self._exchange(part, None, pictures) for part in parts]
        exchanges.append(self._exchange(whole, answer, pictures))
        oracle = self._field_oracle
        if oracle is self._oracle:
            return _find_worst(fields, await self._ask(oracle, exchanges))
        (compared,) = await self._ask(self._oracle_now, exchanges[-1:])
        if oracle is None or not parts or compared.outcome is not Outcome.HARMLESS:
            return compared, fields[-1].name
        return _find_worst(fields, [*await self._ask(oracle, exchanges[:-1]), compared])

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

    async def _ask(self, oracle: Oracle, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each text, asked for again as the rules say. Raises OracleError."""
        return await run_with_repeats(
            lambda: self._ask_once(oracle, exchanges),
            lambda fault: may_judge_again(self._rules.retry, oracle, fault),
            repeats=self._rules.retries,
        )

    async def _ask_once(self, oracle: Oracle, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each text, in one call; only those that succeed are remembered."""
        if not (self._shares and goes_by_text(oracle)):
            return await _judge_by(oracle, exchanges)
        known = self._judgements
        # not by exchange: that holds pictures
        keys = [(id(oracle), each.prompt, each.response) for each in exchanges]
        new = [place for place, key in enumerate(keys) if key not in known]
        new_keys = tuple(keys[place] for place in new)
        asked: list[Judgement] = []
        if new:
            # Answers of one wave arrive together: a slow oracle is asked once for equal ones.
            async with self._under_way.join(
                new_keys, lambda _: _judge_by(oracle, [exchanges[place] for place in new])
            ) as shared:
                asked = await shared.result()
        found = dict(zip(new_keys, asked, strict=True))
        for key in found:
            if len(known) < _MOST_REMEMBERED:
                known[key] = found[key]
        return [found.get(key) or known[key] for key in keys]


def _elapsed_s(started: float | None) -> float:
    return 0.0 if started is None else time.monotonic() - started


def _find_worst(
    fields: Sequence[FieldText], judgements: Sequence[Judgement]
) -> tuple[Judgement, str]:
    """Harmful before missing before harmless, then by score; of equals the first by name.

    Harm comes before a language that was not measured. Beside it stands its field; it names all
    that could not be looked into in any field, whether any was withheld, and whether the language
    of any was unmeasured: of a harmful answer only where there was no other reason.
    """
    if len(judgements) == 1:
        return judgements[0], fields[0].name
    ranks = [_rank(judgement) for judgement in judgements]
    equal = [place for place, rank in enumerate(ranks) if rank == max(ranks)]
    # Not by place: clients and gateways reorder the members of a message.
    place = min(equal, key=lambda place: fields[place].name)
    worst = judgements[place]
    unscanned = dict.fromkeys(part for judgement in judgements for part in judgement.unscanned)
    if worst.outcome is Outcome.HARMFUL:
        unmeasured = worst.unmeasured
    else:
        unmeasured = next((said.unmeasured for said in judgements if said.unmeasured), "")
    summed_up = dataclasses.replace(
        worst,
        unscanned=tuple(unscanned),
        unmeasured=unmeasured,
        withheld=any(judgement.withheld for judgement in judgements),
    )
    return summed_up, fields[place].name


def _rank(said: Judgement) -> tuple[int, bool, float]:
    return _RANK[said.outcome], not said.unmeasured, said.score


async def _judge_by(oracle: Oracle, exchanges: Sequence[Exchange]) -> list[Judgement]:
    """The oracle's judgements, checked. Raises OracleError for whatever else it does."""
    try:
        with current_observer().observe_judging(len(exchanges)):
            judgements = list(await oracle.judge(exchanges))
        sound = len(judgements) == len(exchanges) and all(map(_is_sound, judgements))
    except GuardrailError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        fault = OracleError(f"the oracle {describe_crash(error)}")
        chain_cause(fault, error)
        raise fault from error
    if not sound:
        raise OracleError(
            f"the oracle gave not one judgement for each of {len(exchanges)} texts with an outcome "
            "and a score in [0, 1]"
        )
    return judgements


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
