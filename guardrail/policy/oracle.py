"""From a policy's choice to the oracle that judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardrail.oracles.base import Oracle
    from guardrail.policy.schema import Policy

__all__ = ["compile_oracle"]


def compile_oracle(policy: Policy) -> Oracle:
    """The oracle of a policy, its paths read from the policy's folder.

    Raises:
        ConfigError: a package is missing or an option is not usable.
    """
    return policy.oracle.build(policy.folder)
