"""The oracle that a policy chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.errors import ConfigError
from guardrail.oracles.registry import build_oracle

if TYPE_CHECKING:
    from guardrail.oracles.base import Oracle
    from guardrail.policy.schema import Policy

__all__ = ["compile_oracle"]


def compile_oracle(policy: Policy) -> Oracle:
    """The oracle of a policy, its paths read from the policy's folder.

    Raises:
        ConfigError: a package is missing, an option is not usable, or the oracle is not the one
            that its calibration measured.
    """
    options = policy.oracle.with_calibration(policy.folder)
    oracle = build_oracle(options, policy.folder)
    calibration = options.load_calibration(policy.folder)
    if calibration is not None and calibration.oracle_revision != oracle.revision:
        raise ConfigError(
            f"the oracle has changed since it was calibrated: its revision is {oracle.revision}, "
            f"and {calibration.oracle_revision} was measured; calibrate again",
            file=str(policy.folder / str(getattr(options, "calibration", ""))),
            field="oracle_revision",
        )
    return oracle
