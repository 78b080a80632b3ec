"""From a scorer and the common fields to the oracle that the engine awaits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.oracles.worker import ThreadedOracle

if TYPE_CHECKING:
    from guardrail.oracles.base import Scorer
    from guardrail.policy.choices.base import ThreadedChoice

__all__ = ["threaded"]


def threaded(
    choice: ThreadedChoice,
    scorer: Scorer,
    *,
    name: str,
    kind: type[ThreadedOracle] = ThreadedOracle,
) -> ThreadedOracle:
    """The scorer in a thread of its own, by the fields that all such choices share."""
    return kind(
        scorer,
        threshold=choice.threshold,
        name=name,
        max_batch=choice.max_batch,
        max_queue=choice.max_queue,
        deadline_s=choice.deadline_s,
    )
