"""How the calls to a provider's batch API are gathered, waited for and bounded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BatchSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How batches are made and waited for.

    Attributes:
        max_requests: most requests of one batch.
        max_bytes: largest input file of one batch.
        settle_s: a batch is closed once no call has come for so long.
        gather_s: and after so long in any case.
        poll_s: how long after a batch was made it is asked for; then the pauses grow by half.
        longest_poll_s: the longest pause.
        give_up_s: a batch that has not ended after so long is cancelled.
        max_output_bytes: longer results of one batch are not read.
    """

    max_requests: int = 50_000
    max_bytes: int = 200_000_000
    settle_s: float = 10.0
    gather_s: float = 600.0
    poll_s: float = 30.0
    longest_poll_s: float = 600.0
    give_up_s: float = 172_800.0
    max_output_bytes: int = 1 << 30
