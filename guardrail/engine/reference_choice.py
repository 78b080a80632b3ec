"""What the answers of a test are compared with: chosen on draws that are never counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guardrail.engine.prepared_request import SELECTION_INDEX
from guardrail.errors import UpstreamError
from guardrail.oracles.base import Exchange

if TYPE_CHECKING:
    from guardrail.engine.prepared_request import PreparedRequest
    from guardrail.engine.sampler import Sampler
    from guardrail.images.keys import NoiseKey
    from guardrail.oracles.base import Reference

__all__ = ["choose_reference"]


async def choose_reference(
    sampler: Sampler, request: PreparedRequest, key: NoiseKey
) -> Reference | None:
    """The reference of a request whose oracle compares.

    A draw that brought nothing is left out: the choice may be any, only the test must be fair.
    None, which blocks, only where every draw brought an answer and they have nothing in common.

    Raises:
        UpstreamError: no draw brought anything, or too few did to choose one.
        OracleError: the answers could not be compared.
        BudgetSpentError: the decision may make no further call.
    """
    rules, oracle = sampler.rules, sampler.judge.reference_oracle
    assert oracle is not None  # see above
    places = asyncio.Semaphore(rules.max_parallel)

    async def draw(index: int) -> Exchange | UpstreamError:
        async with places:
            noisy = await request.draw_variant(index, rules, key)
            seed = request.derive_seed(index, rules, key)
            return await sampler.draw_exchange(noisy, seed=seed)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(draw(SELECTION_INDEX + i)) for i in range(oracle.n0)]
    except ExceptionGroup as faults:
        fault = faults.exceptions[0]
        raise fault from fault.__cause__
    results = [task.result() for task in tasks]
    drawn = [result for result in results if isinstance(result, Exchange)]
    async with sampler.judging:
        reference = await oracle.reference(drawn) if drawn else None
    lost = next((result for result in results if isinstance(result, UpstreamError)), None)
    if reference is None and lost is not None:
        raise lost
    return reference
