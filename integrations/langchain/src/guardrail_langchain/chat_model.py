"""A chat model whose answers are another's, guarded."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableBinding

from guardrail import ConfigError, Guard
from guardrail_langchain.events import apublish, manager_of, named, publish
from guardrail_langchain.messages import (
    answer_of,
    chunk_of,
    completion_of,
    langchain_messages,
    openai_messages,
)
from guardrail_langchain.variants import aquietly, name_of, quietly, upstream_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
    from langchain_core.runnables import Runnable

__all__ = ["GuardedChatModel", "OnBlock"]

OnBlock = Literal["raise", "refusal"]
_T = TypeVar("_T")


class GuardedChatModel(BaseChatModel):
    """A chat model that asks another about variants; nothing leaves before the verdict.

    Attributes:
        inner: answers.
        guard: decides.
        on_block: as for `with_guardrail`.
    """

    inner: BaseChatModel
    guard: Guard
    on_block: OnBlock = "refusal"
    # So that every way to ask leads to `_generate`, whose run is told of the certificate.
    disable_streaming: bool | Literal["tool_calling"] = True
    # An answer from LangChain's cache would come without a verdict.
    cache: Any = False

    @property
    def _llm_type(self) -> str:
        return "guardrail"

    # Answers

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        def call(body: dict[str, Any]) -> dict[str, Any]:
            return completion_of(quietly(_asking(self.inner.invoke, body), run))

        run = run_manager or CallbackManagerForLLMRun.get_noop_manager()
        upstream = upstream_of(self.guard, self.inner, call)
        decided = self.guard.decide_sync(self._body(messages, stop, kwargs), upstream=upstream)
        publish(manager_of(run), decided.guardrail)
        answer = named(answer_of(decided.body(self.on_block)), run)
        run.on_llm_new_token(str(answer.text), chunk=_chunk(answer))
        return ChatResult(generations=[ChatGeneration(message=answer)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        async def call(body: dict[str, Any]) -> dict[str, Any]:
            return completion_of(await aquietly(_asking(self.inner.ainvoke, body), run))

        run = run_manager or AsyncCallbackManagerForLLMRun.get_noop_manager()
        upstream = upstream_of(self.guard, self.inner, call)
        decided = await self.guard.decide(self._body(messages, stop, kwargs), upstream=upstream)
        await apublish(manager_of(run), decided.guardrail)
        answer = named(answer_of(decided.body(self.on_block)), run)
        await run.on_llm_new_token(str(answer.text), chunk=_chunk(answer))
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def _body(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> dict[str, Any]:
        """The request as the guard reads it; unlike a server, it is not told of streams."""
        body = {**options, "model": name_of(self.inner), "messages": openai_messages(messages)}
        return body if stop is None else {**body, "stop": stop}

    # Streams

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[AIMessageChunk]:  # noqa: A002 (LangChain's name)
        """The answer as one chunk, after the verdict."""
        yield chunk_of(self.invoke(input, config, **kwargs))

    async def astream(
        self, input: Any, config: Any = None, **kwargs: Any,  # noqa: A002 (LangChain's name)
    ) -> AsyncIterator[AIMessageChunk]:  # fmt: skip
        """The answer as one chunk, after the verdict."""
        yield chunk_of(await self.ainvoke(input, config, **kwargs))

    def _stream(self, *given: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield _chunk(self._generate(*given, **kwargs).generations[0].message)

    async def _astream(self, *given: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        yield _chunk((await self._agenerate(*given, **kwargs)).generations[0].message)

    # Tools

    def bind_tools(
        self, tools: Any, *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """The same with tools, in the form that the model inside gives them.

        Where a tool must be called, as for structured output, a block is raised: a refusal calls
        none, and an agent that insists would ask again for ever.
        """
        chosen = {} if tool_choice is None else {"tool_choice": tool_choice}
        bound = self.inner.bind_tools(tools, **chosen, **kwargs)
        if not isinstance(bound, RunnableBinding):
            raise ConfigError("the model binds tools in a way of its own; use the middleware")
        on_block = self.on_block if tool_choice in (None, False, "auto", "none") else "raise"
        return self.model_copy(update={"on_block": on_block}).bind(**bound.kwargs)


def _asking(ask: Callable[..., _T], body: Mapping[str, Any]) -> Callable[[], _T]:
    """The call that a body stands for; what the guard did not read is not in it."""
    options = {name: value for name, value in body.items() if name not in ("model", "messages")}
    return functools.partial(ask, langchain_messages(body["messages"]), **options)


def _chunk(answer: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=chunk_of(answer))
