"""LangChain's chat model for OpenAI."""

import langchain_openai
import openai
from langchain_core.exceptions import LangChainException
from langchain_core.messages import AIMessageChunk, HumanMessage

CLIENT = "langchain-openai"


def test_what_the_user_sees(kit, world, check, ask):
    begun = len(world.upstream.calls)
    check(CLIENT, ask, observed(kit, world.url(ask), ask))
    if ask.leave:
        assert set(kit.gone(world, begun)) == {kit.State.CANCELLED}


def observed(kit, url, ask):
    if ask.api == "messages":
        return None
    model = langchain_openai.ChatOpenAI(
        model=kit.MODEL,
        base_url=url,
        api_key="k",
        max_retries=0,
        timeout=kit.LEAVE_S if ask.leave else 30,
        use_responses_api=ask.api == "responses",
        stream_usage=True,
    )
    try:
        return _asked(kit, model, ask)
    except (openai.OpenAIError, LangChainException, ValueError) as error:
        return kit.raised_by_openai(error)


def _asked(kit, model, ask):
    question = [HumanMessage(kit.content(ask))]
    if ask.schema:
        return _structured(kit, model, question)
    if ask.tool:
        model = model.bind_tools([kit.TOOL])
    if ask.again:
        question += [model.invoke(question), HumanMessage(ask.again)]
    if ask.stream:
        first, *rest = model.stream(question)
        message = sum(rest, first)
    else:
        message = model.invoke(question)
    return _line(kit, message)


def _structured(kit, model, question):
    found = model.with_structured_output(kit.Animal, include_raw=True).invoke(question)
    error = found["parsing_error"]
    return kit.line(
        parsed=found["parsed"] and found["parsed"].animal,
        parsing_error=error and type(error).__name__,
    )


def _line(kit, message):
    kind = "AIMessageChunk" if isinstance(message, AIMessageChunk) else "AIMessage"
    assert type(message).__name__ == kind
    told = message.response_metadata
    parts = message.content if isinstance(message.content, list) else []
    refusals = [part["refusal"] for part in parts if part["type"] == "refusal"]
    return kit.line(
        text=message.text or None,
        additional_kwargs_refusal=message.additional_kwargs.get("refusal"),
        content_refusal=refusals[0] if refusals else None,
        tool_calls=kit.calls((c["name"], kit.json.dumps(c["args"])) for c in message.tool_calls),
        finish_reason=told.get("finish_reason"),
        status=told.get("status"),
        incomplete=(told.get("incomplete_details") or {}).get("reason"),
        usage=message.usage_metadata["total_tokens"],
        certificate=True if (told.get("guardrail") or {}).get("certificate") else None,
    )


def test_the_verdict_in_the_headers(kit, world):
    model = langchain_openai.ChatOpenAI(
        model=kit.MODEL,
        base_url=world.urls["refusal"],
        api_key="k",
        include_response_headers=True,
    )
    headers = model.invoke("Say something bad.").response_metadata["headers"]
    assert headers["x-guardrail-decision"] == "block"
