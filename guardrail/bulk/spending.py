"""What a whole job may cost."""

from __future__ import annotations

import asyncio

from guardrail.errors import LimitError
from guardrail.memory.allowance import Reservation

__all__ = ["JobAllowance"]


class JobAllowance:
    """The money of a job, shared by the decisions under way; see `Allowance`.

    What a decision will cost is not known beforehand, so an upper limit is set aside for it: the
    policy's for one request, else twice what the dearest decision so far took. The first one may
    take all there is, and the others wait until it has told its cost. A decision waits while others
    hold what it needs.

    Args:
        most_usd: what the job may cost, at least 0.
        spent_usd: what it has cost in earlier runs.
    """

    caller = "bulk"
    limits_calls = False

    def __init__(self, most_usd: float, spent_usd: float = 0.0) -> None:
        self.most_usd = most_usd
        self.spent_usd = spent_usd
        self._reserved_usd = 0.0
        self._highest_usd = 0.0
        self._unknown = 0
        self._changed = asyncio.Condition()

    async def reserve(self, calls: int | None, max_cost_usd: float | None) -> Reservation:
        """Sets aside what one decision may cost.

        Raises:
            LimitError: too little is left for one more decision, and nothing under way can give
                any back; says so where costs that are not known have used it up.
        """
        del calls
        async with self._changed:
            while True:
                free = self.most_usd - self.spent_usd - self._reserved_usd
                if free > 0.0 and free >= (max_cost_usd or self._highest_usd):
                    break
                if not self._reserved_usd:
                    raise self._limit_error()
                await self._changed.wait()
            usd = min(free, max_cost_usd or 2 * self._highest_usd or free)
            self._reserved_usd += usd
            return Reservation(self.caller, None, usd)

    async def settle(self, reservation: Reservation, calls: int, usd: float | None) -> None:
        """Counts what was used; as much as was set aside, where the cost is not known."""
        del calls
        used = (reservation.usd or 0.0) if usd is None else usd
        async with self._changed:
            self._unknown += usd is None
            self._highest_usd = max(self._highest_usd, used)
            self._spend(reservation, used)

    async def write_off(self, reservation: Reservation) -> None:
        """Counts all that was set aside as spent: of this decision nothing will be heard.

        It says nothing of what others cost.
        """
        async with self._changed:
            self._spend(reservation, reservation.usd or 0.0)

    def _spend(self, reservation: Reservation, usd: float) -> None:
        left = self._reserved_usd - (reservation.usd or 0.0)
        self._reserved_usd = left if left > 1e-12 else 0.0
        self.spent_usd += usd
        self._changed.notify_all()

    def _limit_error(self) -> LimitError:
        limit = f"the job's limit of US$ {self.most_usd:g}"
        if not self._unknown:
            return LimitError(
                f"{limit} is reached; give more with --max-usd, and the same command goes on",
                code="job_cost_limit",
            )
        return LimitError(
            f"{limit} cannot be kept: what the answers of {self._unknown} decisions cost is not "
            "known, as the upstream did not report their tokens (usage) or they broke off, so all "
            "that was set aside for them counts as spent. Let the upstream report usage; or leave "
            "--max-usd out, and limit the cost at the provider. The same command goes on",
            code="job_cost_unknown",
        )
