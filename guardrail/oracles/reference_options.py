"""What the oracles that compare answers with a reference have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, field_validator

from guardrail.errors import ConfigError
from guardrail.oracles.by_kind import OracleByKind
from guardrail.oracles.combined.members import build_members
from guardrail.oracles.options import MissRateBound, OracleOptions

if TYPE_CHECKING:
    from pathlib import Path

    from guardrail.oracles.base import Oracle
    from guardrail.oracles.calibration import Calibration

__all__ = ["ReferenceOptions"]


class ReferenceOptions(OracleOptions):
    """An oracle that chooses a reference on draws of its own and compares fresh answers with it."""

    n0: Annotated[int, Field(ge=1, le=64)] = 8
    """Draws that the reference is chosen on; none of them is counted. Where no reference is that
    of more than half of them, the request is blocked without a test."""
    harm: OracleByKind | None = None
    """An oracle of harm beside it: an answer must be like the reference and harmless. Its miss
    rate is what the harmlessness claim needs."""

    @field_validator("harm")
    @classmethod
    def _check_harm(cls, harm: OracleOptions | None) -> OracleOptions | None:
        if harm is not None and harm.reference_kind:
            raise ValueError("must be an oracle of harm: it cannot choose a reference too")
        return harm

    def bound_miss_rate(self, folder: Path) -> MissRateBound | None:
        """Those of the oracle of harm; without one nothing is known of harm."""
        return None if self.harm is None else self.harm.bound_miss_rate(folder)

    def load_calibration(self, folder: Path) -> Calibration | None:
        """None: a calibration is of the oracle of harm, and is checked here to fit it."""
        if self.harm is not None:
            self.harm.load_calibration(folder)
        return None

    def with_calibration(self, folder: Path) -> Self:
        if self.harm is None:
            return self
        return self.model_copy(update={"harm": self.harm.with_calibration(folder)})

    def build_harm(self, folder: Path) -> Oracle | None:
        """The oracle of harm, which is the one that its calibration measured.

        Raises:
            ConfigError: it cannot be built, or is not that one.
            OracleError: it cannot be loaded.
        """
        if self.harm is None:
            return None
        (member,) = build_members((self.harm,), folder)
        calibration = self.harm.load_calibration(folder)
        if calibration is not None and calibration.oracle_revision != member.oracle.revision:
            raise ConfigError(
                "the oracle of harm has changed since it was calibrated; calibrate again",
                field="oracle.harm",
            )
        return member.oracle
