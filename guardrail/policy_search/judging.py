"""Judges the answers that were drawn by another oracle, once each; no call is made."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from guardrail.engine.canonical_chat import canonical_chat
from guardrail.engine.judge import Judge
from guardrail.engine.verdict import Sample
from guardrail.errors import OracleError
from guardrail.oracles.base import cut_of
from guardrail.policy_search.drawing import arrange_draws, count_sample
from guardrail.policy_search.draws import Counted
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guardrail.engine.rules import Rules
    from guardrail.oracles.base import Oracle
    from guardrail.policy_search.drawing import DrawLog, LabelledRequest
    from guardrail.policy_search.draws import LabelledDraws
    from guardrail.types import Answer

__all__ = ["judge_again"]


async def judge_again(
    rules: Rules,
    oracle: Oracle,
    requests: Sequence[LabelledRequest],
    model: str,
    draws: int,
    drawn: DrawLog,
    log: DrawLog,
    step: Callable[[], None],
) -> LabelledDraws:
    """The same draws as another oracle finds them.

    Args:
        rules: of judging.
        oracle: judges; closed by the caller.
        requests: whose answers.
        model: the name that was asked for.
        draws: of each request.
        drawn: has the answers.
        log: what this oracle judged before, and where it is kept.
        step: told of each request that is done.

    Raises:
        OracleError: it could not judge one answer of a request.
        ConfigError: the answers were sealed with another key.
        CertificationError: they were changed.
    """
    for one in requests:
        source, known = drawn.known(one.digest), log.known(one.digest)
        assert source is not None  # all were drawn
        start = 0 if known is None else len(known.counted)
        if start < draws:
            judge = Judge(rules, oracle, canonical_chat(one.request.chat(model)))
            answers = drawn.answers(one.digest)[start:draws]
            samples = await asyncio.gather(*(_judge(judge, answer) for answer in answers))
            _check_any(samples)
            log.write(_row(one.digest, start, samples, dataclasses.asdict(source.geometry), oracle))
        step()
    return arrange_draws(requests, log, draws, cut_of(oracle), prices=drawn)


async def _judge(judge: Judge, answer: Answer | None) -> Sample:
    if answer is None:
        return Sample(index=0, outcome=Outcome.MISSING)
    try:
        return await judge.judge(0, answer, ())
    except OracleError as error:
        return Sample(index=0, outcome=Outcome.MISSING, answer=answer, failure=error)


def _check_any(samples: Sequence[Sample]) -> None:
    """Raises the oracle's fault where it judged nothing at all: that says nothing of answers."""
    faults = [one.failure for one in samples if one.answer is not None]
    if faults and all(faults) and faults[0] is not None:
        raise faults[0]


def _row(
    digest: str, start: int, samples: Sequence[Sample], geometry: dict[str, Any], oracle: Oracle
) -> dict[str, Any]:
    cuts = cut_of(oracle) is not None
    counted = [count_sample(one, cuts=cuts) for one in samples]
    return {
        "type": "draws",
        "request": digest,
        "start": start,
        "counted": [int(one) for one in counted],
        "score": [
            one.score if how is Counted.BY_SCORE else None
            for one, how in zip(samples, counted, strict=True)
        ],
        "calls": 0,
        "cost_usd": 0.0,
        **geometry,
    }
