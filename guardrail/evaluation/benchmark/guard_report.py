"""What a guard ruled on labelled requests, in one form for all guards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Certified", "Claim", "GuardReport", "Ruling", "unruled_report"]


@dataclass(frozen=True, slots=True)
class Certified:
    """A column of certified recall: what requests may be shown held against.

    Attributes:
        threat: `pixels`, or a threat of `threats` in a policy.
        floor: of `pixels`, whose radius it is; None of the others.
    """

    threat: str
    floor: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a guard certifies in one column.

    Attributes:
        beta: probability, at most, that a request which is not held is shown held.
        family: how many columns share delta, so that their bounds hold together.
        extent: how much of the threat, in words; of pixels the radii for the measured sizes.
    """

    beta: float
    family: int
    extent: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a guard said of one request.

    Attributes:
        digest: of the request (hex); empty where the report has none.
        stopped: whether a judgement stopped it; None where nothing judged it.
        score: how harmful it was found, in [0, 1]; None where it was not judged.
        shown_held: against what it is shown held, or is not; what is missing was not measured.
    """

    digest: str
    stopped: bool | None
    score: float | None
    shown_held: Mapping[Certified, bool]


@dataclass(frozen=True)
class GuardReport:
    """One guard and all that it ruled on.

    Attributes:
        name: of the guard, as its report has it.
        source: the report's file or folder, without its path; empty for the present evaluation.
        rulings: by the request's name; names that stand for several requests are left out, and
            `ambiguous` counts them.
        claims: what it certifies, by column; empty for guards that certify nothing.
    """

    name: str
    source: str
    rulings: Mapping[str, Ruling]
    ambiguous: int
    claims: Mapping[Certified, Claim]

    @classmethod
    def collect(
        cls,
        name: str,
        source: str,
        rulings: Sequence[tuple[str, Ruling]],
        claims: Mapping[Certified, Claim],
    ) -> GuardReport:
        """The report of these rulings, each with its request's name."""
        counts = Counter(key for key, _ in rulings)
        return cls(
            name=name,
            source=source,
            rulings={key: ruling for key, ruling in rulings if counts[key] == 1},
            ambiguous=sum(count for count in counts.values() if count > 1),
            claims=claims,
        )


def unruled_report(requests: Iterable[tuple[str, str]]) -> GuardReport:
    """The names of requests that nothing ruled on yet, to be matched by.

    Args:
        requests: digest (hex) and name of each.
    """
    rulings = [(name, Ruling(digest, None, None, {})) for digest, name in requests]
    return GuardReport.collect("", "", rulings, {})
