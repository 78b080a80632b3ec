"""`GuardrailMiddleware`: the model calls of an agent, guarded."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelResponse, hook_config
from langchain_core.messages import AIMessage
from langchain_core.runnables.config import (
    ensure_config,
    get_async_callback_manager_for_config,
    get_callback_manager_for_config,
)
from langchain_core.utils.function_calling import convert_to_openai_tool

from guardrail import RequestError, UpstreamError
from guardrail_langchain.events import apublish, publish
from guardrail_langchain.messages import (
    answer_of,
    completion_of,
    langchain_messages,
    openai_messages,
)
from guardrail_langchain.variants import aquietly, name_of, quiet_model, quietly, upstream_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from langchain.agents.middleware import ModelRequest

    from guardrail import Guard
    from guardrail_langchain.chat_model import OnBlock

__all__ = ["GuardrailMiddleware"]


class GuardrailMiddleware(AgentMiddleware):
    """Calls the rest of the agent's model call once for every variant of its pictures.

    What is listed after it in `create_agent(middleware=[...])` runs once a variant; what is listed
    before it sees decided answers only.

    Args:
        guard: decides.
        on_block: `refusal` ends the loop with the policy's words as the model's answer; `raise`
            raises ContentBlocked out of the agent.
    """

    def __init__(self, guard: Guard, *, on_block: OnBlock = "refusal") -> None:
        super().__init__()
        self.guard = guard
        self.on_block = on_block

    def wrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]
    ) -> ModelResponse:
        heard = _Heard(request)

        def call(body: dict[str, Any]) -> dict[str, Any]:
            return heard.completion(quietly(functools.partial(handler, heard.variant(body))))

        callbacks = get_callback_manager_for_config(ensure_config())
        upstream = upstream_of(self.guard, request.model, call)
        decided = self.guard.decide_sync(_body(request), upstream=upstream)
        publish(callbacks, decided.guardrail)
        return heard.response(decided.body(self.on_block))

    async def awrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse:
        heard = _Heard(request)

        async def call(body: dict[str, Any]) -> dict[str, Any]:
            asking = functools.partial(handler, heard.variant(body))
            return heard.completion(await aquietly(asking))

        callbacks = get_async_callback_manager_for_config(ensure_config())
        upstream = upstream_of(self.guard, request.model, call)
        decided = await self.guard.decide(_body(request), upstream=upstream)
        await apublish(callbacks, decided.guardrail)
        return heard.response(decided.body(self.on_block))

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: AgentState, runtime: Any) -> dict[str, Any] | None:  # noqa: ARG002 (LangChain's signature)
        """Ends the loop at a block: an agent that waits for structured output would ask again."""
        about = state["messages"][-1].response_metadata.get("guardrail", {})
        return {"jump_to": "end"} if about.get("decision") == "block" else None


class _Heard:
    """The requests about variants, and what came of them."""

    def __init__(self, request: ModelRequest) -> None:
        self._request = request.override(model=quiet_model(request.model))
        self._pairs: list[tuple[Mapping[str, Any], ModelResponse]] = []

    def variant(self, body: Mapping[str, Any]) -> ModelRequest:
        """The request with the messages of a body."""
        messages = langchain_messages(body["messages"])
        system = messages.pop(0) if self._request.system_message else None
        return self._request.override(messages=messages, system_message=system)

    def completion(self, response: ModelResponse) -> dict[str, Any]:
        answers = [message for message in response.result if isinstance(message, AIMessage)]
        if len(answers) != 1:
            raise UpstreamError(
                f"the model call gave {len(answers)} answers where one is judged; check the "
                "middleware after the guard's"
            )
        completion = completion_of(answers[0])
        self._pairs.append((completion["choices"][0]["message"], response))
        return completion

    def response(self, completion: Mapping[str, Any]) -> ModelResponse:
        """What is delivered, with what the agent made of that very answer (structured output)."""
        answer, delivered = answer_of(completion), completion["choices"][0]["message"]
        for said, response in self._pairs:
            if said.items() <= delivered.items():
                return _with_answer(response, answer)
        return ModelResponse(result=[answer])


def _with_answer(response: ModelResponse, answer: AIMessage) -> ModelResponse:
    result = [answer if isinstance(said, AIMessage) else said for said in response.result]
    return ModelResponse(result=result, structured_response=response.structured_response)


def _body(request: ModelRequest) -> dict[str, Any]:
    """The request as the guard reads it."""
    system = [request.system_message] if request.system_message else []
    body = {
        **request.model_settings,
        "model": name_of(request.model),
        "messages": openai_messages([*system, *request.messages]),
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    return body if request.tool_choice is None else {**body, "tool_choice": request.tool_choice}


def _tool(tool: Any) -> dict[str, Any]:
    try:
        return convert_to_openai_tool(tool)
    except (KeyError, TypeError, ValueError):
        raise RequestError(
            "tools: a tool has no form in OpenAI's chat; give functions", param="tools"
        ) from None
