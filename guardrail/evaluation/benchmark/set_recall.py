"""Certified recall of the harmful rows of one set: at the promised radii, and per threat."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guardrail.engine.plan import Geometry, radius_at, scale_promise
from guardrail.engine.threat_wording import describe_extent
from guardrail.evaluation.recall_facts import BETA, RecallDesign
from guardrail.evaluation.recall_outcome import RecallOutcome, curve_steps
from guardrail.evaluation.requests import RequestSet
from guardrail.stats import FLOORS, recall_lower

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.engine.rules import Rules
    from guardrail.engine.threat_recall import Against, HeldShare
    from guardrail.evaluation.benchmark.labelled_set import LabelledSet
    from guardrail.evaluation.recall_facts import Yardstick
    from guardrail.evaluation.threat_facts import ThreatOutcome

__all__ = [
    "PIXELS",
    "FloorRecall",
    "SetRecall",
    "SetThreats",
    "design_recall",
    "harmful_requests",
    "promised_radius",
]

PIXELS = "pixels"
"""What `SetRecall` is against: changes of pixels within a radius."""


@dataclass(frozen=True, slots=True)
class FloorRecall:
    """What is shown at the radii that the policy promises for one floor.

    Attributes:
        floor: a harmless rate τ.
        smallest_radius, largest_radius: within which the policy holds requests whose harmless rate
            is below τ, for the sizes of these requests' pictures, in client pixels; None where it
            promises none.
        shown: requests that are shown held within the radius of their own size.
        recall_lower: of requests drawn like them, the share that is held there is at least this.
    """

    floor: float
    smallest_radius: float | None
    largest_radius: float | None
    shown: int
    recall_lower: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "floor": self.floor,
            "smallest_radius": self.smallest_radius,
            "largest_radius": self.largest_radius,
            "shown": self.shown,
            "recall_lower": self.recall_lower,
        }


@dataclass(frozen=True)
class SetRecall:
    """Recall of one set against changes of pixels.

    Attributes:
        set_name: of the set.
        outcome: what was measured.
        rules: of the policy.
    """

    set_name: str
    outcome: RecallOutcome
    rules: Rules

    @cached_property
    def floors(self) -> tuple[FloorRecall, ...]:
        """One for each floor; their bounds hold together, but for the design's delta.

        Whether a request is held within the radius of its own size and floor is a fact about the
        request, and one that is not is shown held there with probability at most beta: so the
        bound at a radius fixed beforehand serves, with delta shared among the floors.
        """
        return tuple(map(self._floor, FLOORS))

    @cached_property
    def shown_at(self) -> dict[str, dict[float, bool]]:
        """Of each request, by its digest: whether it is shown held at each floor's radius."""
        found: dict[str, dict[float, bool]] = {}
        for result, reach in zip(self.outcome.results, self.outcome.radii, strict=True):
            radii = [
                (floor, promised_radius(self.rules, result.yardstick, floor)) for floor in FLOORS
            ]
            found[result.digest] = {
                floor: radius is not None and reach >= radius for floor, radius in radii
            }
        return found

    def _floor(self, floor: float) -> FloorRecall:
        results, design = self.outcome.results, self.outcome.design
        promised = [promised_radius(self.rules, one.yardstick, floor) for one in results]
        shown = sum(shown[floor] for shown in self.shown_at.values())
        known = [radius for radius in promised if radius is not None]
        return FloorRecall(
            floor=floor,
            smallest_radius=min(known, default=None),
            largest_radius=max(known, default=None),
            shown=shown,
            recall_lower=recall_lower(shown, len(results), design.delta / len(FLOORS), design.beta),
        )

    def to_dict(self) -> dict[str, Any]:
        outcome = self.outcome
        counts: dict[str, int] = {}
        for _, why in outcome.blind:
            counts[why.value] = counts.get(why.value, 0) + 1
        return {
            "set": self.set_name,
            "threat": PIXELS,
            "requests": len(outcome.results),
            "draws": outcome.design.draws,
            "beta": outcome.design.beta,
            "delta": outcome.design.delta,
            "shown_held": sum(radius >= 0.0 for radius in outcome.radii),
            "floors": [floor.to_dict() for floor in self.floors],
            "reaches": [
                {"recall": reach.recall, "radius": reach.radius} for reach in outcome.reaches
            ],
            "curve": [
                {"radius": radius, "recall_lower": lower}
                for radius, lower in zip(
                    outcome.curve.radii, outcome.curve.recall_lower, strict=True
                )
            ],
            "not_held": counts,
            "blind_spots": [
                {"name": result.name, "why": why.value} for result, why in outcome.blind
            ],
            "calls": outcome.calls,
            "cost_usd": outcome.cost_usd,
        }


@dataclass(frozen=True)
class SetThreats:
    """Recall of one set against each threat that the policy covers beside changes of pixels.

    Attributes:
        set_name: of the set.
        outcome: what was measured; its bounds hold together, but for the design's delta.
        alpha: failure probability of one decision.
    """

    set_name: str
    outcome: ThreatOutcome
    alpha: float

    @cached_property
    def shares(self) -> tuple[tuple[HeldShare, str], ...]:
        """What each of the outcome's `shares` says, in words beside it."""
        return tuple(self.outcome.state_shares(self.alpha))

    @cached_property
    def shown_against(self) -> dict[str, dict[Against, bool]]:
        """Of each request, by its digest: what it is shown held against."""
        return {result.digest: dict(result.shown) for result in self.outcome.results}

    def to_dicts(self) -> list[dict[str, Any]]:
        """One for each statement."""
        return [self._describe(share, sentence) for share, sentence in self.shares]

    def _describe(self, share: HeldShare, sentence: str) -> dict[str, Any]:
        design = self.outcome.design
        return {
            "set": self.set_name,
            "threat": share.against.value,
            "extent": describe_extent(design.threats.settings[share.against.threat]),
            "requests": len(self.outcome.results),
            "view_draws": design.draws,
            "beta": design.beta,
            "delta": design.delta,
            "shown_held": share.shown,
            "recall_lower": share.share_lower,
            "sentence": sentence,
            "not_shown": list(self.outcome.not_shown(share.against)),
        }


def promised_radius(rules: Rules, size: Yardstick, floor: float) -> float | None:
    """What the policy promises a request of this size, if its harmless rate is below the floor.

    In client pixels, rounded down; None where nothing is promised.
    """
    where = Geometry(size.operator_norm, size.grid_slack, size.sampler_error)
    return radius_at(scale_promise(rules, where), where, size.q_required, floor)


def design_recall(rules: Rules, draws: int, delta: float) -> RecallDesign:
    """What is fixed before the first draw."""
    return RecallDesign(draws, delta, BETA, curve_steps(rules, draws, BETA))


def harmful_requests(rows: LabelledSet) -> Iterable[tuple[str, RequestSet]]:
    """Each set with harmful requests that have pictures, and these requests."""
    found: dict[str, dict[str, Any]] = {}
    for digest, row in rows.drawn:
        if row.harmful and row.request.images:
            found.setdefault(row.set_name, {})[digest] = row.request
    for name, requests in sorted(found.items()):
        drawn = tuple(requests.items())
        yield name, RequestSet(name, len(drawn), len(drawn), rows.digest, drawn)
