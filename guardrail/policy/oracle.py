"""From a policy's choice to the oracle that judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardrail.oracles.registry import build_scorer
from guardrail.oracles.worker import ThreadedOracle

if TYPE_CHECKING:
    from guardrail.oracles.base import Oracle
    from guardrail.policy.schema import OracleChoice

__all__ = ["compile_oracle"]


def compile_oracle(choice: OracleChoice) -> Oracle:
    """The oracle of a policy, in a thread of its own. Raises ConfigError."""
    given = {
        "model_type": choice.model,
        "checkpoint": choice.checkpoint,
        "huggingface_config_path": choice.config_path,
    }
    options = {name: value for name, value in given.items() if value is not None}
    scorer = build_scorer(choice.kind, options)
    return ThreadedOracle(scorer, threshold=choice.threshold, name=choice.kind)
