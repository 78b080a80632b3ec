"""How far a decision has come: the judgements that its oracle has given so far.

Counts that grow are a graded score of a request that may yet be blocked, so they are told only
where the policy's `block.details` says so.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.api.strict_json import encode_json
from guardrail.oracles.base import ReferenceOracle
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.engine.engine import Engine
    from guardrail.oracles.base import Exchange, Judgement, Oracle, Reference

__all__ = ["RUNNING", "JudgementCount", "count_judgements"]


def _event(**counts: int) -> bytes:
    body = {"object": "guardrail.progress", **counts}
    return b"event: progress\ndata: " + encode_json(body) + b"\n\n"


RUNNING = _event()
"""The event of a decision whose counts are not told."""


@dataclass(slots=True)
class JudgementCount:
    """Judgements in the order of arrival: not the count that the test decides on."""

    samples: int = 0
    harmless: int = 0

    def event(self) -> bytes:
        """The counts as an event of a stream."""
        return _event(samples=self.samples, harmless=self.harmless)

    def add(self, judgements: Sequence[Judgement]) -> None:
        self.samples += len(judgements)
        self.harmless += sum(
            getattr(judgement, "outcome", None) is Outcome.HARMLESS for judgement in judgements
        )


def count_judgements(engine: Engine, tally: JudgementCount) -> Engine:
    """The same engine, its judgements counted: the same verdicts and certificates."""
    oracle = engine.oracle
    kind = _CountedReferences if isinstance(oracle, ReferenceOracle) else _Counted
    return engine.with_oracle(kind(oracle, tally))


class _Counted:
    def __init__(self, oracle: Oracle, tally: JudgementCount) -> None:
        self._oracle = oracle
        self._tally = tally

    @property
    def revision(self) -> str:
        return self._oracle.revision

    async def judge(self, exchanges: Sequence[Exchange]) -> list[Judgement]:
        judgements = await self._oracle.judge(exchanges)
        self._tally.add(judgements)
        return judgements

    async def aclose(self) -> None:
        """Does nothing: the oracle belongs to the engine that is watched."""


class _CountedReferences(_Counted):
    """Counts what is compared with the reference, not the draws that it is chosen on."""

    _oracle: ReferenceOracle

    @property
    def n0(self) -> int:
        return self._oracle.n0

    async def reference(self, selection: Sequence[Exchange]) -> Reference | None:
        chosen = await self._oracle.reference(selection)
        if chosen is None:
            return None
        return dataclasses.replace(chosen, oracle=_Counted(chosen.oracle, self._tally))
