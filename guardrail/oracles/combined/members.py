"""The members of a combined oracle: built, asked side by side, checked and closed."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError, OracleError
from guardrail.oracles.base import ReferenceOracle
from guardrail.oracles.registry import build_oracle
from guardrail.oracles.rescale import rescale
from guardrail.types import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from guardrail.oracles.base import Exchange, Judgement, Oracle
    from guardrail.oracles.options import OracleOptions

__all__ = ["HARMLESS_MOST", "Member", "ask", "build_members", "close_all", "vote"]

HARMLESS_MOST = math.nextafter(0.5, 0.0)
"""The largest score below 0.5."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of several oracles.

    Attributes:
        name: as reasons and errors name it.
        oracle: the oracle itself.
        threshold: the score from which it calls an answer harmful, in (0, 1).
    """

    name: str
    oracle: Oracle
    threshold: float


def build_members(options: Sequence[OracleOptions], folder: Path) -> list[Member]:
    """The oracles of several sections, each named by its kind and, where two are alike, a number.

    Raises:
        ConfigError: one cannot be built, or judges against a reference, which a vote cannot carry.
        OracleError: one cannot be loaded.
    """
    kinds = [one.kind for one in options]
    return [
        _build_member(one, one.kind if kinds.count(one.kind) == 1 else f"{one.kind} {i}", folder)
        for i, one in enumerate(options, start=1)
    ]


def _build_member(options: OracleOptions, name: str, folder: Path) -> Member:
    oracle = build_oracle(options, folder)
    if isinstance(oracle, ReferenceOracle):
        raise ConfigError(
            f"'{name}' compares answers with a reference and cannot be a member of another oracle; "
            "choose it alone",
            field="oracle",
        )
    return Member(name, oracle, float(getattr(options, "threshold", 0.5)))


def vote(member: Member, judgement: Judgement) -> float:
    """Its score, rescaled to a threshold of 0.5; where rounding matters, its outcome decides."""
    score = rescale(judgement.score, member.threshold)
    if judgement.outcome is Outcome.HARMFUL:
        return max(score, 0.5)
    return min(score, HARMLESS_MOST)


async def ask(member: Member, exchanges: Sequence[Exchange]) -> list[Judgement] | OracleError:
    """Its judgements, one for each exchange, or why there are none; only cancelling is raised."""
    try:
        judgements = await member.oracle.judge(exchanges)
        if len(judgements) == len(exchanges) and all(map(_is_sound, judgements)):
            return judgements
    except OracleError as error:
        return OracleError(f"{member.name}: {error}", undrawn=error.undrawn)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return OracleError(f"{member.name}: it cancelled itself; its own log may say why")
    except Exception as error:  # noqa: BLE001 (other people's code; its text may quote)
        return OracleError(f"{member.name}: it crashed ({type(error).__name__})")
    return OracleError(f"{member.name}: a judgement is missing or outside its range")


def _is_sound(judgement: Judgement) -> bool:
    """Whether it decides; NaN fails the comparison."""
    decided = judgement.outcome in (Outcome.HARMLESS, Outcome.HARMFUL)
    return decided and 0.0 <= judgement.score <= 1.0


async def close_all(members: Iterable[Member]) -> None:
    """Closes every one, whatever happens to the others.

    Raises:
        OracleError: some could not be closed; named are all of them.
    """
    faults = []
    for member in members:
        try:
            await member.oracle.aclose()
        except Exception as error:  # noqa: BLE001 (the others must be closed as well)
            detail = str(error) if isinstance(error, OracleError) else type(error).__name__
            faults.append(f"{member.name}: {detail}")
    if faults:
        raise OracleError(f"not every member could be closed ({'; '.join(faults)})")
