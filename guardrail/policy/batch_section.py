"""The section `batch` of an entry in the upstreams file."""

from __future__ import annotations

import dataclasses

from pydantic import Field

from guardrail.section import FilePath, Section
from guardrail.upstreams.batches.settings import BatchSettings

__all__ = ["BatchSection"]

_BATCHES = BatchSettings()


class BatchSection(Section):
    """How litellm_batch:MODEL gathers calls, and how long it waits."""

    ledger: FilePath | None = None
    """File that notes which requests lie in which batch, so that none is paid for twice; for
    digests and ids alone. batches.db in the folder of the job, if left out."""

    api_base: str | None = Field(default=None, min_length=1)
    """The provider's address, where it is not the usual one."""

    max_requests: int = Field(default=_BATCHES.max_requests, ge=1, le=1_000_000)
    """Most requests of one batch."""

    max_bytes: int = Field(default=_BATCHES.max_bytes, ge=1024, le=10**11)
    """Largest input file of one batch, in bytes."""

    settle_s: float = Field(default=_BATCHES.settle_s, gt=0, le=3600, allow_inf_nan=False)
    """A batch is sent off once no further call has come for so long."""

    gather_s: float = Field(default=_BATCHES.gather_s, gt=0, le=86_400, allow_inf_nan=False)
    """A batch is sent off so long after its first call, whatever comes."""

    poll_s: float = Field(default=_BATCHES.poll_s, gt=0, le=3600, allow_inf_nan=False)
    """How long after a batch was made it is first asked for; then the pauses grow by half."""

    longest_poll_s: float = Field(
        default=_BATCHES.longest_poll_s, gt=0, le=86_400, allow_inf_nan=False
    )
    """The longest of these pauses."""

    give_up_s: float = Field(default=_BATCHES.give_up_s, gt=0, le=31 * 86_400, allow_inf_nan=False)
    """A batch that has not ended after so long is cancelled, and its calls have failed."""

    max_output_bytes: int = Field(default=_BATCHES.max_output_bytes, ge=1024, le=10**11)
    """Longer results of one batch are not read."""

    price_share: float = Field(default=1.0, gt=0, le=1, allow_inf_nan=False)
    """What batches cost, as a share of the price that is known: 0.5 where the provider halves it.
    Leave it out where advanced.prices has the price in batches already."""

    @property
    def settings(self) -> BatchSettings:
        names = [one.name for one in dataclasses.fields(BatchSettings)]
        return BatchSettings(**{name: getattr(self, name) for name in names})
