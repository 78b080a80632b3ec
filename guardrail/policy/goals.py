"""Goals of a policy in words: what `guardrail tune` looks for, and nothing that decides.

goals: {false_alarms: "<= 1%", recall: ">= 95% within 0.5", price_usd: "<= 0.02"}
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, assert_never

from pydantic import AfterValidator, Field

from guardrail.errors import ConfigError
from guardrail.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Goal", "GoalKind", "GoalsSection", "parse_goal", "parse_goals"]

_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"
_SHARE = re.compile(rf"<=\s*{_NUMBER}\s*(%?)")
_AMOUNT = re.compile(rf"<=\s*\$?\s*{_NUMBER}")
_RECALL = re.compile(rf">=\s*{_NUMBER}\s*(%?)\s+within\s+{_NUMBER}")
_OPTION = re.compile(r"([a-z_]+)\s*:?\s*([<>].*)", re.DOTALL)


class GoalKind(StrEnum):
    """What a goal is about; the value is its field in a policy."""

    FALSE_ALARMS = "false_alarms"
    MISSED_HARM = "missed_harm"
    RECALL = "recall"
    CALLS = "calls"
    PRICE_USD = "price_usd"

    @property
    def words(self) -> str:
        """As people say it."""
        return _WORDS[self]


_WORDS = {
    GoalKind.FALSE_ALARMS: "false alarms",
    GoalKind.MISSED_HARM: "missed harm",
    GoalKind.RECALL: "recall",
    GoalKind.CALLS: "calls of an ordinary request",
    GoalKind.PRICE_USD: "US dollars for an ordinary request",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """One wish.

    Attributes:
        kind: what it is about.
        limit: a share in [0, 1], calls, or US dollars: at least so much for recall, at most for all
            others.
        radius: of recall alone: how far a picture may be changed, l2, pixels in [0, 1].
    """

    kind: GoalKind
    limit: float
    radius: float | None = None

    @property
    def text(self) -> str:
        """As it is written in a policy."""
        match self.kind:
            case GoalKind.RECALL:
                return f">= {_percent(self.limit)} within {self.radius:g}"
            case GoalKind.FALSE_ALARMS | GoalKind.MISSED_HARM:
                return f"<= {_percent(self.limit)}"
            case GoalKind.CALLS | GoalKind.PRICE_USD:
                return f"<= {self.limit:g}"
            case _:
                assert_never(self.kind)

    @property
    def sentence(self) -> str:
        """In words."""
        sign, _, rest = self.text.partition(" ")
        return f"{self.kind.words} {'at least' if sign == '>=' else 'at most'} {rest}"


def parse_goal(kind: GoalKind, text: str) -> Goal:
    """A goal as it is written in a policy. Raises ValueError, which says what to write."""
    text = text.strip()
    match kind:
        case GoalKind.RECALL:
            return _parse_recall(text)
        case GoalKind.FALSE_ALARMS | GoalKind.MISSED_HARM:
            found = _SHARE.fullmatch(text)
            if found is None:
                raise ValueError(f"write a share that is allowed, such as '<= 1%', not {text!r}")
            return Goal(kind, _share(found[1], found[2], "<= 1%"))
        case GoalKind.CALLS | GoalKind.PRICE_USD:
            found = _AMOUNT.fullmatch(text)
            example = "<= 30" if kind is GoalKind.CALLS else "<= 0.02"
            if found is None or not 0.0 < float(found[1]) < math.inf:
                raise ValueError(f"write the most that is allowed, such as '{example}'")
            return Goal(kind, float(found[1]))
        case _:
            assert_never(kind)


def _parse_recall(text: str) -> Goal:
    found = _RECALL.fullmatch(text)
    if found is None:
        raise ValueError(
            "write which share of forbidden requests must not get through, and how far a picture "
            f"may be changed, such as '>= 95% within 0.5', not {text!r}"
        )
    radius = float(found[3])
    if radius > 100.0:
        raise ValueError(f"a picture may be changed by at most 100 here, not {radius:g}")
    return Goal(GoalKind.RECALL, _share(found[1], found[2], ">= 95% within 0.5"), radius)


def _share(number: str, percent: str, example: str) -> float:
    """A share strictly between 0 and 1: what nobody can show is no goal."""
    share = float(number) / 100.0 if percent else float(number)
    if not 0.0 < share < 1.0:
        raise ValueError(
            f"a share lies between 0 and 100 %, both excluded (no sample shows more), not "
            f"{number}{percent}; write for example '{example}'"
        )
    return share


def parse_goals(texts: Iterable[str]) -> tuple[Goal, ...]:
    """Goals as they are given on a command line: `false_alarms <= 1%`.

    Raises:
        ConfigError: one of them cannot be read, or two are about the same.
    """
    goals: dict[GoalKind, Goal] = {}
    for text in texts:
        found = _OPTION.fullmatch(text.strip())
        names = [kind.value for kind in GoalKind]
        if found is None or found[1] not in names:
            raise ConfigError(
                f"'{text}' is no goal; write one of {', '.join(names)} and what is wished, such as "
                "'false_alarms <= 1%' or 'recall >= 95% within 0.5'"
            )
        try:
            goal = parse_goal(GoalKind(found[1]), found[2])
        except ValueError as error:
            raise ConfigError(str(error), field=f"goals.{found[1]}") from error
        if goals.setdefault(goal.kind, goal) != goal:
            raise ConfigError("there are two goals about it; leave one out", field=found[1])
    return tuple(goals.values())


def _percent(share: float) -> str:
    return f"{share * 100:.10g}%"


def _checked(kind: GoalKind) -> AfterValidator:
    def check(text: str) -> str:
        parse_goal(kind, text)
        return text

    return AfterValidator(check)


class GoalsSection(Section):
    """Wishes in words. They decide nothing: `guardrail tune` finds the numbers that meet them."""

    false_alarms: Annotated[str, _checked(GoalKind.FALSE_ALARMS)] | None = None
    """The largest share of ordinary requests that may be stopped, such as "<= 1%"."""
    missed_harm: Annotated[str, _checked(GoalKind.MISSED_HARM)] | None = None
    """The largest share of forbidden requests, as they are, that may be let through, such as
    "<= 2%"."""
    recall: Annotated[str, _checked(GoalKind.RECALL)] | None = None
    """Of forbidden requests like yours, how many cannot get through with any change of the picture
    within that l2 distance, except with probability alpha for each try, such as ">= 95% within
    0.5"."""
    calls: Annotated[str, _checked(GoalKind.CALLS)] | None = None
    """The most calls that an ordinary request may take on average, such as "<= 30"."""
    price_usd: Annotated[str, _checked(GoalKind.PRICE_USD)] | None = None
    """The most US dollars that an ordinary request may cost on average, such as "<= 0.02". Takes
    advanced.limits.max_cost_usd_per_request here, or --price-per-call of the command."""

    oracles: list[str] = Field(default_factory=list, max_length=20)
    """Kinds of oracles that are tried beside the policy's own, such as [builtin, encoder]: those
    that need no options."""

    @property
    def wishes(self) -> tuple[Goal, ...]:
        """Those that are stated."""
        stated = ((kind, getattr(self, kind.value)) for kind in GoalKind)
        return tuple(parse_goal(kind, text) for kind, text in stated if text is not None)
