"""Any LLM of LlamaIndex, behind the guard."""

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import Field
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection

from guardrail import ConfigError, Guard
from guardrail_llama_index.answers import Pieces, chat_response, text_of, tool_selections
from guardrail_llama_index.asking import Asking

__all__ = ["GuardedLLM"]


class GuardedLLM(FunctionCallingLLM):
    """Asks an LLM about noisy variants of the messages and answers with what the guard decided.

    A decision's `guardrail` object is in `additional_kwargs["guardrail"]` of the response, and all
    of the decided completion in `raw`. A block raises ContentBlocked, unless the guard was made
    with `on_block="refusal"`. Streams begin once the verdict on the whole answer is known.

    Args:
        inner: answers the variants.
        guard: decides.
    """

    # Neither is shown to callbacks: an LLM's fields may hold keys.
    inner: LLM = Field(exclude=True)
    guard: Any = Field(exclude=True)

    def __init__(self, inner: LLM, guard: Guard, **options: Any) -> None:
        super().__init__(inner=inner, guard=guard, **options)

    @classmethod
    def class_name(cls) -> str:
        return "GuardedLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return self.inner.metadata

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        asking = Asking(self.inner, messages, kwargs)
        return chat_response(self.guard.complete_sync(asking.request, upstream=asking.ask))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        asking = Asking(self.inner, messages, kwargs)
        return chat_response(await self.guard.complete(asking.request, upstream=asking.ask_async))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        asking = Asking(self.inner, messages, kwargs)

        def pieces() -> ChatResponseGen:
            told = Pieces()
            for chunk in self.guard.stream_sync(asking.request, upstream=asking.ask):
                yield told.add(chunk)

        return pieces()

    @llm_chat_callback()
    async def astream_chat(
        self, messages: Sequence[ChatMessage], **kwargs: Any
    ) -> ChatResponseAsyncGen:
        asking = Asking(self.inner, messages, kwargs)

        async def pieces() -> ChatResponseAsyncGen:
            told = Pieces()
            async for chunk in self.guard.stream(asking.request, upstream=asking.ask_async):
                yield told.add(chunk)

        return pieces()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: ARG002 (LlamaIndex's signature)
        return text_of(self.chat([ChatMessage(prompt)], **kwargs))

    @llm_completion_callback()
    async def acomplete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002 (as above)
        **kwargs: Any,
    ) -> CompletionResponse:
        return text_of(await self.achat([ChatMessage(prompt)], **kwargs))

    @llm_completion_callback()
    def stream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002 (as above)
        **kwargs: Any,
    ) -> CompletionResponseGen:
        return (text_of(piece) for piece in self.stream_chat([ChatMessage(prompt)], **kwargs))

    @llm_completion_callback()
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,  # noqa: ARG002 (as above)
        **kwargs: Any,
    ) -> CompletionResponseAsyncGen:
        pieces = await self.astream_chat([ChatMessage(prompt)], **kwargs)
        return (text_of(piece) async for piece in pieces)

    def _prepare_chat_with_tools(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As the inner LLM words tools; what it makes of them goes through `chat`."""
        if not isinstance(self.inner, FunctionCallingLLM):
            raise ConfigError(
                f"{self.inner.class_name()} calls no functions; take an LLM that does"
            )
        prepared: dict[str, Any] = self.inner._prepare_chat_with_tools_compat(*args, **kwargs)  # noqa: SLF001 (what subclasses are to answer for)
        return prepared

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,
        **_kwargs: Any,
    ) -> list[ToolSelection]:
        selections = tool_selections(response)
        if error_on_no_tool_call and not selections:
            raise ValueError("the model called no tool")
        return selections
