"""`with_guardrail`: any chat model, its answers guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableBinding

from guardrail_langchain.chat_model import GuardedChatModel
from guardrail_langchain.variants import quiet_model

if TYPE_CHECKING:
    from guardrail import Guard
    from guardrail_langchain.chat_model import OnBlock

__all__ = ["with_guardrail"]


def with_guardrail(model: Any, guard: Guard, *, on_block: OnBlock = "refusal") -> Any:
    """The model with guarded answers: a chat model, or a binding where one was given.

    Args:
        model: any chat model, also with tools or other options bound.
        guard: decides.
        on_block: `refusal` answers with the policy's words, which ends an agent's loop as any
            answer does, and which no fallback or retry takes for a failure; `raise` raises
            ContentBlocked.

    Raises:
        ConfigError: it is not a chat model.
    """
    if isinstance(model, RunnableBinding):
        bound = with_guardrail(model.bound, guard, on_block=on_block)
        return model.model_copy(update={"bound": bound})
    quiet = quiet_model(model)
    return GuardedChatModel(inner=quiet, guard=guard, on_block=on_block, callbacks=model.callbacks)
