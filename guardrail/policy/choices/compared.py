"""What the oracles that compare answers with a reference have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, field_validator

from guardrail.errors import ConfigError
from guardrail.policy.choices.base import Choice, Rates
from guardrail.policy.choices.members import build_members

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle
    from guardrail.policy.calibration import Calibration
    from guardrail.policy.choices import OracleChoice  # noqa: TC004 (resolved by the package)

__all__ = ["ComparedChoice"]


class ComparedChoice(Choice):
    """An oracle that chooses a reference on draws of its own and compares fresh answers with it."""

    n0: Annotated[int, Field(ge=1, le=64)] = 8
    """Draws that the reference is chosen on; none of them is counted. Where no reference is that
    of more than half of them, the request is blocked without a test."""
    harm: OracleChoice | None = None
    """An oracle of harm beside it: an answer must be like the reference and harmless. Its miss
    rate is what the harmlessness claim needs."""

    @field_validator("harm")
    @classmethod
    def _check_harm(cls, harm: Choice | None) -> Choice | None:
        if getattr(harm, "kind", "") in ("action", "semantic"):
            raise ValueError("must be an oracle of harm: it cannot choose a reference too")
        return harm

    def rates(self, folder: Path) -> Rates | None:
        """Those of the oracle of harm; without one nothing is known of harm."""
        return None if self.harm is None else self.harm.rates(folder)

    def measured(self, folder: Path) -> Calibration | None:
        """None: a calibration is of the oracle of harm, and is checked here to fit it."""
        if self.harm is not None:
            self.harm.measured(folder)
        return None

    def calibrated(self, folder: Path) -> Self:
        if self.harm is None:
            return self
        return self.model_copy(update={"harm": self.harm.calibrated(folder)})

    def build_harm(self, folder: Path) -> Oracle | None:
        """The oracle of harm, which is the one that its calibration measured.

        Raises:
            ConfigError: it cannot be built, or is not that one.
            OracleError: it cannot be loaded.
        """
        if self.harm is None:
            return None
        (member,) = build_members((self.harm,), folder)
        calibration = self.harm.measured(folder)
        if calibration is not None and calibration.oracle_revision != member.oracle.revision:
            raise ConfigError(
                "the oracle of harm has changed since it was calibrated; calibrate again",
                field="oracle.harm",
            )
        return member.oracle
