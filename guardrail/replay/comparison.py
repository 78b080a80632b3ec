"""One recorded policy against the policy that is asked about, as far as decisions go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from guardrail.replay.effects import Effect, find_changes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.replay.effects import FieldChange
    from guardrail.types import Json

__all__ = ["PolicyComparison"]

_JUDGING = frozenset({Effect.ORACLE, Effect.THRESHOLD, Effect.JUDGING, Effect.EARLY_STOP})


@dataclass(frozen=True)
class PolicyComparison:
    """What differs between the contents of two policies (`guardrail.policy.content`).

    Attributes:
        old: of the policy that decided.
        new: of the one that is asked about.
    """

    old: Mapping[str, Json]
    new: Mapping[str, Json]

    @cached_property
    def changes(self) -> tuple[FieldChange, ...]:
        """Every field that differs."""
        return find_changes(self.old, self.new)

    @cached_property
    def effects(self) -> frozenset[Effect]:
        """What they act on."""
        return frozenset(change.effect for change in self.changes)

    @property
    def is_same(self) -> bool:
        """Whether both are one policy, name included."""
        return not self.changes

    @property
    def decides_alike(self) -> bool:
        """Whether nothing differs that a decision follows from, once it is begun."""
        return not self.effects - {Effect.NAME, Effect.MODE, Effect.NOTHING, Effect.REQUESTS}

    def differs_in(self, *effects: Effect) -> bool:
        """Whether any field with one of these effects differs."""
        return bool(self.effects & set(effects))

    @property
    def judging(self) -> frozenset[Effect]:
        """What differs in how answers are counted; empty where each counts as it did."""
        return self.effects & _JUDGING

    @property
    def finds_as_much(self) -> bool:
        """Whether all that the oracle found harmful it finds harmful again."""
        return self._is_cut_alone and self._cut_difference <= 0.0

    @property
    def finds_no_more(self) -> bool:
        """Whether all that the oracle found harmless it finds harmless again."""
        return self._is_cut_alone and self._cut_difference >= 0.0

    @property
    def _is_cut_alone(self) -> bool:
        """Whether of the judging nothing but the threshold differs, if that does."""
        return self.judging <= {Effect.THRESHOLD}

    @property
    def _cut_difference(self) -> float:
        """How much higher the new threshold is; NaN where there is none."""
        old, new = self.thresholds
        if old is None or new is None:
            return 0.0 if old is new else math.nan
        return new - old

    @property
    def changes_noise(self) -> bool:
        """Whether pictures would be shown with other noise, or in another form.

        The size of the canvas is left out: the sizes in a certificate say whether it matters.
        """
        fields = {change.field for change in self.changes if change.effect is Effect.DRAWS}
        is_png = all(one["advanced"]["images"]["variant_format"] == "png" for one in self.both)
        return bool(fields - ({"advanced.images.variant_quality"} if is_png else set()))

    @property
    def both(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        return self.old, self.new

    @property
    def thresholds(self) -> tuple[float | None, float | None]:
        """The oracle's threshold, old and new."""
        old, new = (one["oracle"].get("threshold") for one in self.both)
        return old, new

    @property
    def breaks_off(self) -> tuple[int | None, int | None]:
        """`judge_every_chars`, old and new."""
        old, new = (one["advanced"]["sampling"]["judge_every_chars"] for one in self.both)
        return old, new

    def failures(self, name: str) -> tuple[Any, Any]:
        """A field of `failures`, old and new."""
        return self.old["failures"][name], self.new["failures"][name]

    def limits(self, name: str) -> tuple[Any, Any]:
        """A field of `advanced.limits`, old and new."""
        return self.old["advanced"]["limits"][name], self.new["advanced"]["limits"][name]
