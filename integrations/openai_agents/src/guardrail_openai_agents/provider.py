"""A provider whose models are all guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents import ModelProvider

from guardrail_openai_agents.model import GuardedModel

if TYPE_CHECKING:
    from agents import Model

    from guardrail import Guard

__all__ = ["GuardedModelProvider"]


class GuardedModelProvider(ModelProvider):
    """For `RunConfig(model_provider=...)`: guards what agents name as their model by a string.

    A model that an agent holds as an object is not guarded by this; make it a GuardedModel.

    Args:
        provider: finds the models.
        guard: decides.
    """

    def __init__(self, provider: ModelProvider, guard: Guard) -> None:
        self._provider = provider
        self._guard = guard

    def get_model(self, model_name: str | None) -> Model:
        return GuardedModel(self._provider.get_model(model_name), self._guard, name=model_name)

    async def aclose(self) -> None:
        """Closes the provider, where the SDK's release knows how; the guard stays open."""
        close = getattr(self._provider, "aclose", None)
        if close is not None:
            await close()
