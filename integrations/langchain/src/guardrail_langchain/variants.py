"""Calls about variants, hidden from callbacks and streams, as their answers are not judged yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.callbacks import CallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables.config import ensure_config, set_config_context
from langchain_core.tracers import LangChainTracer
from langgraph.constants import TAG_NOSTREAM
from langgraph.runtime import Runtime

from guardrail import ConfigError, FunctionUpstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_core.runnables import RunnableConfig

    from guardrail import Guard

__all__ = ["TAG_VARIANT", "aquietly", "name_of", "quiet_model", "quietly", "upstream_of"]

TAG_VARIANT = "guardrail:variant"
"""Tags every call about a variant, as traces show it."""

_T = TypeVar("_T")


def quietly(ask: Callable[[], _T], run: Any = None) -> _T:
    """Asks without callbacks and streams; in LangSmith below the run, if one is given."""
    with set_config_context(_quiet(ensure_config(), run)) as context:
        return context.run(ask)


async def aquietly(ask: Callable[[], Awaitable[_T]], run: Any = None) -> _T:
    """The same for async functions."""

    async def asked() -> _T:
        return await ask()

    with set_config_context(_quiet(ensure_config(), run)) as context:
        return await asyncio.create_task(asked(), context=context)


def quiet_model(model: Any) -> BaseChatModel:
    """The model without listeners of its own, and with an answer for each variant.

    Raises:
        ConfigError: it is not a chat model.
    """
    if not isinstance(model, BaseChatModel):
        raise ConfigError(
            f"only chat models can be guarded, and {type(model).__name__} is not one; guard the "
            "model inside it",
            field="model",
        )
    return model.model_copy(update={"callbacks": None, "cache": False})


def upstream_of(guard: Guard, model: Any, call: Callable[..., Any]) -> FunctionUpstream:
    """A function that asks a model, named after it in records and certificates."""
    encoded = guard.policy.advanced.images.variant_format
    return FunctionUpstream(call, name=f"langchain:{name_of(model)}", variant_format=encoded)


def name_of(model: BaseChatModel) -> str:
    """The name of the model that answers, as its provider knows it."""
    names = (getattr(model, name, None) for name in ("model_name", "model", "model_id"))
    return next((name for name in names if name and isinstance(name, str)), model.get_name())


def _quiet(config: RunnableConfig, run: Any) -> RunnableConfig:
    """No callbacks that could tell a user, and no way into the streams of a graph."""
    given = config.get("configurable") or {}
    kept = {
        name: _silent(value)
        for name, value in given.items()
        if not name.startswith("__") or isinstance(value, Runtime)
    }
    tags = [*(config.get("tags") or []), TAG_NOSTREAM, TAG_VARIANT]
    quiet = {**config, "callbacks": _traced(run), "configurable": kept, "tags": tags}
    return cast("RunnableConfig", quiet)


def _traced(run: Any) -> Any:
    handlers = [] if run is None else run.handlers
    tracers: list[Any] = [tracer for tracer in handlers if isinstance(tracer, LangChainTracer)]
    return CallbackManager(tracers, tracers, run.run_id) if tracers else []


def _silent(value: Any) -> Any:
    return value.override(stream_writer=_nowhere) if isinstance(value, Runtime) else value


def _nowhere(_: Any) -> None:
    """A stream writer that drops everything."""
