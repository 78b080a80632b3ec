"""Any model of the SDK, behind the guard."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from agents import Model, ModelTracing, OpenAIChatCompletionsModel

from guardrail_openai_agents.client import GuardClient
from guardrail_openai_agents.items import completion_of, with_pictures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from guardrail import Guard

__all__ = ["GuardedModel"]

_SIGNATURE = inspect.signature(Model.get_response)


class GuardedModel(Model):
    """Asks a model about noisy variants of its input and answers with what the guard decided.

    The SDK's own model for chat completions translates between the SDK and the guard; what it
    would send to OpenAI goes to the guard, and the given model is asked for every variant.

    A decision's `guardrail` object is the attribute `guardrail` of the ModelResponse, and in
    streams of the response of the last event. A block raises ContentBlocked, unless the guard was
    made with `on_block="refusal"`.

    Args:
        model: answers the variants.
        guard: decides.
        name: the model's name in requests and records; by default its own.
    """

    def __init__(self, model: Model, guard: Guard, *, name: str | None = None) -> None:
        self._model = model
        self._guard = guard
        self._name = name or str(getattr(model, "model", "agents"))

    async def get_response(self, *args: Any, **given: Any) -> Any:
        front, client = self._front(args, given)
        response = await front.get_response(*args, **given)
        response.guardrail = client.guardrail  # type: ignore[attr-defined]  # the SDK has no place
        return response

    async def stream_response(self, *args: Any, **given: Any) -> AsyncIterator[Any]:
        """Nothing is sent before the verdict on the whole answer."""
        front, client = self._front(args, given)
        async for event in front.stream_response(*args, **given):
            if event.type == "response.completed":
                event.response.guardrail = client.guardrail  # type: ignore[attr-defined]  # as above
            yield event

    async def close(self) -> None:
        """Closes the model, where the SDK's release knows how; the guard stays open."""
        close = getattr(self._model, "close", None)
        if close is not None:
            await close()

    def _front(
        self, args: tuple[Any, ...], given: Mapping[str, Any]
    ) -> tuple[OpenAIChatCompletionsModel, GuardClient]:
        """What translates one call, and the client that it sends by."""
        asked = _SIGNATURE.bind(self, *args, **given).arguments
        del asked["self"]

        async def ask(body: Mapping[str, Any]) -> dict[str, Any]:
            # Untraced: spans of the variants would show unjudged answers.
            variant = {"input": with_pictures(asked["input"], body["messages"])}
            options = {**asked, **variant, "tracing": ModelTracing.DISABLED}
            return completion_of(await self._model.get_response(**options), self._name)

        client = GuardClient(self._guard, ask)
        return OpenAIChatCompletionsModel(self._name, client), client  # type: ignore[arg-type]  # all that is asked of a client
