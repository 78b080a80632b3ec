"""What the SDK's model for chat completions uses of an OpenAI client, with a guard behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from openai.types.chat import ChatCompletion, ChatCompletionChunk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from guardrail import Guard

__all__ = ["GuardClient"]

_ASIDE = ("extra_headers", "extra_query", "extra_body")
_JSON = (str, int, float, bool, list, tuple, dict)


class GuardClient:
    """Answers `chat.completions.create` by a guard.

    Attributes:
        guardrail: the `guardrail` object of the last answer.
    """

    base_url = httpx.URL("http://guardrail.invalid/v1/")

    def __init__(
        self, guard: Guard, ask: Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
    ) -> None:
        self._guard = guard
        self._ask = ask
        self.guardrail: Any = None

    @property
    def chat(self) -> GuardClient:
        return self

    @property
    def completions(self) -> GuardClient:
        return self

    async def create(self, **given: Any) -> Any:
        """A chat completion, or its chunks; raises what the guard raises."""
        body = _body(given)
        if body.get("stream"):
            return self._chunks(self._guard.stream(body, upstream=self._ask))
        completion = await self._guard.complete(body, upstream=self._ask)
        self.guardrail = completion["guardrail"]
        return ChatCompletion.model_validate(completion)

    async def _chunks(self, made: AsyncIterator[dict[str, Any]]) -> AsyncIterator[Any]:
        async for chunk in made:
            self.guardrail = chunk.get("guardrail") or self.guardrail
            yield ChatCompletionChunk.model_validate(chunk)


def _body(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, as the body that OpenAI's client would send."""
    body = {name: value for name, value in given.items() if isinstance(value, _JSON)}
    for name in _ASIDE:
        body.pop(name, None)
    return {**body, **(given.get("extra_body") or {})}
