"""LlamaIndex's own LLM for OpenAI behind the guard: the proxy's verdicts and records."""

import asyncio
import base64
import json
from contextlib import contextmanager
from typing import ClassVar

import guardrail_llama_index
import httpx
import pytest
from guardrail_llama_index import Answered, Asked, GuardedLLM, GuardedWorkflow, Withheld
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ImageBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.llms.mock import MockLLM
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import StartEvent, StopEvent, step
from llama_index.llms.openai import OpenAI, OpenAIResponses
from pydantic import BaseModel

from guardrail import ConfigError, ContentBlocked, Guard, RequestError
from guardrail.assembly import build_engine
from guardrail.server.serve import running_server
from guardrail.testing.adapters import check_adapter
from guardrail.testing.scenarios import HARMFUL_TEXT, HARMLESS_TEXT, SCENARIOS
from guardrail.testing.setting import KEY, scenario_policy
from guardrail.testing.stage import stage
from guardrail.upstreams.scripted import Scripted as ScriptedModel
from guardrail.upstreams.scripted import Step

NAMED = {scenario.name: scenario for scenario in SCENARIOS}
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


class Scripted(OpenAI):
    """OpenAI's LLM for a model whose name the library does not know."""

    @property
    def metadata(self):
        return LLMMetadata(
            model_name="scripted", is_chat_model=True, is_function_calling_model=True
        )


@contextmanager
def playing(scenario, **options):
    """A scenario, and a guarded LLM in front of its model."""
    with stage(scenario, **options) as played, httpx.Client(trust_env=False) as client:
        inner = Scripted(
            model="gpt-4o",
            api_base=played.model.base_url,
            api_key="none",
            max_retries=0,
            http_client=client,
            async_http_client=httpx.AsyncClient(trust_env=False, limits=_NO_IDLE),
        )
        yield played, GuardedLLM(inner, played.guard)


_NO_IDLE = httpx.Limits(max_keepalive_connections=0)  # nobody closes what async calls leave open


def messages(scenario):
    """The scenario's request in LlamaIndex's form."""
    (message,) = scenario.request["messages"]
    blocks = []
    for part in message["content"]:
        if part["type"] == "text":
            blocks.append(TextBlock(text=part["text"]))
        else:
            blocks.append(ImageBlock(url=part["image_url"]["url"]))
    return [ChatMessage(role=MessageRole.USER, blocks=blocks)]


def options(scenario):
    return {"tools": scenario.request["tools"]} if scenario.tools else {}


def chatted(scenario, llm):
    """The response, and all that was streamed before it."""
    asked = messages(scenario)
    if not scenario.stream:
        return llm.chat(asked, **options(scenario)), ""
    pieces = list(llm.stream_chat(asked))
    return pieces[-1], "".join(piece.delta for piece in pieces)


async def chatted_async(scenario, llm):
    asked = messages(scenario)
    if not scenario.stream:
        return await llm.achat(asked, **options(scenario)), ""
    pieces = [piece async for piece in await llm.astream_chat(asked)]
    return pieces[-1], "".join(piece.delta for piece in pieces)


@every_scenario
@pytest.mark.parametrize(
    "is_async",
    [pytest.param(False, id="sync", marks=pytest.mark.nightly), pytest.param(True, id="async")],
)
def test_a_scenario(scenario, is_async):
    with playing(scenario) as (played, llm):

        def ask():
            if is_async:
                return asyncio.run(chatted_async(scenario, llm))
            return chatted(scenario, llm)

        if scenario.error is not None:
            with pytest.raises(scenario.error) as raised:
                ask()
            assert HARMFUL_TEXT not in str(raised.value)
        else:
            response, streamed = ask()
            assert response.message.content == scenario.text
            assert streamed == (scenario.text if scenario.stream else "")
            assert response.additional_kwargs["guardrail"]["decision"] == "pass"
            assert len(llm.get_tool_calls_from_response(response, False)) == int(scenario.tools)
        played.check()


def test_where_the_guard_leaves_older_pictures_out_the_adapter_says_that_it_cannot():
    policy = scenario_policy()
    images = policy.images.model_copy(update={"history": "last 1"})
    with (
        playing(NAMED["clean"]) as (played, llm),
        Guard(policy.model_copy(update={"images": images}), key=KEY) as guard,
    ):
        (asked,) = messages(played.scenario)
        said = ChatMessage(role=MessageRole.ASSISTANT, content="A cat.")
        with pytest.raises(RequestError, match=r"images\.history"):
            GuardedLLM(llm.inner, guard).chat([asked, said, asked])


def test_the_response_holds_the_certificate():
    with playing(NAMED["clean"]) as (played, llm):
        response = llm.chat(messages(played.scenario))
        about = response.additional_kwargs["guardrail"]
        assert about["record_id"] == played.journal.records[0].record_id
        assert about["certificate"]["radius"] > 0
        assert response.raw["guardrail"] == about


def test_a_block_holds_the_certificate():
    with playing(NAMED["forbidden"]) as (played, llm):
        with pytest.raises(ContentBlocked) as raised:
            llm.chat(messages(played.scenario))
        assert raised.value.certificate is not None


@contextmanager
def by(kind, step):
    """A guarded LLM whose inner one asks a model that answers by both of OpenAI's interfaces."""
    policy = scenario_policy()
    engine = build_engine(policy, ScriptedModel([step]), KEY)
    with (
        running_server(policy, engine) as server,
        Guard(policy, key=KEY) as guard,
        httpx.Client(trust_env=False) as client,
    ):
        inner = kind(
            model="gpt-4o",
            api_base=server.base_url,
            api_key="none",
            max_retries=0,
            http_client=client,
        )
        yield GuardedLLM(inner, guard)


@pytest.mark.parametrize("kind", [OpenAI, OpenAIResponses])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("model", "text", "end"),
    [
        (Step(message={"content": None, "refusal": "I would rather not."}), "I would rather not.",
         "stop"),
        (Step("Two squ", finish_reason="length"), "Two squ", "length"),
    ],
    ids=["refusal", "cut short"],
)  # fmt: skip
def test_what_the_inner_llm_says_beside_its_content(kind, streamed, model, text, end):
    with by(kind, model) as llm:
        asked = [ChatMessage("What is this?")]
        pieces = [*llm.stream_chat(asked)] if streamed else [llm.chat(asked)]
    assert pieces[-1].message.content == text
    assert "".join(piece.delta or "" for piece in pieces) == (text if streamed else "")
    assert pieces[-1].additional_kwargs["finish_reason"] == end
    if not streamed:
        assert pieces[-1].raw["usage"]["total_tokens"] == 12


def test_a_block_may_be_a_refusal():
    with playing(NAMED["forbidden"], on_block="refusal") as (played, llm):
        response = llm.chat(messages(played.scenario))
        assert "blocked" in response.message.content
        assert response.additional_kwargs["finish_reason"] == "content_filter"
        *_, last = llm.stream_chat(messages(played.scenario))
        assert last.message.content == response.message.content
        assert last.additional_kwargs["guardrail"]["decision"] == "block"


def test_a_prompt_is_asked_about_once():
    with playing(NAMED["clean"]) as (played, llm):
        response = llm.complete("Hello")
        assert response.text == HARMLESS_TEXT
        assert response.additional_kwargs["guardrail"]["certificate"] is None
        *_, last = llm.stream_complete("Hello")
        assert last.text == HARMLESS_TEXT
        assert len(played.model.calls) == 2


def test_a_prompt_is_asked_about_once_async():
    async def asked(llm):
        pieces = [piece async for piece in await llm.astream_complete("Hello")]
        return (await llm.acomplete("Hello")).text, pieces[-1].text

    with playing(NAMED["clean"]) as (played, llm):
        assert asyncio.run(asked(llm)) == (HARMLESS_TEXT, HARMLESS_TEXT)
        assert len(played.model.calls) == 2


def test_variants_go_to_the_model_and_nothing_else():
    with playing(NAMED["two images"]) as (played, llm):
        llm.chat(messages(played.scenario))
        (record,) = played.journal.records
        assert len(played.model.calls) == record.calls
        for part in played.scenario.request["messages"][0]["content"][1:]:
            sent = part["image_url"]["url"]
            assert all(sent not in json.dumps(call.body) for call in played.model.calls)


@pytest.mark.parametrize("held", ["bytes", "file"])
def test_pictures_in_other_forms(held, tmp_path):
    with playing(NAMED["clean"]) as (played, llm):
        asked = messages(played.scenario)
        raw = base64.b64decode(str(asked[0].blocks[1].url).partition(",")[2])
        (tmp_path / "picture.png").write_bytes(raw)
        given = {"image": raw} if held == "bytes" else {"path": tmp_path / "picture.png"}
        asked[0].blocks[1] = ImageBlock(**given)
        assert llm.chat(asked).message.content == HARMLESS_TEXT
        played.check()


@pytest.mark.parametrize(
    "block",
    [ImageBlock(url="http://127.0.0.1:9/picture.png"), AudioBlock(audio=b"RIFF", format="wav")],
    ids=["address", "audio"],
)
def test_what_cannot_be_guarded_is_refused(block):
    with playing(NAMED["clean"]) as (played, llm):
        with pytest.raises(RequestError):
            llm.chat([ChatMessage(role=MessageRole.USER, blocks=[block])])
        assert played.model.calls == []


def test_cancelling_ends_the_variants():
    inner, Waiting.asked = Waiting(), asyncio.Event()

    async def cancelled(played):
        llm = GuardedLLM(inner, played.guard)
        task = asyncio.create_task(llm.achat(messages(played.scenario)))
        await Waiting.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with playing(NAMED["clean"]) as (played, _):
        asyncio.run(cancelled(played))
    assert Waiting.begun == Waiting.ended > 0


class Waiting(MockLLM):
    """Never answers."""

    asked: ClassVar[asyncio.Event | None] = None
    begun: ClassVar[int] = 0
    ended: ClassVar[int] = 0

    async def achat(self, *_args, **_kwargs):
        Waiting.begun += 1
        Waiting.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            Waiting.ended += 1


# In LlamaIndex's own parts


def describe(what: str) -> str:
    """Files a description."""
    return f"filed: {what}"


TOOL = FunctionTool.from_defaults(describe, return_direct=True)


def test_tools_are_called():
    with playing(NAMED["tools"]) as (_, llm):
        response = llm.predict_and_call([TOOL], user_msg="What is it?")
        assert "filed: coloured squares" in response.response


def test_an_agent():
    async def ran(llm):
        agent = FunctionAgent(tools=[TOOL], llm=llm, streaming=False)
        return str(await agent.run(user_msg="What is it?"))

    with playing(NAMED["tools"]) as (played, llm):
        assert "filed: coloured squares" in asyncio.run(ran(llm))
        assert len(played.journal.records) == 1


def test_an_agent_that_streams():
    async def ran(llm):
        agent = FunctionAgent(tools=[TOOL], llm=llm, streaming=True)
        return str(await agent.run(user_msg="What is it?"))

    with playing(NAMED["tools"]) as (played, llm):
        assert "filed: coloured squares" in asyncio.run(ran(llm))
        assert len(played.journal.records) == 1


def test_calls_and_results_go_back_as_history():
    call = {"id": "c", "type": "function", "function": {"name": "describe", "arguments": "{}"}}
    history = [
        ChatMessage("What is it?"),
        ChatMessage(None, role=MessageRole.ASSISTANT, additional_kwargs={"tool_calls": [call]}),
        ChatMessage("filed", role=MessageRole.TOOL, additional_kwargs={"tool_call_id": "c"}),
    ]
    with playing(NAMED["clean"]) as (played, llm):
        assert llm.chat(history).message.content == HARMLESS_TEXT
        _, called, result = played.model.calls[0].body["messages"]
        assert called["tool_calls"][0]["id"] == result["tool_call_id"] == "c"


def test_tools_need_an_llm_that_calls_them():
    with playing(NAMED["tools"]) as (played, _), pytest.raises(ConfigError, match="functions"):
        GuardedLLM(MockLLM(), played.guard).chat_with_tools([TOOL], user_msg="x")


def test_no_key_and_no_content_in_what_callbacks_see():
    with playing(NAMED["clean"]) as (_, llm):
        assert "none" not in json.dumps(llm.to_dict())
        assert "guard" not in llm.to_dict()


class Report(BaseModel):
    text: str


def test_structured_output_is_judged_before_it_is_parsed():
    with playing(NAMED["forbidden"]) as (_, llm):
        program = LLMTextCompletionProgram.from_defaults(
            output_cls=Report, llm=llm, prompt_template_str="Report."
        )
        with pytest.raises(ContentBlocked):
            program()


# The workflow


class Seeing(GuardedWorkflow):
    @step
    async def begin(self, event: StartEvent) -> Asked:
        return Asked(messages=event.messages)

    @step
    async def end(self, event: Answered | Withheld) -> StopEvent:
        return StopEvent(result=event)


def run_workflow(scenario):
    async def ran(llm):
        return await Seeing(llm, timeout=60).run(messages=messages(scenario))

    with playing(scenario) as (played, llm):
        event = asyncio.run(ran(llm))
        played.check()
        return event


def test_a_workflow_is_answered():
    event = run_workflow(NAMED["clean"])
    assert event.response.message.content == HARMLESS_TEXT
    assert event.response.additional_kwargs["guardrail"]["decision"] == "pass"


def test_a_workflow_is_told_of_a_block():
    event = run_workflow(NAMED["uncertain"])
    assert isinstance(event, Withheld)
    assert event.guardrail["reason"] == "uncertain"


def test_a_workflow_ends_where_nothing_can_be_decided():
    with pytest.raises(Exception, match="judged"):
        run_workflow(NAMED["oracle down"])


def test_it_is_thin_and_decides_nothing():
    check_adapter(guardrail_llama_index)
