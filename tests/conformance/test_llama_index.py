"""LlamaIndex's models for OpenAI, by chat completions and by the Responses API."""

import openai
import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI, OpenAIResponses

CLIENT = "llama-index-llms-openai"

pytestmark = pytest.mark.usefixtures("own_loop")


def test_what_the_user_sees(kit, world, check, ask):
    begun = len(world.upstream.calls)
    check(CLIENT, ask, observed(kit, world.url(ask), ask))
    if ask.leave:
        assert set(kit.gone(world, begun)) == {kit.State.CANCELLED}


def observed(kit, url, ask):
    if ask.api == "messages":
        return None
    kind = OpenAIResponses if ask.api == "responses" else OpenAI
    timeout = kit.LEAVE_S if ask.leave else 30
    model = kind(model=kit.MODEL, api_base=url, api_key="k", max_retries=0, timeout=timeout)
    try:
        return _asked(kit, model, ask)
    except (openai.OpenAIError, ValueError) as error:
        return kit.raised_by_openai(error)


def weather(city: str) -> str:
    """The weather of a city."""
    return f"Rain in {city}."


def _asked(kit, model, ask):
    question = [ChatMessage(role="user", blocks=_blocks(kit, ask))]
    if ask.schema:
        made = model.as_structured_llm(kit.Animal).chat(question)
        return kit.line(raw_animal=made.raw.animal)
    if ask.again:
        question += [model.chat(question).message, ChatMessage(role="user", content=ask.again)]
    if ask.tool:
        return _tool(kit, model, question, ask)
    if not ask.stream:
        return _line(kit, [model.chat(question)])
    return _line(kit, list(model.stream_chat(question, **_usage(ask))))


def _usage(ask):
    return {} if ask.api == "responses" else {"stream_options": {"include_usage": True}}


def _tool(kit, model, question, ask):
    tools = [FunctionTool.from_defaults(weather)]
    if ask.stream:
        made = list(model.stream_chat_with_tools(tools, chat_history=question))
    else:
        made = [model.chat_with_tools(tools, chat_history=question)]
    read = model.get_tool_calls_from_response
    return _line(kit, made, read(made[-1], error_on_no_tool_call=False))


def _blocks(kit, ask):
    blocks = [TextBlock(text=ask.prompt)]
    return [*blocks, ImageBlock(url=kit.picture_url())] if ask.picture else blocks


def _line(kit, made, found=()):
    return kit.line(
        content=made[-1].message.content or None,
        tool_calls=kit.calls((c.tool_name, kit.json.dumps(c.tool_kwargs)) for c in found),
        **_raw([response.raw for response in made]),
    )


def _raw(raws):
    """What `ChatResponse.raw` adds: the provider's own answer, or each of its chunks."""
    choices = [choice for raw in raws for choice in getattr(raw, "choices", None) or []]
    said = [getattr(choice, "message", None) or choice.delta for choice in choices]
    ends = [getattr(raw, "response", raw) for raw in raws]
    details = [getattr(end, "incomplete_details", None) for end in ends]
    usages = [getattr(end, "usage", None) for end in ends]
    return {
        "raw_refusal": "".join(part.refusal or "" for part in said) or None,
        "raw_finish_reason": _last(choice.finish_reason for choice in choices),
        "raw_incomplete": _last(detail and detail.reason for detail in details),
        "raw_usage": _last(usage and usage.total_tokens for usage in usages),
    }


def _last(values):
    return next(reversed([value for value in values if value is not None]), None)
