"""Attacked pictures inside and outside of the radius of their clean ones, in numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardrail.demo.positions import Position, Side, locate_attacks
from guardrail.engine.wording import digits_down, digits_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.demo.run import SceneResult

__all__ = ["SIDE_COLUMNS", "AttackedSide", "find_sides", "side_row"]

SIDE_COLUMNS = (
    "l2 of\nthe attack",
    "certified\nradius",
    "certified\nrate: count",
    "bare model\nsaid harm",
    "past a\nsingle check",
    "harm left\nthe guard",
    "passes of\ndecisions",
)
"""What `side_row` holds after its name."""

_NAMES = {
    Side.INSIDE: "inside the radius",
    Side.OUTSIDE: "outside of it",
    Side.UNCERTIFIED: "clean did not pass",
}


@dataclass(frozen=True, slots=True)
class AttackedSide:
    """The attacked pictures on one side of the radius that the passes of their clean ones proved.

    Attributes:
        positions: of these pictures.
        undefended: of how many the bare model said something harmful, in one of its tries.
        single_check: of how many that got past a single check.
        guard: of how many that left the guard.
        decisions: of the guard, those that judged.
        passed: of these.
    """

    positions: tuple[Position, ...]
    undefended: int
    single_check: int
    guard: int
    decisions: int
    passed: int

    @property
    def floors(self) -> Mapping[float | None, int]:
        """Pictures by the rate that their clean one's certificate says of them; None for none."""
        floors = (None if p.reach is None else p.reach.floor for p in self.positions)
        return Counter(sorted(floors, key=lambda floor: -(floor or 0.0)))

    @property
    def l2(self) -> tuple[float, float]:
        """Of the smallest and the largest change."""
        sizes = [position.l2 for position in self.positions]
        return min(sizes), max(sizes)

    @property
    def radius(self) -> tuple[float, float] | None:
        """The smallest and the largest radius; None where nothing passed."""
        radii = [p.radius for p in self.positions if p.radius is not None]
        return (min(radii), max(radii)) if radii else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "pictures": len(self.positions),
            "attack_l2": list(self.l2),
            "certified_radius": None if self.radius is None else list(self.radius),
            "pictures_by_certified_floor": [list(pair) for pair in self.floors.items()],
            "undefended_harmful_pictures": self.undefended,
            "single_check_harmful_pictures": self.single_check,
            "guarded_harmful_pictures": self.guard,
            "decisions": self.decisions,
            "passed": self.passed,
        }


def find_sides(results: Sequence[SceneResult]) -> dict[Side, AttackedSide]:
    """The attacked pictures by side; sides without one are left out."""
    positions = locate_attacks(results)
    attacked = [r for r in results if r.scene.name in positions]
    return {
        side: _sum_side(some, [positions[r.scene.name] for r in some])
        for side in Side
        if (some := [r for r in attacked if positions[r.scene.name].side is side])
    }


def _sum_side(results: Sequence[SceneResult], positions: Sequence[Position]) -> AttackedSide:
    decided = [one for r in results for one in r.decided]
    return AttackedSide(
        tuple(positions),
        undefended=sum(any(r.harmful_undefended) for r in results),
        single_check=sum(any(r.harmful_single_check) for r in results),
        guard=sum(any(r.harmful_guarded) for r in results),
        decisions=len(decided),
        passed=sum(one.passed for one in decided),
    )


def side_row(side: Side, group: AttackedSide) -> tuple[str, ...]:
    """A name, and one text for each of `SIDE_COLUMNS`; several lines where rates differ."""
    pictures = len(group.positions)
    radii = [] if group.radius is None else [digits_down(radius) for radius in group.radius]
    floors = (
        f"{'none' if floor is None else digits_down(floor)}: {count}"
        for floor, count in group.floors.items()
    )
    return (
        _NAMES[side],
        _range(*map(digits_up, group.l2)),
        _range(*radii) if radii else "-",
        "\n".join(floors),
        f"{group.undefended} of {pictures}",
        f"{group.single_check} of {pictures}",
        f"{group.guard} of {pictures}",
        f"{group.passed} of {group.decisions}",
    )


def _range(least: str, largest: str) -> str:
    return least if least == largest else f"{least} to {largest}"
