"""A provider for LiteLLM: `certified/MODEL` is MODEL behind the guard, on every route to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
from litellm.exceptions import APIError
from litellm.llms.custom_llm import CustomLLM

from guardrail import Guard, GuardrailError

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Iterator, Mapping

__all__ = ["CertifiedProvider"]


class CertifiedProvider(CustomLLM):
    """Registered in LiteLLM's `custom_provider_map`, by whatever name.

    Args:
        policy: the name of a shipped policy, or a file.
        key: the file of the secret that noise is derived from; it is made if it is not there.
        records: the file that decisions are appended to.
        guard: in place of the three.

    Raises:
        ConfigError: an argument cannot be used.
    """

    def __init__(
        self,
        policy: str = "default",
        *,
        key: str | os.PathLike[str] | None = None,
        records: str | os.PathLike[str] | None = None,
        guard: Guard | None = None,
    ) -> None:
        super().__init__()
        self.guard = guard or Guard(policy, key=key, records=records, on_block="refusal")

    async def acompletion(self, *args: Any, **given: Any) -> Any:  # noqa: ARG002 (all are named)
        try:
            return await self.guard.wrap(litellm.acompletion)(**_asked(given))
        except GuardrailError as error:
            raised = _failure(error, given["model"])
        raise raised

    def completion(self, *args: Any, **given: Any) -> Any:  # noqa: ARG002 (as above)
        try:
            return self.guard.wrap(litellm.completion)(**_asked(given))
        except GuardrailError as error:
            raised = _failure(error, given["model"])
        raise raised

    async def astreaming(self, *args: Any, **given: Any) -> AsyncIterator[Any]:  # type: ignore[override]  # as LiteLLM's own providers do
        for piece in _pieces(await self.acompletion(*args, **given)):
            yield piece

    def streaming(self, *args: Any, **given: Any) -> Iterator[Any]:
        yield from _pieces(self.completion(*args, **given))


def _asked(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the inner model is asked; LiteLLM has taken the provider off its name."""
    options = {name: given[name] for name in ("api_key", "api_base", "timeout") if given.get(name)}
    parameters = dict(given.get("optional_params") or {})
    for name in ("stream", "stream_options"):  # the decided answer is made a stream afterwards
        parameters.pop(name, None)
    return {**parameters, **options, "model": given["model"], "messages": given["messages"]}


def _failure(error: GuardrailError, model: str) -> Exception:
    """One of LiteLLM's own errors, which it passes on with its status and its words."""
    return APIError(error.status, str(error), llm_provider="guardrail", model=model)


def _pieces(response: Any) -> Iterator[dict[str, Any]]:
    """The decided answer in the chunks of LiteLLM's custom providers: text, then each tool call."""
    (choice,) = response.choices
    message = choice.message
    if message.content:
        yield _chunk(text=message.content)
    for index, call in enumerate(message.tool_calls or []):
        yield _chunk(tool_use={**call.model_dump(), "index": index})
    yield _chunk(
        is_finished=True,
        finish_reason=choice.finish_reason,
        provider_specific_fields={"guardrail": response.guardrail},
    )


def _chunk(**fields: Any) -> dict[str, Any]:
    empty = {"text": "", "is_finished": False, "finish_reason": "", "index": 0}
    return {**empty, "tool_use": None, "usage": None, **fields}
