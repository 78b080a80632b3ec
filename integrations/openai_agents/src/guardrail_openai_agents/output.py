"""A guardrail of the SDK on an agent's final output: judged, and hence without a certificate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agents import GuardrailFunctionOutput, OutputGuardrail

from guardrail import ContentBlocked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail import Guard

__all__ = ["judged_output"]

_QUESTION = {"model": "given", "messages": [{"role": "user", "content": "-"}]}


def judged_output(guard: Guard, name: str = "guardrail") -> OutputGuardrail[Any]:
    """For `Agent(output_guardrails=[...])`.

    The tripwire's `output_info` is the `guardrail` object of the decision; what cannot be judged
    raises. The SDK gives an output guardrail no pictures and calls it once per run, so this proves
    nothing about them: that is what GuardedModel is for.
    """

    async def judge(_context: Any, _agent: Any, output: Any) -> GuardrailFunctionOutput:
        try:
            completion = await guard.complete(_QUESTION, upstream=_said(output), on_block="raise")
        except ContentBlocked as blocked:
            return GuardrailFunctionOutput(dict(blocked.guardrail), tripwire_triggered=True)
        return GuardrailFunctionOutput(completion["guardrail"], tripwire_triggered=False)

    return OutputGuardrail(guardrail_function=judge, name=name)


def _said(output: Any) -> Any:
    """A model that has said this output; a structured one is judged as its JSON."""
    message = {"role": "assistant", "content": output if isinstance(output, str) else _json(output)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}

    def call(_body: Mapping[str, Any]) -> dict[str, Any]:
        return {"object": "chat.completion", "choices": [choice]}

    return call


def _json(output: Any) -> str:
    dump = getattr(output, "model_dump_json", None)
    return dump() if dump is not None else json.dumps(output, default=vars, ensure_ascii=False)
