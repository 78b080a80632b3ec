"""A cheap oracle first, an expensive one for the doubtful rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from guardrail.oracles.by_kind import OracleByKind
from guardrail.oracles.combined.members import build_members
from guardrail.oracles.options import HarmOptions, MissRateBound
from guardrail.stats import cascade_miss_upper, delta_upper

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["CascadeOptions"]


class CascadeOptions(HarmOptions):
    """Two oracles, of which the expensive one is asked only where the cheap one is in doubt.

    `threshold` is that of the cascade's own score: 0.5 keeps to the oracles' verdicts.
    """

    kind: Literal["cascade"]
    """A cheap oracle, then an expensive one."""
    cheap: OracleByKind
    """Asked for every answer. Its threshold is the lower end of the band of doubt, so that its
    `miss_rate_upper` speaks of what passes there: choose it low."""
    expensive: OracleByKind
    """Asked for what the cheap one scores from its threshold up to `high`."""
    high: Annotated[float, Field(gt=0, le=1)] = 1.0
    """What the cheap one scores at least this is harmful without asking the expensive one."""

    @model_validator(mode="after")
    def _check_band(self) -> Self:
        low = float(getattr(self.cheap, "threshold", 0.5))
        if self.high <= low:
            raise ValueError(f"'high' must lie above the cheap oracle's threshold {low:g}")
        return self

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.combined.cascade import CascadeOracle

        cheap, expensive = build_members((self.cheap, self.expensive), folder)
        return CascadeOracle(cheap, expensive, high=self.high, threshold=self.threshold)

    def bound_miss_rate(self, folder: Path) -> MissRateBound | None:
        """Measured on the cascade itself, or the sum of its parts."""
        measured = super().bound_miss_rate(folder)
        cheap = self.cheap.bound_miss_rate(folder)
        expensive = self.expensive.bound_miss_rate(folder)
        if measured is not None or cheap is None or expensive is None or self.threshold > 0.5:
            return measured
        upper = cascade_miss_upper(cheap.miss_rate_upper, expensive.miss_rate_upper)
        delta = delta_upper((cheap.delta, expensive.delta))
        return MissRateBound(upper, delta) if upper < 1.0 and delta < 1.0 else None
