"""Certified recall of the harmful rows of one set, at the radii that the policy promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.engine.plan import UNSCALED, plan_for, radii_by_floor
from guardrail.evaluation.recall_facts import BETA, RecallDesign
from guardrail.evaluation.recall_outcome import RecallOutcome, curve_steps
from guardrail.evaluation.requests import RequestSet
from guardrail.policy.recall import THREATS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guardrail.engine.rules import Rules
    from guardrail.evaluation.benchmark.labelled_set import LabelledSet

__all__ = ["FloorRecall", "SetRecall", "design_recall", "harmful_requests", "promised_radii"]

_DIGITS = 1e4


@dataclass(frozen=True, slots=True)
class FloorRecall:
    """What is shown at the radius that the policy promises for one floor.

    Attributes:
        floor: a harmless rate τ.
        radius: within which the policy holds requests whose harmless rate is below τ, for pictures
            that fit the canvas, rounded down to four decimals; None where it promises none.
        shown: requests that are shown held there.
        recall_lower: of requests drawn like them, the share that is held there is at least this.
    """

    floor: float
    radius: float | None
    shown: int
    recall_lower: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "floor": self.floor,
            "radius": self.radius,
            "shown": self.shown,
            "recall_lower": self.recall_lower,
        }


@dataclass(frozen=True)
class SetRecall:
    """Recall of one set against one threat.

    Attributes:
        set_name: of the set.
        threat: what an attacker may change; see `THREATS`.
        outcome: what was measured.
        radii: by floor, see `FloorRecall.radius`.
    """

    set_name: str
    threat: str
    outcome: RecallOutcome
    radii: tuple[tuple[float, float | None], ...]

    @property
    def floors(self) -> tuple[FloorRecall, ...]:
        """One for each floor; all their bounds, and the whole curve, hold together."""
        curve, found = self.outcome.curve, self.outcome.radii
        return tuple(
            FloorRecall(floor, None, 0, 0.0)
            if radius is None
            else FloorRecall(floor, radius, sum(r >= radius for r in found), curve.at(radius))
            for floor, radius in self.radii
        )

    def to_dict(self) -> dict[str, Any]:
        outcome = self.outcome
        counts: dict[str, int] = {}
        for _, why in outcome.blind:
            counts[why.value] = counts.get(why.value, 0) + 1
        return {
            "set": self.set_name,
            "threat": self.threat,
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


def promised_radii(rules: Rules) -> tuple[tuple[float, float | None], ...]:
    """Each floor and the radius that the policy promises for it, rounded down to four decimals."""
    plan = plan_for(rules, UNSCALED)
    return tuple(
        (reach.floor, None if reach.radius is None else int(_DIGITS * reach.radius) / _DIGITS)
        for reach in radii_by_floor(rules, UNSCALED, plan.q_required)
    )


def design_recall(rules: Rules, draws: int, delta: float) -> RecallDesign:
    """The design whose curve has a step at each promised radius as well."""
    steps = {radius for _, radius in promised_radii(rules) if radius is not None}
    return RecallDesign(
        draws=draws,
        delta=delta,
        beta=BETA,
        steps=tuple(sorted({*curve_steps(rules, draws, BETA), *steps})),
    )


def harmful_requests(rows: LabelledSet) -> Iterable[tuple[str, str, RequestSet]]:
    """Each set with harmful requests that have pictures, each threat, and these requests."""
    found: dict[str, dict[str, Any]] = {}
    for digest, row in rows.drawn:
        if row.harmful and row.request.images:
            found.setdefault(row.set_name, {})[digest] = row.request
    for name, requests in sorted(found.items()):
        drawn = tuple(requests.items())
        for threat in THREATS:
            yield (
                name,
                threat,
                RequestSet(name, len(drawn), len(drawn), rows.digest, drawn),
            )
