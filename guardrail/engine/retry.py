"""Which calls are made again: those that drew nothing, unless the policy says otherwise.

For each index of a test at most one answer is drawn, and it counts as the oracle judges it or as
harmful. Then P(pass) <= alpha however faults depend on pictures, answers, load or an attacker:
what is counted is never better than the answers themselves, and a plan that passes with some
harmful ones passes with fewer. A second draw in place of one that failed breaks this: an upstream
that turns harm into faults would be asked until it says something harmless.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar, assert_never

from guardrail.engine.rules import Retry
from guardrail.errors import OracleError, UpstreamError
from guardrail.oracles.base import is_function
from guardrail.upstreams.base import is_deterministic, undrawn_statuses
from guardrail.upstreams.undrawn import TOO_MANY_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from guardrail.oracles.base import Oracle
    from guardrail.upstreams.base import Upstream

__all__ = [
    "FirstWave",
    "describe_repeats",
    "ends_decision",
    "may_call_again",
    "may_judge_again",
    "run_with_repeats",
]

_T = TypeVar("_T")
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


def may_call_again(retry: Retry, upstream: Upstream, fault: Exception) -> bool:
    """Whether a call that ended so may be made again, with the same noise and the same seed."""
    if not isinstance(fault, UpstreamError) or not fault.transient:
        return False
    match retry:
        case Retry.ANY:
            return True
        case Retry.UNDRAWN:
            return fault.undrawn or is_deterministic(upstream)
        case _:
            assert_never(retry)


def may_judge_again(retry: Retry, oracle: Oracle, fault: Exception) -> bool:
    """Whether a judgement that failed so may be asked for again.

    A function of what it is shown says the same each time. Another oracle, such as a model that
    judges, may have drawn the verdict that was lost.
    """
    if not isinstance(fault, OracleError):
        return False
    match retry:
        case Retry.ANY:
            return True
        case Retry.UNDRAWN:
            return fault.undrawn or is_function(oracle)
        case _:
            assert_never(retry)


def ends_decision(retry: Retry, fault: UpstreamError) -> bool:
    """Whether a fault ends the whole decision, without a verdict, instead of one index.

    One that will not pass does; so does a 429 if it is not known whether a gateway said it
    after an answer was drawn. What it stands for is load, and more calls would add to it.

    What an answer says ends nothing: it is the outcome of its index, whatever status it names.
    """
    if fault.in_answer:
        return False
    limited = fault.status == TOO_MANY_REQUESTS and not fault.undrawn and retry is Retry.UNDRAWN
    return limited or not fault.transient


class FirstWave:
    """Whether the calls with which a decision begins have all failed alike.

    A quota that is used up, or reasoning that takes all of `max_tokens`, meets every variant in the
    same way; then none of them is asked again, as that would multiply the calls and change nothing.
    A fault that says when to come back, or that may be the network's, is none of these.
    """

    def __init__(self) -> None:
        self._begun: set[int] = set()
        self._failed: dict[int, tuple[int, str | None]] = {}
        self._answered = False

    async def watch(self, seed: int, call: Awaitable[_T]) -> _T:
        """Makes the call with this seed, which is the same for its repeats, and notes how it ends.

        Raises what the call raises.
        """
        self._begun.add(seed)
        try:
            answer = await call
        except UpstreamError as fault:
            self._failed.setdefault(seed, _kind(fault))
            raise
        self._answered = True
        return answer

    def has_failed_alike(self, fault: Exception) -> bool:
        """Whether there are several calls, none was answered, and all failed by such a fault."""
        lasts = isinstance(fault, UpstreamError) and (
            fault.retry_after_s is None and (fault.in_answer or 400 <= fault.status < 500)
        )
        all_failed = 1 < len(self._begun) == len(self._failed)
        return lasts and all_failed and not self._answered and len({*self._failed.values()}) == 1


def _kind(fault: UpstreamError) -> tuple[int, str | None]:
    return fault.status, fault.code


async def run_with_repeats(
    attempt: Callable[[], Awaitable[_T]],
    may_repeat: Callable[[Exception], bool],
    *,
    repeats: int,
) -> _T:
    """Runs `attempt` until it works, or fails so that it may not be repeated, or for the last time.

    Raises:
        GuardrailError: what the last attempt raised.
    """
    for earlier in range(repeats):
        try:
            return await attempt()
        except (UpstreamError, OracleError) as fault:
            if not may_repeat(fault):
                raise
            await asyncio.sleep(_pause_s(earlier, getattr(fault, "retry_after_s", None)))
            if not may_repeat(fault):  # what has come meanwhile may speak against it
                raise
    return await attempt()


def describe_repeats(retry: Retry, upstream: Upstream) -> str:
    """In one line, which calls to this upstream are made again."""
    match retry:
        case Retry.ANY:
            return "calls are repeated after any fault that may pass (advanced.limits.retry: any)"
        case Retry.UNDRAWN:
            return _describe_undrawn_repeats(upstream)
        case _:
            assert_never(retry)


def _describe_undrawn_repeats(upstream: Upstream) -> str:
    if is_deterministic(upstream):
        return "calls are repeated after any fault, as a seed gives the same answer again"
    statuses = sorted(undrawn_statuses(upstream))
    after = ", ".join(["nothing was sent", *(f"status {status}" for status in statuses)])
    if TOO_MANY_REQUESTS in statuses:
        return f"calls are repeated only after: {after}"
    return (
        f"calls are repeated only after: {after}; a 429 ends the decision (if no gateway stands "
        "between, say 'direct: true' in the file of upstreams)"
    )


def _pause_s(earlier: int, wish_s: float | None) -> float:
    """Exponential back-off with full jitter, or what the provider asked for, within limits."""
    if wish_s is not None:
        return min(wish_s, _LONGEST_PAUSE_S)
    longest = min(_FIRST_PAUSE_S * 2.0**earlier, _LONGEST_PAUSE_S)
    return random.uniform(0.0, longest)  # noqa: S311 (spreads repeats; no secret)
