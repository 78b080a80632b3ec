"""A decision as those who watch a run are told: metadata of the run, and an event of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    CallbackManager,
    adispatch_custom_event,
    dispatch_custom_event,
)
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer
from langchain_core.utils.utils import LC_ID_PREFIX

from guardrail_langchain.messages import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.callbacks.base import BaseCallbackManager
    from langchain_core.messages import AIMessage

__all__ = ["EVENT", "apublish", "manager_of", "named", "publish"]

EVENT = "guardrail"
"""The event's name; its data is the answer's `guardrail` object."""


def publish(callbacks: BaseCallbackManager, about: Mapping[str, Any]) -> None:
    """Tells the run that asked."""
    if callbacks.parent_run_id is not None:
        _mark(callbacks, plain(about))
        dispatch_custom_event(EVENT, plain(about), config={"callbacks": callbacks})


async def apublish(callbacks: BaseCallbackManager, about: Mapping[str, Any]) -> None:
    """The same for runs on an event loop."""
    if callbacks.parent_run_id is not None:
        _mark(callbacks, plain(about))
        await adispatch_custom_event(EVENT, plain(about), config={"callbacks": callbacks})


def manager_of(run: Any) -> BaseCallbackManager:
    """The callbacks of a model's run, whose events belong to the run itself."""
    is_async = isinstance(run, AsyncCallbackManagerForLLMRun)
    kind = AsyncCallbackManager if is_async else CallbackManager
    return kind(run.handlers, run.inheritable_handlers, run.run_id)


def named(answer: AIMessage, run: Any) -> AIMessage:
    """The answer under the name of its run, by which streams know it again."""
    return answer.model_copy(update={"id": f"{LC_ID_PREFIX}-{run.run_id}"})


def _mark(callbacks: BaseCallbackManager, about: dict[str, Any]) -> None:
    """LangSmith and other tracers show it with the run."""
    for tracer in callbacks.handlers:
        if isinstance(tracer, BaseTracer | AsyncBaseTracer):
            run = tracer.run_map.get(str(callbacks.parent_run_id))
            if run is not None:
                run.add_metadata({EVENT: about})
