"""Agents run by the real SDK on a guarded model: the proxy's verdicts and records."""

import asyncio
import dataclasses
import inspect
import json

import agents
import guardrail_openai_agents
import openai
import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIProvider,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
)
from agents.models.chatcmpl_converter import Converter
from guardrail_openai_agents import GuardedModel, GuardedModelProvider, judged_output
from pydantic import BaseModel

from guardrail import ContentBlocked, Guard, OracleError, RequestError
from guardrail.testing.adapters import check_adapter
from guardrail.testing.scenarios import (
    HARMFUL_TEXT,
    HARMLESS_TEXT,
    SCENARIOS,
    Scenario,
    picture_url,
)
from guardrail.testing.setting import KEY, scenario_policy
from guardrail.testing.stage import stage

agents.set_tracing_disabled(True)


def describe(what: str) -> str:
    """Files a description."""
    return f"filed: {what}"


TOOL = agents.function_tool(describe, strict_mode=False)


class Told(Scenario):
    """A scenario as the SDK words it: it names every picture's detail, and titles parameters."""

    @property
    def request(self):
        body = super().request
        for part in body["messages"][0]["content"]:
            if part["type"] == "image_url":
                part["image_url"]["detail"] = "auto"
        return body | ({"tools": [Converter.tool_to_openai(TOOL)]} if self.tools else {})


TOLD = {
    s.name: Told(**{f.name: getattr(s, f.name) for f in dataclasses.fields(s)}) for s in SCENARIOS
}
every_scenario = pytest.mark.parametrize("scenario", TOLD.values(), ids=TOLD)


def items(scenario):
    """The scenario's request as input of the SDK."""
    made = []
    for part in scenario.request["messages"][0]["content"]:
        if part["type"] == "text":
            made.append({"type": "input_text", "text": part["text"]})
        else:
            url = part["image_url"]["url"]
            made.append({"type": "input_image", "image_url": url, "detail": "auto"})
    return [{"role": "user", "content": made}]


def client_of(played):
    return openai.AsyncOpenAI(base_url=played.model.base_url, api_key="none", max_retries=0)


def agent_of(played, client, **more):
    inner = OpenAIChatCompletionsModel("scripted", client)
    return Agent(
        name="sees",
        tools=[TOOL] if played.scenario.tools else [],
        **{
            "model": GuardedModel(inner, played.guard),
            "tool_use_behavior": "stop_on_first_tool",
            **more,
        },
    )


async def ran(played, *, config=None, **more):
    """The result of a run, and all the text that it has streamed."""
    async with client_of(played) as client:
        agent, given = agent_of(played, client, **more), items(played.scenario)
        if not played.scenario.stream:
            return await Runner.run(agent, given, run_config=config), ""
        result = Runner.run_streamed(agent, given, run_config=config)
        raw = [e.data async for e in result.stream_events() if e.type == "raw_response_event"]
        return result, "".join(d.delta for d in raw if d.type == "response.output_text.delta")


@every_scenario
def test_a_scenario(scenario):
    with stage(scenario) as played:
        if scenario.error is None:
            result, streamed = asyncio.run(ran(played))
            expected = "filed: coloured squares" if scenario.tools else scenario.text
            assert result.final_output == expected
            assert streamed == (scenario.text if scenario.stream else "")
        else:
            with pytest.raises(scenario.error) as raised:
                asyncio.run(ran(played))
            assert HARMFUL_TEXT not in str(raised.value)
        played.check()


def test_where_the_guard_leaves_older_pictures_out_the_adapter_says_that_it_cannot():
    async def run(played, guard):
        async with client_of(played) as client:
            model = GuardedModel(OpenAIChatCompletionsModel("scripted", client), guard)
            said = {"role": "assistant", "content": "A cat."}
            given = [*items(played.scenario), said, *items(played.scenario)]
            await Runner.run(agent_of(played, client, model=model), given)

    policy = scenario_policy()
    images = policy.images.model_copy(update={"history": "last 1"})
    with (
        stage(TOLD["clean"]) as played,
        Guard(policy.model_copy(update={"images": images}), key=KEY) as guard,
        pytest.raises(RequestError, match=r"images\.history"),
    ):
        asyncio.run(run(played, guard))


def test_a_run_of_synchronous_code():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # older releases run on the current one
    with stage(TOLD["clean"]) as played:
        client = client_of(played)
        try:
            result = Runner.run_sync(agent_of(played, client), items(played.scenario))
            assert result.final_output == HARMLESS_TEXT
        finally:
            loop.run_until_complete(client.close())
            asyncio.set_event_loop(None)
            loop.close()
        played.check()


def test_the_response_holds_the_certificate():
    with stage(TOLD["clean"]) as played:
        result, _ = asyncio.run(ran(played))
        about = result.raw_responses[0].guardrail
        assert about["record_id"] == played.journal.records[0].record_id
        assert about["certificate"]["radius"] > 0


def test_the_last_event_of_a_stream_holds_the_certificate():
    async def last(played):
        async with client_of(played) as client:
            result = Runner.run_streamed(agent_of(played, client), items(played.scenario))
            return [e.data async for e in result.stream_events() if e.type == "raw_response_event"]

    with stage(TOLD["streaming"]) as played:
        end = asyncio.run(last(played))[-1]
        assert end.type == "response.completed"
        assert end.response.guardrail["decision"] == "pass"


def test_a_block_holds_the_certificate():
    with stage(TOLD["forbidden"]) as played:
        with pytest.raises(ContentBlocked) as raised:
            asyncio.run(ran(played))
        assert raised.value.guardrail["decision"] == "block"
        assert raised.value.certificate is not None


def test_a_block_may_be_a_refusal():
    with stage(TOLD["forbidden"], on_block="refusal") as played:

        async def answered():
            async with client_of(played) as client:
                model = GuardedModel(OpenAIChatCompletionsModel("m", client), played.guard)
                return await model.get_response(*_arguments(items(played.scenario)), **_STATE)

        (message,) = asyncio.run(answered()).output
        said, refused = message.content
        assert (said.type, refused.type) == ("output_text", "refusal")
        assert said.text == refused.refusal


def test_a_tools_picture_is_refused_with_a_remedy():
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    picture = {"type": "input_image", "image_url": picture_url(), "detail": "auto"}
    output = {"type": "function_call_output", "call_id": "c", "output": [picture]}
    with stage(TOLD["clean"]) as played:

        async def asked():
            async with client_of(played) as client:
                model = GuardedModel(OpenAIChatCompletionsModel("m", client), played.guard)
                given = [{"role": "user", "content": "Look."}, call, output]
                await model.get_response(*_arguments(given), **_STATE)

        with pytest.raises(RequestError, match="a tool's output"):
            asyncio.run(asked())
        assert played.model.calls == []


def test_a_run_on_a_refusal_delivers_no_answer():
    """Older releases take it for an empty output, newer ones raise an error of their own."""
    with stage(TOLD["forbidden"], on_block="refusal") as played:
        try:
            told = asyncio.run(ran(played))[0].final_output
        except agents.AgentsException as error:
            told = str(error)
        assert HARMFUL_TEXT not in told
        assert played.journal.records[0].action == played.scenario.action


def test_a_provider_guards_models_by_name():
    async def asked(played):
        async with client_of(played) as client:
            inner = OpenAIProvider(openai_client=client, use_responses=False)
            provider = GuardedModelProvider(inner, played.guard)
            agent = Agent(name="sees", model="scripted")
            config = RunConfig(model_provider=provider, tracing_disabled=True)
            result = await Runner.run(agent, items(played.scenario), run_config=config)
            await provider.aclose()
            return result.final_output

    with stage(TOLD["clean"]) as played:
        assert asyncio.run(asked(played)) == HARMLESS_TEXT
        played.check()


def test_each_turn_of_a_conversation_is_decided():
    """The tool's result goes back to the model, which then answers in words."""
    with stage(TOLD["tools"]) as played:
        more = {"tool_use_behavior": "run_llm_again"}
        with pytest.raises(agents.MaxTurnsExceeded):
            asyncio.run(_limited(played, more))
        assert len(played.journal.records) == 2


async def _limited(played, more):
    async with client_of(played) as client:
        agent = agent_of(played, client, **more)
        return await Runner.run(agent, items(played.scenario), max_turns=2)


def test_variants_go_to_the_model_and_nothing_else():
    with stage(TOLD["clean"]) as played:
        asyncio.run(ran(played))
        (record,) = played.journal.records
        sent = items(played.scenario)[0]["content"][1]["image_url"]
        assert len(played.model.calls) == record.calls
        assert all(sent not in json.dumps(call.body) for call in played.model.calls)


def test_a_picture_that_cannot_be_guarded_is_refused():
    """Files have no place in the guard's request, so a variant has no picture for them."""
    given = [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]
    with stage(TOLD["clean"]) as played:

        async def asked():
            async with client_of(played) as client:
                return await Runner.run(agent_of(played, client), given)

        with pytest.raises((RequestError, agents.UserError)):
            asyncio.run(asked())
        assert played.model.calls == []


def test_cancelling_a_run_ends_its_variants():
    with stage(TOLD["clean"]) as played:
        inner = Waiting()

        async def cancelled():
            agent = agent_of(played, None, model=GuardedModel(inner, played.guard))
            run = asyncio.create_task(Runner.run(agent, items(played.scenario)))
            await inner.asked.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run

        asyncio.run(cancelled())
        assert inner.begun == inner.ended > 0


class Waiting(agents.Model):
    """Never answers."""

    def __init__(self):
        self.asked, self.begun, self.ended = asyncio.Event(), 0, 0

    async def get_response(self, *_args, **_given):
        self.begun += 1
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1

    def stream_response(self, *_args, **_given):
        raise NotImplementedError


# The output guardrail


class Report(BaseModel):
    text: str


@pytest.mark.parametrize("wrap", [str, lambda text: Report(text=text), lambda text: [text]])
def test_an_output_is_judged(wrap):
    with stage(TOLD["clean"]) as played:
        rail = judged_output(played.guard)

        async def judged(text):
            return (await rail.run(None, None, wrap(text))).output

        passed, blocked = asyncio.run(judged(HARMLESS_TEXT)), asyncio.run(judged(HARMFUL_TEXT))
    assert (passed.tripwire_triggered, blocked.tripwire_triggered) == (False, True)
    assert blocked.output_info["decision"] == "block"
    assert passed.output_info["certificate"] is None


def test_the_tripwire_ends_a_run():
    with stage(TOLD["forbidden"]) as played:

        async def asked():
            async with client_of(played) as client:
                bare = OpenAIChatCompletionsModel("scripted", client)
                rails = [judged_output(played.guard)]
                agent = agent_of(played, client, model=bare, output_guardrails=rails)
                return await Runner.run(agent, items(played.scenario))

        with pytest.raises(OutputGuardrailTripwireTriggered) as raised:
            asyncio.run(asked())
        assert raised.value.guardrail_result.output.output_info["decision"] == "block"


def test_an_output_that_cannot_be_judged_ends_a_run():
    with stage(TOLD["oracle down"]) as played, pytest.raises(OracleError):
        asyncio.run(judged_output(played.guard).run(None, None, HARMLESS_TEXT))


def test_it_is_thin_and_decides_nothing():
    check_adapter(guardrail_openai_agents)


def _arguments(given):
    return None, given, ModelSettings(), [], None, [], agents.ModelTracing.DISABLED


_STATE = {
    name: None
    for name in inspect.signature(agents.Model.get_response).parameters
    if name in ("previous_response_id", "conversation_id", "prompt")
}
