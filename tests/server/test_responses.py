"""The official client's Responses API against the running proxy."""

import itertools
from types import SimpleNamespace

import openai
import pytest
from pydantic import BaseModel
from starlette.requests import Request

from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server.guarded import _owner_of
from guardrail.server.serve import running_server
from guardrail.upstreams.scripted import Fault, Scripted, Step

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
LATE = ServerSettings(first_byte_s=0.001, heartbeat_s=0.001)
SLOW_S = 0.1
BLOCKED = "This request was blocked: its answer could not be shown to be harmless."


@pytest.fixture
def ask(kit):
    """Asks once through a fresh proxy; a slow model makes streams begin before their verdict."""

    def asked(script, *, sections=None, upstream=None, **fields):
        late = isinstance(script[0], Step) and script[0].delay_s
        policy = kit.make_policy(**(sections or {}))
        upstream = upstream or Scripted(script)
        engine = Engine(compile_policy(policy), upstream, kit.Words(), NoiseKey(bytes(32)))
        settings = LATE if late else ServerSettings(first_byte_s=60, heartbeat_s=60)
        with (
            running_server(policy, engine, settings=settings) as server,
            openai.OpenAI(base_url=server.base_url, api_key="t", max_retries=0) as client,
        ):
            made = client.responses.create(
                **{"model": "scripted", "input": "What is this?"} | fields
            )
            return list(made) if fields.get("stream") else made

    return asked


@pytest.fixture
def pictured(kit):
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": kit.data_url(), "detail": "low"},
    ]
    return [{"role": "user", "content": parts}]


def test_a_text(ask):
    made = ask(["Hello."], instructions="Be brief.", temperature=0.5, metadata={"a": "b"})
    assert made.output_text == "Hello."
    assert (made.status, made.incomplete_details, made.error) == ("completed", None, None)
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.total_tokens) == (
        7,
        5,
        12,
    )
    assert (made.instructions, made.temperature, made.metadata) == ("Be brief.", 0.5, {"a": "b"})
    assert made.model_extra["store"] is False
    assert made.model_extra["guardrail"]["reason"] == "not certified: no image"


def test_a_picture(ask, pictured):
    made = ask(["A picture."], input=pictured)
    assert made.output_text == "A picture."
    assert made.model_extra["guardrail"]["certificate"]["radius"] >= 0.25
    assert made.usage.output_tokens == 160


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
def test_a_stream(ask, pictured, delay_s):
    made = ask([Step("A picture of a cat.", delay_s=delay_s)], input=pictured, stream=True)
    # One that waited says several times that it is in progress.
    assert [kind for kind, _ in itertools.groupby(event.type for event in made)] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in made] == list(range(len(made)))
    assert made[0].response.output == []
    end = made[-1].response
    assert (end.status, end.output_text) == ("completed", "A picture of a cat.")
    assert end.model_extra["guardrail"]["samples"]["total"] == 32
    assert end.usage.output_tokens == 160


def test_the_clients_own_stream_helper_adds_up(kit):
    class Colour(BaseModel):
        name: str

    words = '{"name": "' + "very " * 40 + 'red"}'
    step = Step(message={"content": words, "tool_calls": [CALL]})
    upstream = Scripted([step])
    policy = kit.make_policy()
    engine = Engine(compile_policy(policy), upstream, kit.Words(), NoiseKey(bytes(32)))
    with (
        running_server(policy, engine) as server,
        openai.OpenAI(base_url=server.base_url, api_key="t", max_retries=0) as client,
        client.responses.stream(model="scripted", input="Hi", text_format=Colour) as stream,
    ):
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        made = stream.get_final_response()
    assert "".join(pieces) == words
    assert len(pieces) > 1
    assert made.output_parsed.name.endswith("red")
    assert made.output[1].arguments == CALL["function"]["arguments"]
    asked = upstream.calls[0].body["response_format"]
    assert (asked["type"], asked["json_schema"]["strict"]) == ("json_schema", True)


def test_a_tool_call_and_its_result(ask):
    upstream = Scripted([Step(message={"tool_calls": [CALL]}, finish_reason="tool_calls"), "Done."])
    first = ask(["x"], upstream=upstream, tools=[TOOL], tool_choice="required")
    (call,) = first.output
    assert (call.type, call.call_id, call.name) == ("function_call", "c", "f")
    assert (call.arguments, call.status, first.status) == ('{"a": "b"}', "completed", "completed")
    history = [
        {"role": "user", "content": "Do it."},
        *first.output,
        {"type": "function_call_output", "call_id": "c", "output": "done"},
    ]
    assert ask(["x"], upstream=upstream, input=history, tools=[TOOL]).output_text == "Done."
    before, after = (call.body for call in upstream.calls)
    assert before["tool_choice"] == "required"
    assert before["tools"][0]["function"]["name"] == "f"
    assert after["messages"] == [
        {"role": "user", "content": "Do it."},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ]


def test_a_streamed_tool_call(ask):
    made = ask([Step(message={"tool_calls": [CALL]})], stream=True)
    deltas = [e.delta for e in made if e.type == "response.function_call_arguments.delta"]
    (done,) = [e for e in made if e.type == "response.function_call_arguments.done"]
    assert "".join(deltas) == done.arguments == CALL["function"]["arguments"]
    assert made[-1].response.output[0].name == "f"


@pytest.fixture
def talk(kit):
    """A client of one proxy, for conversations, and the provider's log."""
    policy, upstream = kit.make_policy(), Scripted(_answer)
    engine = Engine(compile_policy(policy), upstream, kit.Words(), NoiseKey(bytes(32)))
    with (
        running_server(policy, engine) as server,
        openai.OpenAI(base_url=server.base_url, api_key="t", max_retries=0) as client,
    ):
        yield client.responses, upstream


def _answer(call):
    if "tools" in call.body and call.body["messages"][-1]["role"] != "tool":
        return Step(message={"content": None, "tool_calls": [CALL]}, finish_reason="tool_calls")
    return f"Answer {len(call.body['messages'])}."


def said(words):
    return {"role": "user", "content": [{"type": "input_text", "text": words}]}


@pytest.mark.parametrize("named", [True, False])
def test_a_conversation_over_turns(talk, named):
    """Earlier answers come back whole, or by the ids that clients take for stored."""
    responses, upstream = talk
    turns = []
    for words in ("One.", "Two.", "Three."):
        turns.append(said(words))
        made = responses.create(model="m", input=turns)
        items = made.model_dump(exclude_none=True)["output"]
        turns += [{"type": "item_reference", "id": i["id"]} for i in items] if named else items
    assert [message["content"] for message in upstream.calls[-1].body["messages"]] == [
        *("One.", "Answer 1.", "Two.", "Answer 3."),
        "Three.",
    ]


def test_what_is_not_to_be_stored_cannot_be_named(talk):
    responses, _ = talk
    made = responses.create(model="m", input="Hi", store=False)
    with pytest.raises(openai.NotFoundError) as caught:
        responses.create(model="m", input=[{"type": "item_reference", "id": made.output[0].id}])
    assert (caught.value.code, caught.value.param) == ("item_not_found", "input[0].id")


def test_another_callers_item_is_one_that_does_not_exist(talk):
    responses, upstream = talk
    item = responses.create(model="m", input="Hi").output[0]
    refused = []
    for headers, name in [
        ({"Authorization": "Bearer another"}, item.id),
        ({"Authorization": openai.Omit()}, item.id),
        ({"api-key": "another"}, item.id),
        ({}, "msg_of_nobody"),
    ]:
        given = [{"type": "item_reference", "id": name}]
        with pytest.raises(openai.NotFoundError) as caught:
            responses.create(model="m", input=given, extra_headers=headers)
        refused.append(caught.value.body)
    assert refused == [refused[0]] * 4
    assert refused[0]["code"] == "item_not_found"
    assert len(upstream.calls) == 1
    given = [{"type": "item_reference", "id": item.id}, said("And now?")]
    assert responses.create(model="m", input=given).status == "completed"


def test_where_there_are_api_keys_an_item_belongs_to_the_verified_one():
    def owner(tenant, key_id, presented=b"Bearer k"):
        caller = SimpleNamespace(tenant=tenant, key_id=key_id)
        headers = [(b"authorization", presented)]
        return _owner_of(Request({"type": "http", "headers": headers, "guardrail.caller": caller}))

    assert owner("blue", "a") == owner("blue", "a", b"Bearer renewed")
    assert len({owner("blue", "a"), owner("blue", "b"), owner("red", "a")}) == 3


AGENT = {
    # As Codex CLI asks.
    "model": "gpt-5-codex",
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "01a22496",
    "extra_body": {"client_metadata": {"session_id": "01a22496"}},
    "tools": [
        TOOL,
        {"type": "namespace", "name": "agents", "description": "d", "tools": [TOOL]},
        {"type": "web_search", "external_web_access": False},
    ],
    "stream": True,
}


def test_an_agents_session(talk):
    responses, upstream = talk
    turns = [{**said("You are an agent."), "type": "message", "id": "m", "role": "developer"}]
    turns.append(said("Run it."))
    *_, end = responses.create(**AGENT, input=turns)
    (call,) = end.response.output
    assert (call.type, call.name, call.call_id) == ("function_call", "f", "c")
    assert set(end.response.model_extra["guardrail"]["withheld"]) == {
        "client_metadata",
        "include: reasoning.encrypted_content",
        "reasoning.summary",
        "tools: namespace",
        "tools: web_search",
    }
    turns.append(call.model_dump(include={"type", "id", "call_id", "name", "arguments"}))
    turns.append({"type": "function_call_output", "call_id": "c", "output": "done"})
    *_, end = responses.create(**AGENT, input=turns)
    assert end.response.output_text == "Answer 4."
    asked = upstream.calls[-1].body
    assert [message["role"] for message in asked["messages"]] == [
        *("developer", "user", "assistant", "tool"),
    ]
    assert [tool["function"]["name"] for tool in asked["tools"]] == ["f"]


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal(ask, kit, stream, delay_s):
    made = ask([Step(kit.HARM, delay_s=delay_s)], stream=stream)
    if stream:
        assert made[-1].type == "response.incomplete"
        assert "".join(e.delta for e in made if e.type == "response.refusal.delta") == BLOCKED
        assert kit.HARM not in repr(made)
        made = made[-1].response
    assert (made.status, made.incomplete_details.reason) == ("incomplete", "content_filter")
    said, refused = made.output[0].content
    assert (said.type, refused.type) == ("output_text", "refusal")
    assert made.output_text == refused.refusal == BLOCKED
    assert made.model_extra["guardrail"]["decision"] == "block"


@pytest.mark.parametrize("stream", [False, True])
def test_a_block_as_message(ask, kit, stream):
    sections = {"block": {"style": "message", "text": "Not this."}}
    made = ask([kit.HARM], sections=sections, stream=stream)
    made = made[-1].response if stream else made
    assert (made.output_text, made.incomplete_details.reason) == ("Not this.", "content_filter")


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
@pytest.mark.parametrize("stream", [False, True])
def test_a_block_as_error(ask, kit, stream, delay_s):
    sections = {"block": {"style": "error", "text": "Not this."}}
    with pytest.raises(openai.APIError, match=r"Not this\.") as caught:
        ask([Step(kit.HARM, delay_s=delay_s)], sections=sections, stream=stream)
    assert caught.value.code == "content_policy_violation"
    if not (stream and delay_s):
        assert isinstance(caught.value, openai.BadRequestError)


async def until_raised(stream):
    """The events before the client raises the fault that the stream ends in."""
    while True:
        try:
            yield await anext(stream)
        except openai.APIError:
            return


def test_an_error_in_a_stream_is_a_failed_response_first(run, kit):
    async def scenario():
        script = [Step(fault=Fault.GARBAGE, delay_s=SLOW_S)]
        async with (
            kit.proxy(script, settings=LATE) as proxy,
            openai.AsyncOpenAI(base_url=proxy.base_url, api_key="t", max_retries=0) as client,
        ):
            stream = await client.responses.create(model="scripted", input="Hi", stream=True)
            return [event async for event in until_raised(stream)]

    *_, failed = run(scenario())
    assert (failed.type, failed.response.status) == ("response.failed", "failed")
    assert failed.response.error.code == "server_error"  # one that the client's types know
    assert failed.response.model_extra["guardrail"]["decision"] == "fault"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.InternalServerError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
def test_errors_have_the_clients_own_classes(ask, status, kind):
    with pytest.raises(kind) as caught:
        ask([Step(fault=Fault.STATUS, status=status, retry_after="3")])
    assert caught.value.response.headers.get("retry-after") == ("3" if status > 401 else None)


@pytest.mark.parametrize(
    ("finish_reason", "status", "cause"),
    [("length", "incomplete", "max_output_tokens"), ("stop", "completed", None)],
)
def test_an_answer_cut_short_says_so(ask, finish_reason, status, cause):
    made = ask([Step("Half", finish_reason=finish_reason)], max_output_tokens=1)
    assert made.status == status
    assert (made.incomplete_details.reason if cause else None) == cause
    assert made.max_output_tokens == 1


def test_content_in_parts_and_what_has_no_place(ask):
    parts = [
        {"type": "text", "text": "one"},
        {"type": "refusal", "refusal": "two"},
        {"type": "text", "text": "three"},
    ]
    made = ask([Step(message={"content": parts, "reasoning_content": "thought"})])
    assert [part.type for part in made.output[0].content] == [
        "output_text",
        "refusal",
        "output_text",
    ]
    assert made.output_text == "onethree"
    assert made.model_extra["guardrail"]["withheld"] == ["reasoning_content"]


def test_custom_calls_and_calls_of_the_old_form(ask):
    custom = {"id": "d", "type": "custom", "custom": {"name": "g", "input": "x"}}
    old = {"name": "h", "arguments": "{}"}
    step = Step(message={"tool_calls": [CALL, custom], "function_call": old})
    made = ask([step], stream=True)
    first, second, third = made[-1].response.output
    assert (first.name, second.name, third.name) == ("f", "g", "h")
    assert (second.type, second.input) == ("custom_tool_call", "x")


def test_mistakes_name_their_field(ask):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(["x"], previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    assert "whole conversation" in str(caught.value)


def test_stored_responses_are_not_to_be_had(kit, shared):
    for path in ("/v1/responses/r", "/v1/responses/r/input_items", "/v1/responses/r/cancel"):
        assert shared.client.get(path).json()["error"]["code"] == "route_not_guarded"
