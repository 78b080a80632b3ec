"""The models that ship with the package, as they serve best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from guardrail.oracles.options import ThreadedOptions

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle
    from guardrail.oracles.combined.cascade import CascadeOracle

__all__ = ["CERTAIN", "DefaultOptions"]

CERTAIN = 0.007
"""Answers that the built-in oracle scores below this pass without the encoder: 52 % of the ordinary
ones that chose it, 59 % of others, and none of the harmful answers of models that the encoder
finds, of those that chose it (`benchmarks/harm_oracles/certain.py`). The same look at each window
by itself halves the time again, but was measured to find harm in a long answer in 73 to 80 % of
cases in place of 87 %."""


class DefaultOptions(ThreadedOptions):
    """The shipped models: the built-in one, then the encoder where that one is in doubt."""

    measured_languages: ClassVar[tuple[str, ...]] = ("en",)

    kind: Literal["default"] = "default"
    """The built-in oracle looks at every answer, the encoder at those that it does not find plainly
    harmless."""
    models: Literal["auto", "both", "builtin"] = "auto"
    """both: needs the extra `encoder`. builtin: the built-in one alone decides. auto: both where
    the extra is installed, else builtin; `guardrail policy check` says which."""
    low: Annotated[float, Field(gt=0, lt=1)] = CERTAIN
    """What the built-in oracle scores below this is harmless without a look of the encoder."""
    high: Annotated[float, Field(gt=0, le=1)] = 1.0
    """What it scores at least this is harmful without one; 1 has the encoder look at all of it."""

    @model_validator(mode="after")
    def _check_band(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"'high' must lie above 'low', which is {self.low:g}")
        return self

    @property
    def uses_encoder(self) -> bool:
        """Whether the encoder has the last word."""
        from guardrail.oracles.encoder.scorer import PACKAGES
        from guardrail.oracles.packages import are_installed

        return self.models == "both" or (self.models == "auto" and are_installed(*PACKAGES))

    def describe(self) -> str:
        if self.uses_encoder:
            return "default: the built-in oracle, and the encoder where that one is in doubt"
        missing = "" if self.models == "builtin" else "; the extra 'encoder' is not installed"
        return f"default: the built-in oracle alone{missing}"

    def build(self, folder: Path) -> Oracle:
        from guardrail.oracles.builtin import BuiltinScorer
        from guardrail.oracles.encoder.scorer import EXTRA, PACKAGES
        from guardrail.oracles.packages import require

        del folder
        if not self.uses_encoder:
            return self.run_in_thread(BuiltinScorer(), inline=True)
        require(self.kind, *PACKAGES, extra=EXTRA)
        return self._cascade()

    def _cascade(self) -> CascadeOracle:
        from guardrail.oracles.builtin import BuiltinScorer
        from guardrail.oracles.combined.cascade import CascadeOracle
        from guardrail.oracles.combined.members import Member
        from guardrail.oracles.encoder.scorer import EncoderScorer

        cheap = self.run_in_thread(BuiltinScorer(), inline=True, name="builtin", threshold=self.low)
        expensive = self.run_in_thread(EncoderScorer(), name="encoder", threshold=0.5)
        return CascadeOracle(
            Member("builtin", cheap, self.low),
            Member("encoder", expensive, 0.5),
            high=self.high,
            threshold=self.threshold,
        )
