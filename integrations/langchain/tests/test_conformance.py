"""Every scenario through the wrapper and the middleware: the proxy's verdicts and records."""

import asyncio

import guardrail_langchain
import pytest
from guardrail_langchain import GuardrailMiddleware, with_guardrail
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

from guardrail import ContentBlocked, OracleError, UpstreamError
from guardrail.testing.adapters import check_adapter
from guardrail.testing.scenarios import SCENARIOS
from guardrail.testing.stage import stage

each = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)


def chat_model(played):
    return ChatOpenAI(
        model="scripted", base_url=played.model.base_url, api_key="unused", max_retries=0
    )


def through_wrapper(played, *, is_async, on_block):
    model = with_guardrail(chat_model(played), played.guard, on_block=on_block)
    request = played.scenario.request
    if "tools" in request:
        model = model.bind_tools(request["tools"])
    if is_async:
        return asyncio.run(_ask(model, request))
    if request.get("stream"):
        return _whole(model.stream(request["messages"]))
    return model.invoke(request["messages"])


async def _ask(model, request):
    if request.get("stream"):
        return _whole([chunk async for chunk in model.astream(request["messages"])])
    return await model.ainvoke(request["messages"])


def _whole(chunks):
    first, *others = chunks
    return sum(others, first)


def through_middleware(played, *, is_async, on_block):
    request = played.scenario.request
    agent = create_agent(
        chat_model(played),
        tools=request.get("tools", []),
        middleware=[GuardrailMiddleware(played.guard, on_block=on_block)],
    )
    given = {"messages": request["messages"]}
    state = asyncio.run(agent.ainvoke(given)) if is_async else agent.invoke(given)
    return state["messages"][-1]


ways = pytest.mark.parametrize(
    ("ask", "is_async"),
    [
        pytest.param(through_wrapper, False, id="wrapper-sync"),
        pytest.param(through_wrapper, True, id="wrapper-async", marks=pytest.mark.nightly),
        pytest.param(through_middleware, False, id="middleware-sync", marks=pytest.mark.nightly),
        pytest.param(through_middleware, True, id="middleware-async"),
    ],
)


@each
@ways
def test_the_adapter_decides_as_the_proxy_does(scenario, ask, is_async):
    with stage(scenario) as played:
        if scenario.error is None:
            answer = ask(played, is_async=is_async, on_block="raise")
            assert answer.text == (scenario.text or "")
            assert bool(answer.tool_calls) == scenario.tools
            assert answer.response_metadata["guardrail"]["reason"] == scenario.reason
        else:
            with pytest.raises(scenario.error) as caught:
                ask(played, is_async=is_async, on_block="raise")
            assert isinstance(caught.value, ContentBlocked | OracleError | UpstreamError)
        played.check()


def test_it_keeps_the_rules_of_adapters():
    check_adapter(guardrail_langchain)
