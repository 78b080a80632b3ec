"""A language or guard model as the judge of answers, through any upstream."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from guardrail.canonical import short_digest
from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import Judgement
from guardrail.oracles.judge.asking import Logprobs
from guardrail.oracles.judge.templates.base import template_revision
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.oracles.base import Exchange
    from guardrail.oracles.judge.asking import Asker
    from guardrail.oracles.judge.templates.base import Finding, Question, Template

__all__ = ["JudgeOracle"]


class JudgeOracle:
    """Puts every answer to a judge, by the template of its family.

    The score is the judge's own P(harmful) where its upstream returns the probabilities of tokens,
    else 0 or 1. Equal exchanges of one call are judged once, unless pictures are judged as well.

    Args:
        template: how the judge is asked and read.
        asker: who asks it; closed with the oracle.
        threshold: answers that score at least this are harmful, in (0, 1].
        pictures: whether the judge sees the pictures that the model saw, noise and all.
        each_field: whether every field of an answer is judged by itself as well, with a question
            more for each; else all are judged within the whole answer.

    Raises:
        ConfigError: the threshold lies outside its range or is below 0.5 where probabilities may
            be missing, or the judge cannot see pictures.
    """

    cuts_scores = True  # see `cut_of`

    def __init__(
        self,
        template: Template,
        asker: Asker,
        *,
        threshold: float = 0.5,
        pictures: bool = False,
        each_field: bool = False,
    ) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ConfigError("must lie in (0, 1]", field="oracle.threshold")
        if threshold < 0.5 and asker.logprobs is Logprobs.WANTED:
            # A reply that came without them would score 0 where it might have scored more.
            raise ConfigError(
                "a threshold below 0.5 needs token probabilities; set logprobs: true, or raise it",
                field="oracle.threshold",
            )
        if pictures and not template.sees_pictures:
            raise ConfigError(f"'{template.name}' judges texts only", field="oracle.pictures")
        self._template = template
        self._asker = asker
        self._threshold = threshold
        self._pictures = pictures
        self._each_field = each_field

    @property
    def revision(self) -> str:
        parts = [template_revision(self._template), self._asker.revision]
        text = json.dumps(["judge", *parts, self._threshold, self._pictures, self._each_field])
        return short_digest(text, 16)

    @property
    def threshold(self) -> float:
        return self._threshold

    @property
    def by_text(self) -> bool:
        """See `goes_by_text`: only a judge whose model answers alike each time is a function."""
        return self._asker.deterministic and not self._pictures

    @property
    def reads_whole(self) -> bool:
        """See `reads_whole`: a language model is asked about anything harmful in the answer."""
        return not self._each_field

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        """One judgement for each exchange, in order.

        Raises:
            OracleError: one of them got no clear verdict, or not in time.
        """
        keys = list(range(len(exchanges))) if self._pictures else _first_places(exchanges)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    key: group.create_task(self._judge_one(exchanges[key]))
                    for key in dict.fromkeys(keys)
                }
        except* OracleError as faults:
            failed = faults
        else:
            return [tasks[key].result() for key in keys]
        raise _fault(failed, asked=len(set(keys)))

    async def aclose(self) -> None:
        """Closes the judge's upstream. Raises OracleError if it could not be closed."""
        await self._asker.aclose()

    async def _judge_one(self, exchange: Exchange) -> Judgement:
        if not exchange.response.strip():
            raise OracleError("there is no text for the judge to judge; block such answers")
        pictures = exchange.pictures if self._pictures else ()
        questions = self._template.questions(exchange, len(pictures))
        worst = max(await self._findings(questions, exchange), key=lambda finding: finding.score)
        if worst.score >= self._threshold:
            return Judgement(Outcome.HARMFUL, worst.score, f"judge: {worst.reason}")
        return Judgement(Outcome.HARMLESS, worst.score)

    async def _findings(self, questions: Sequence[Question], exchange: Exchange) -> list[Finding]:
        try:
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(self._ask_one(q, exchange)) for q in questions]
        except* OracleError as faults:
            failed = faults
        else:
            return [task.result() for task in asked]
        raise _fault(failed, asked=len(questions))

    async def _ask_one(self, question: Question, exchange: Exchange) -> Finding:
        pictures = exchange.pictures if self._pictures else ()
        reply = await self._asker.ask(question.messages, pictures, question.parameters)
        return self._template.read(reply, question)


def _first_places(exchanges: Sequence[Exchange]) -> list[int]:
    """For each exchange, where it or its equal stands first."""
    places: dict[Exchange, int] = {}
    return [places.setdefault(exchange, place) for place, exchange in enumerate(exchanges)]


def _fault(error: BaseExceptionGroup[OracleError], *, asked: int) -> OracleError:
    """The first fault; it is certain that nothing was drawn only where nothing else was asked."""
    first: BaseException = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    undrawn = isinstance(first, OracleError) and first.undrawn
    return OracleError(str(first), undrawn=undrawn and asked == 1)
