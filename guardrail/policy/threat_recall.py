"""What a recall file says of each threat that a policy covers beside small changes of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from guardrail.engine.threat_recall import (
    Against,
    HeldShare,
    find_draws_problem,
    find_share_problem,
    statements_of,
)
from guardrail.section import Section, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guardrail.engine.threats import Threats

__all__ = ["MeasuredShare", "MeasuredThreats", "compare_threats", "find_threat_problem"]

_NOT_COVERED = "not covered"


class MeasuredShare(Section):
    """Requests that are held against one threat."""

    against: Annotated[Against, Word]
    """What was measured: crops, stickers (at every place), sticker_place (at one drawn at random)
    or suffix."""
    setting: dict[str, int | float | str]
    """The threat as the policy has it, with the floor of its views."""
    shown: Annotated[int, Field(ge=0)]
    """Requests that are shown held."""
    share_lower: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    """Share that is held, at least."""


class MeasuredThreats(Section):
    """Shares of requests like those that were measured; all hold together but for `delta`."""

    draws: Annotated[int, Field(ge=1)]
    """Answers to each view, without noise; fewer where it could no longer show anything."""
    shares: Annotated[list[MeasuredShare], Field(min_length=1)]
    """One for each statement, in a fixed order."""

    def held_shares(self) -> tuple[HeldShare, ...]:
        """As certificates repeat them."""
        return tuple(HeldShare(one.against, one.shown, one.share_lower) for one in self.shares)


def compare_threats(
    measured: MeasuredThreats | None, threats: Threats | None
) -> Iterator[tuple[str, str, str]]:
    """Every field in which a measurement and a policy may differ: its name, and both in words.

    Nothing where views were not measured: nothing is said of them then.
    """
    if measured is None:
        return
    covered = {} if threats is None else threats.settings
    names = [one.against for one in measured.shares]
    yield "threats", ", ".join(names), ", ".join(statements_of(covered)) or _NOT_COVERED
    for one in measured.shares:
        threat = one.against.threat
        present = threats.numbers(threat) if threats and threat in covered else {}
        yield f"threats.{threat}", _in_words(one.setting), _in_words(present)


def find_threat_problem(
    measured: MeasuredThreats, threats: Threats, *, requests: int, delta: float, beta: float
) -> str:
    """What of the shares does not follow from the requests; empty where all do.

    Args:
        measured: of the threats of this policy.
        threats: the policy's.
        requests: how many were measured.
        delta: shared by all.
        beta: probability, at most, that one which is not held is shown held.
    """
    shares = measured.held_shares()
    floors = dict.fromkeys(threats.settings, threats.floor)
    problem = find_draws_problem(shares, draws=measured.draws, floors=floors, beta=beta)
    return problem or find_share_problem(shares, requests=requests, delta=delta, beta=beta)


def _in_words(setting: dict[str, int | float | str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in setting.items()) or _NOT_COVERED
