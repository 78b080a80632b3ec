"""A workflow with one guarded step, which other steps ask and which says what came of it."""

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.workflow import Event, Workflow, step

from guardrail import ContentBlocked
from guardrail_llama_index.llm import GuardedLLM

__all__ = ["Answered", "Asked", "GuardedWorkflow", "Withheld"]


class Asked(Event):
    """Messages for the model."""

    messages: list[ChatMessage]


class Answered(Event):
    """An answer that the guard lets pass."""

    response: ChatResponse


class Withheld(Event):
    """An answer that the guard keeps back: the policy's words, and the `guardrail` object."""

    message: str
    guardrail: dict[str, Any]


class GuardedWorkflow(Workflow):
    """For subclasses: return Asked from a step, take Answered and Withheld in others.

    What cannot be decided raises, and ends the workflow.

    Args:
        llm: answers.
        options: the workflow's own.
    """

    def __init__(self, llm: GuardedLLM, **options: Any) -> None:
        super().__init__(**options)
        self._llm = llm

    @step
    async def ask_guarded(self, event: Asked) -> Answered | Withheld:
        try:
            return Answered(response=await self._llm.achat(event.messages))
        except ContentBlocked as blocked:
            return Withheld(message=str(blocked), guardrail=dict(blocked.guardrail))
