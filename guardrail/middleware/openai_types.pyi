"""What `Guard.wrap` makes of OpenAI's clients, for type checkers: answers have `guardrail`.

The classes at run time are the clients' own; only `create` says less of its arguments here.
"""

from collections.abc import Awaitable
from functools import cached_property
from typing import Any, Literal, overload

from openai import AsyncAzureOpenAI, AsyncOpenAI, AsyncStream, AzureOpenAI, OpenAI, Stream
from openai.resources.chat import AsyncChat, AsyncCompletions, Chat, Completions
from openai.resources.responses import AsyncResponses, Responses
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

class GuardedChatCompletion(ChatCompletion):
    guardrail: dict[str, Any]

class GuardedChatCompletionChunk(ChatCompletionChunk):
    guardrail: dict[str, Any] | None

class GuardedResponse(Response):
    guardrail: dict[str, Any]

class GuardedCompletions(Completions):
    @overload  # type: ignore[override]
    def create(
        self, *, stream: Literal[True], **fields: Any
    ) -> Stream[GuardedChatCompletionChunk]: ...
    @overload
    def create(
        self, *, stream: Literal[False] | None = ..., **fields: Any
    ) -> GuardedChatCompletion: ...

class AsyncGuardedCompletions(AsyncCompletions):
    @overload  # type: ignore[override]
    def create(
        self, *, stream: Literal[True], **fields: Any
    ) -> Awaitable[AsyncStream[GuardedChatCompletionChunk]]: ...
    @overload
    def create(
        self, *, stream: Literal[False] | None = ..., **fields: Any
    ) -> Awaitable[GuardedChatCompletion]: ...

class GuardedResponses(Responses):
    @overload  # type: ignore[override]
    def create(self, *, stream: Literal[True], **fields: Any) -> Stream[ResponseStreamEvent]: ...
    @overload
    def create(self, *, stream: Literal[False] | None = ..., **fields: Any) -> GuardedResponse: ...

class AsyncGuardedResponses(AsyncResponses):
    @overload  # type: ignore[override]
    def create(
        self, *, stream: Literal[True], **fields: Any
    ) -> Awaitable[AsyncStream[ResponseStreamEvent]]: ...
    @overload
    def create(
        self, *, stream: Literal[False] | None = ..., **fields: Any
    ) -> Awaitable[GuardedResponse]: ...

class GuardedChat(Chat):
    @cached_property
    def completions(self) -> GuardedCompletions: ...

class AsyncGuardedChat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncGuardedCompletions: ...

class GuardedOpenAI(OpenAI):
    @cached_property
    def chat(self) -> GuardedChat: ...
    @cached_property
    def responses(self) -> GuardedResponses: ...

class AsyncGuardedOpenAI(AsyncOpenAI):
    @cached_property
    def chat(self) -> AsyncGuardedChat: ...
    @cached_property
    def responses(self) -> AsyncGuardedResponses: ...

class GuardedAzureOpenAI(AzureOpenAI, GuardedOpenAI): ...
class AsyncGuardedAzureOpenAI(AsyncAzureOpenAI, AsyncGuardedOpenAI): ...
