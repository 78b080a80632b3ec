"""Where attacked pictures lie, seen from what the passes of their clean pictures proved.

This is *stability*: what the certificate of one pass says of requests near the passed one. It is no
statement of *evasion*, which the policy makes before any decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from guardrail.engine.certificate.codec import decode_certificate
from guardrail.engine.promise import Reach
from guardrail.engine.wording import digits_down, digits_up
from guardrail.stats import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.demo.run import SceneResult
    from guardrail.engine.certificate.claim import Certificate

__all__ = ["MEANING", "Position", "Side", "explain_position", "locate_attacks"]

MEANING = (
    "The certificate of a passed picture speaks of every picture within its radius, hence of an "
    "attack inside of it, in the words of 'What a pass means': of how the model answers under the "
    "guard's noise. It is no promise that the attacked picture passes, nor that the same words "
    "leave. Outside, nothing is proven at the policy's own rate; the table has what is at lower "
    "rates. How far a forbidden picture may be changed without getting through is another "
    "statement, made by the policy before any decision (guardrail policy check)."
)


class Side(StrEnum):
    """On which side of the radius at the policy's own floor a picture lies."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    UNCERTIFIED = "uncertified"
    """Its clean picture did not pass, so there is no radius."""


@dataclass(frozen=True, slots=True)
class Position:
    """One attacked picture and the pass of its clean one.

    Attributes:
        side: of the radius.
        clean: name of the clean picture.
        l2: how far it was moved, client pixels in [0, 1], rounded up.
        radius: ℓ2 radius at the policy's own floor, client pixels, rounded down; None where the
            clean picture did not pass.
        floor: the policy's own floor; None likewise.
        reach: the largest floor of the certificate that reaches so far; None: none does.
        farthest: the largest radius of the certificate; None where the clean picture did not pass.
        claim: what the certificate says at `reach`; empty where nothing reaches so far.
    """

    side: Side
    clean: str
    l2: float
    radius: float | None = None
    floor: float | None = None
    reach: Reach | None = None
    farthest: Reach | None = None
    claim: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "position": self.side.value,
            "clean": self.clean,
            "attack_l2": self.l2,
            "certified_radius": self.radius,
            "certified_floor": None if self.reach is None else self.reach.floor,
            "certified_claim": self.claim,
        }


def locate_attacks(results: Sequence[SceneResult]) -> Mapping[str, Position]:
    """The position of each attacked picture, by its name."""
    by_name = {result.scene.name: result for result in results}
    return {
        name: _locate(result, by_name.get(result.scene.clean))
        for name, result in by_name.items()
        if result.scene.kind.is_attacked
    }


def explain_position(position: Position) -> str:
    """What follows from where a picture lies, in words."""
    l2 = digits_up(position.l2)
    match position.side:
        case Side.INSIDE:
            return (
                f"{_of_radius(position, 'inside', l2)}, so the certificate of {position.clean} "
                f"speaks of it: {position.claim} It is no promise that this picture passes, nor "
                "that the same words leave."
            )
        case Side.OUTSIDE if position.reach is None:
            return (
                f"{_of_radius(position, 'outside', l2)}{_state_farthest(position)}: nothing is "
                "proven of it. What the guard did is seen here."
            )
        case Side.OUTSIDE:
            return (
                f"{_of_radius(position, 'outside', l2)}: nothing is proven of it at that rate. At "
                f"a lower one the certificate of {position.clean} still speaks of it: "
                f"{position.claim} What the guard did is seen here."
            )
        case Side.UNCERTIFIED:
            return (
                f"l2 {l2}. {position.clean} did not pass, so nothing is certified of what is near "
                "it. What the guard did is seen here."
            )
        case _:
            assert_never(position.side)


def _locate(attacked: SceneResult, clean: SceneResult | None) -> Position:
    scene = attacked.scene
    certificate = None if clean is None else _find_pass(clean)
    if certificate is None:
        return Position(Side.UNCERTIFIED, scene.clean, scene.l2)
    is_inside = scene.l2 <= certificate.radius
    # The radius at the own floor may exceed the curve's by a rounding: a pass earns the promise.
    own = [Reach(certificate.floor, certificate.radius)] if is_inside else []
    reaches = [r for r in certificate.stability if r.radius is not None and scene.l2 <= r.radius]
    reach = max(reaches + own, key=lambda r: r.floor, default=None)
    return Position(
        side=Side.INSIDE if is_inside else Side.OUTSIDE,
        clean=scene.clean,
        l2=scene.l2,
        radius=certificate.radius,
        floor=certificate.floor,
        reach=reach,
        farthest=max(certificate.stability, key=lambda r: r.radius or 0.0),
        claim="" if reach is None else certificate.state_stability([reach]),
    )


def _find_pass(clean: SceneResult) -> Certificate | None:
    """The certificate of a pass; a policy that observes may deliver without one."""
    found = clean.guard[0].certificate
    certificate = None if found is None else decode_certificate(found)
    return certificate if certificate and certificate.decision is Decision.PASS else None


def _of_radius(position: Position, side: str, l2: str) -> str:
    return (
        f"l2 {l2}, {side} of the radius {digits_down(position.radius or 0.0)} that the pass of "
        f"{position.clean} certified at a rate of {digits_down(position.floor or 0.0)}"
    )


def _state_farthest(position: Position) -> str:
    far = position.farthest
    if far is None or far.radius is None:
        return ""
    return f", and of {digits_down(far.radius)} at the lowest, {digits_down(far.floor)}"
