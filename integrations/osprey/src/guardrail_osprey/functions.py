"""The function as Osprey's rules call it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from osprey.engine.udf.arguments import ArgumentsBase
from osprey.engine.udf.base import UDFBase

from guardrail_osprey.asking import ask_verdict

if TYPE_CHECKING:
    from osprey.engine.executor.execution_context import ExecutionContext

__all__ = ["CertifiedVerdict", "CertifiedVerdictArguments"]


class CertifiedVerdictArguments(ArgumentsBase):
    image: str
    prompt: str
    policy: str = ""


class CertifiedVerdict(UDFBase[CertifiedVerdictArguments, str]):
    """What the guard does with a picture: `let through`, `stopped` or `not decided`."""

    execute_async = True  # a decision takes many calls to the model
    category = "Guardrail"

    def execute(
        self,
        execution_context: ExecutionContext,  # noqa: ARG002 (Osprey's)
        arguments: CertifiedVerdictArguments,
    ) -> str:
        return ask_verdict(arguments.image, arguments.prompt, arguments.policy)
