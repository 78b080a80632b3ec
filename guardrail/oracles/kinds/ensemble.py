"""Several oracles that vote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from guardrail.errors import ConfigError
from guardrail.oracles.by_kind import OracleByKind
from guardrail.oracles.combined.members import build_members
from guardrail.oracles.combined.rules import Rule, Votes
from guardrail.oracles.options import HarmOptions, MissRateBound
from guardrail.section import Word
from guardrail.stats import delta_upper, k_of_n_miss_upper

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle

__all__ = ["EnsembleOptions"]


class EnsembleOptions(HarmOptions):
    """Several oracles, each with its own fields, and a rule over their votes.

    `threshold` is that of the combined score: 0.5 keeps to the votes, lower finds more harm.
    """

    kind: Literal["ensemble"]
    """Several oracles asked side by side."""
    members: Annotated[list[OracleByKind], Field(min_length=1, max_length=16)]
    """The oracles, each as a policy chooses one, with thresholds and miss rates of their own."""
    rule: Annotated[Rule, Word]
    """Harmful is what `any` member calls so, what `all` do, `k_of_n` of them, or what reaches
    `threshold` as the mean of their scores, `weighted`."""
    k: Annotated[int, Field(ge=1, le=16)] | None = None
    """For `k_of_n`: how many must call an answer harmful."""
    weights: list[Annotated[float, Field(gt=0, le=1e6)]] | None = None
    """For `weighted`: what each member's score counts, in their order."""

    @model_validator(mode="after")
    def _check_rule(self) -> Self:
        try:
            self._votes()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.combined.ensemble import EnsembleOracle

        votes = self._votes()
        return EnsembleOracle(build_members(self.members, folder), votes, threshold=self.threshold)

    def bound_miss_rate(self, folder: Path) -> MissRateBound | None:
        """Measured on the ensemble itself, or bounded by what is known of its members."""
        measured = super().bound_miss_rate(folder)
        needed = self._votes().needed
        if measured is not None or needed is None or self.threshold > 0.5:
            return measured
        known = [member.bound_miss_rate(folder) for member in self.members]
        upper = k_of_n_miss_upper([1.0 if r is None else r.miss_rate_upper for r in known], needed)
        delta = delta_upper(rates.delta for rates in known if rates is not None)
        return MissRateBound(upper, delta) if upper < 1.0 and delta < 1.0 else None

    def _votes(self) -> Votes:
        weights = None if self.weights is None else tuple(self.weights)
        return Votes(self.rule, len(self.members), self.k, weights)
