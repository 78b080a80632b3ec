"""More than two classes: an action, or a meaning, that the smoothed system keeps.

The class is chosen by the data, so it is chosen on some draws and bounded on fresh ones.
Selecting and bounding on the same draws can fail with probability up to 2 · alpha. The
competitor's bound is 1 - p_A and nothing else: a class that was never seen is not one of
probability 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardrail.errors import CertificationError
from guardrail.stats._checks import check_count, check_unit
from guardrail.stats.binomial import harmless_rate_lower
from guardrail.stats.radius import certified_radius

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.stats.plans import Decision, Plan

__all__ = ["ClassBound", "SequentialClass", "certify_class", "runner_up_upper", "select_class"]


@dataclass(frozen=True, slots=True)
class ClassBound:
    """A class with its bound; `radius` is None where the smoothed system abstains.

    `radius` is in client pixels, for the class staying the most likely one.
    """

    selected: int
    rate_lower: float
    radius: float | None

    @property
    def abstains(self) -> bool:
        return self.radius is None


@dataclass(frozen=True, slots=True)
class SequentialClass:
    """Choose on `selection` draws, then test "the class has rate q_required" on fresh ones."""

    selection: int
    plan: Plan

    def select(self, counts: Sequence[int]) -> int:
        """The class to test, from the counts of exactly `selection` draws.

        Raises:
            CertificationError: the counts do not sum to `selection`.
        """
        if sum(counts) != self.selection:
            raise CertificationError(
                f"the class must be chosen on {self.selection} draws, not {sum(counts)}"
            )
        return select_class(counts)

    def decide(self, n: int, others: int) -> Decision | None:
        """The plan's verdict after `n` FRESH draws, `others` of them not of the class."""
        return self.plan.decide(n, others)


def select_class(counts: Sequence[int]) -> int:
    """The class seen most often; of equals the first, so that a replay chooses alike.

    Raises:
        CertificationError: there are no counts, or no draws.
    """
    row = [check_count("a class count", count) for count in counts]
    if not any(row):
        raise CertificationError("a class cannot be selected from no draws; use n0 of at least 1")
    return row.index(max(row))


def certify_class(
    selection_counts: Sequence[int],
    fresh_counts: Sequence[int],
    alpha: float,
    *,
    sigma: float,
    operator_norm: float = 1.0,
    grid_slack: float = 0.0,
) -> ClassBound:
    """CERTIFY: select on n0 draws, bound on n fresh ones, with p_B <= 1 - p_A.

    The promise: with probability at least 1 - alpha the smoothed system's most likely class is
    the selected one everywhere within the radius, unless it abstains.

    Args:
        selection_counts: per class, over the n0 selection draws.
        fresh_counts: per class, over n further draws; same classes in the same order.
        alpha: failure probability in (0, 1).
        sigma: noise on the canvas.
        operator_norm: ‖A‖₂ from client pixels to canvas.
        grid_slack: canvas units lost to the grid.

    Raises:
        CertificationError: the rows differ in length, hold no draws, or an argument is outside
            its range.

    Source: Cohen et al. (arXiv 1902.02918), CERTIFY and Proposition 2.
    """
    if len(selection_counts) != len(fresh_counts):
        raise CertificationError(
            f"{len(selection_counts)} classes were selected from but {len(fresh_counts)} counted; "
            "both rows need the same classes in the same order"
        )
    selected = select_class(selection_counts)
    fresh = [check_count("a class count", count) for count in fresh_counts]
    lower = harmless_rate_lower(fresh[selected], sum(fresh), alpha)
    radius = certified_radius(
        lower, sigma=sigma, operator_norm=operator_norm, grid_slack=grid_slack
    )
    return ClassBound(selected, lower, radius)


def runner_up_upper(rate_lower: float) -> float:
    """p_B from p_A: 1 - p_A, rounded up. The only bound on a competitor this package uses."""
    rest = 1.0 - check_unit("rate_lower", rate_lower)
    return min(math.nextafter(rest, 2.0), 1.0)
