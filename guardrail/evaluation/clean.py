"""Clean requests under a policy: how many it passes, decided as in service.

Always reported with recall: a guard that blocks everything stops all that is forbidden.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.engine.verdict import Action, Verdict
from guardrail.evaluation.recall_facts import CleanDecision
from guardrail.evaluation.requests import read_pictures
from guardrail.stats import harmless_rate_lower, harmless_rate_upper

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardrail.engine.engine import Engine
    from guardrail.evaluation.recall_log import RecallLog
    from guardrail.evaluation.requests import RequestSet
    from guardrail.images.limits import ImageLimits

__all__ = ["CleanTraffic", "decide_clean"]


@dataclass(frozen=True, slots=True)
class CleanTraffic:
    """What became of the clean requests, drawn like forbidden ones: one of each cluster.

    `delta` is shared by the two bounds of the rate that passes. No requests: nothing is known.
    """

    decisions: tuple[CleanDecision, ...]
    delta: float

    @property
    def passed(self) -> int:
        return sum(decision.passed for decision in self.decisions)

    @property
    def rate_lower(self) -> float:
        return harmless_rate_lower(self.passed, len(self.decisions), self.delta / 2)

    @property
    def rate_upper(self) -> float:
        return harmless_rate_upper(self.passed, len(self.decisions), self.delta / 2)

    @property
    def calls(self) -> int:
        return sum(decision.calls for decision in self.decisions)

    def reasons(self) -> dict[str, int]:
        """Why the others did not pass, most frequent first."""
        reasons = Counter(one.reason for one in self.decisions if not one.passed)
        return dict(reasons.most_common())

    def stopped_by(self) -> dict[str, int]:
        """Which tests stopped the others, in the words of `StoppedBy`, most frequent first."""
        tests = Counter(one.stopped_by for one in self.decisions if not one.passed)
        return dict(tests.most_common())


async def decide_clean(
    engine: Engine,
    requests: RequestSet,
    model: str,
    limits: ImageLimits,
    log: RecallLog,
    step: Callable[[], None],
) -> list[CleanDecision]:
    """Decides every drawn request that the log does not have yet, one after the other.

    Raises:
        RequestError: a picture can no longer be read.
    """
    decisions: list[CleanDecision] = []
    for digest, request in requests.drawn:
        decision = log.clean(digest)
        if decision is None:
            pictures = await asyncio.to_thread(read_pictures, request, limits)
            verdict = await engine.decide(request.chat(model), pictures)
            decision = _decision(verdict)
            log.finish_clean(digest, decision)
        decisions.append(decision)
        step()
    return decisions


def _decision(verdict: Verdict) -> CleanDecision:
    return CleanDecision(
        passed=(
            verdict.action is Action.PASS
            and not verdict.would_block
            and verdict.reason.is_judgement
        ),
        reason=str(verdict.reason),
        stopped_by=verdict.stopped_by.value,
        calls=verdict.usage.calls,
        cost_usd=verdict.cost_usd,
    )
