"""Anthropic's official client against the running proxy."""

import base64
import itertools
import json
from contextlib import ExitStack

import anthropic
import numpy as np
import pytest
from pydantic import BaseModel

from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.errors import OracleError
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server import guarded
from guardrail.server.serve import running_server
from guardrail.upstreams.scripted import CallLog, Fault, Scripted, Step

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}}
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}
LATE = ServerSettings(first_byte_s=0.001, heartbeat_s=0.001)
AT_ONCE = ServerSettings(first_byte_s=60, heartbeat_s=60)
SLOW_S = 0.1
BLOCKED = "This request was blocked: its answer could not be shown to be harmless."
ASKED = {"model": "scripted", "max_tokens": 99}
DOWN = "the oracle is down"
SEAL = "Aa0_" * 20
THINKING = {"type": "enabled", "budget_tokens": 5000}


@pytest.fixture(scope="module")
def stands(kit):
    """Proxies and their clients, each made when it is first asked for: (client, upstream)."""
    made = {}
    with ExitStack() as stack:

        def find(settings, sections):
            name = (settings.first_byte_s, json.dumps(sections))
            if name not in made:
                policy, upstream = kit.make_policy(**sections), Scripted(["x"])
                engine = Engine(compile_policy(policy), upstream, Words(kit), NoiseKey(bytes(32)))
                server = stack.enter_context(running_server(policy, engine, settings=settings))
                options = {"api_key": "test", "max_retries": 0, "timeout": 20}
                client = anthropic.Anthropic(base_url=server.url, **options)
                made[name] = (stack.enter_context(client), upstream)
            return made[name]

        yield find


class Words:
    """The oracle of the other tests, and one that is down where the model says so."""

    revision = "words"

    def __init__(self, kit):
        self._words = kit.Words()

    async def judge(self, exchanges):
        if any(exchange.response == DOWN for exchange in exchanges):
            raise OracleError("the oracle is down; start it again")
        return await self._words.judge(exchanges)

    async def aclose(self):
        pass


@pytest.fixture
def served(stands):
    """A client of a proxy that plays a script; before a slow model streams begin early."""

    def serve(script, **sections):
        late = not callable(script) and isinstance(script[0], Step) and script[0].delay_s
        client, upstream = stands(LATE if late else AT_ONCE, sections)
        upstream.log = CallLog(script)
        return client, upstream

    return serve


@pytest.fixture
def ask(served):
    """Asks once."""

    def asked(script, *, sections=None, **fields):
        client, _ = served(script, **(sections or {}))
        messages = [{"role": "user", "content": "What is this?"}]
        made = client.messages.create(**ASKED | {"messages": messages} | fields)
        return list(made) if fields.get("stream") else made

    return asked


def image(data, media_type="image/png"):
    text = base64.b64encode(data).decode()
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": text}}


@pytest.fixture
def pictured(kit):
    return [{"role": "user", "content": [image(kit.png()), {"type": "text", "text": "What?"}]}]


def test_a_text(ask):
    made = ask(["Hello."], system="Be brief.", metadata={"user_id": "u"})
    assert [(block.type, block.text) for block in made.content] == [("text", "Hello.")]
    assert (made.type, made.role, made.model) == ("message", "assistant", "scripted")
    assert (made.stop_reason, made.stop_sequence, made.stop_details) == ("end_turn", None, None)
    assert (made.usage.input_tokens, made.usage.output_tokens) == (7, 5)
    assert made.id.startswith("msg_")
    assert made.guardrail["reason"] == "not certified: no image"
    assert made.guardrail["withheld"] == ["metadata.user_id"]


def test_a_picture(ask, pictured):
    made = ask(["A picture."], messages=pictured)
    assert made.content[0].text == "A picture."
    assert made.guardrail["certificate"]["radius"] >= 0.25
    assert made.usage.output_tokens == 160


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
def test_a_stream(ask, pictured, delay_s):
    made = ask([Step("A picture of a cat.", delay_s=delay_s)], messages=pictured, stream=True)
    assert [kind for kind, _ in itertools.groupby(event.type for event in made)] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start, end = made[0].message, made[-2]
    assert (start.content, start.stop_reason) == ([], None)
    assert "".join(e.delta.text for e in made if e.type == "content_block_delta") == (
        "A picture of a cat."
    )
    assert (end.delta.stop_reason, end.usage.output_tokens) == ("end_turn", 160)
    assert end.guardrail["samples"]["total"] == 32


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
def test_the_clients_own_stream_helper_adds_up(served, pictured, delay_s):
    words = "A picture of " + "very " * 40 + "fine cats."
    message = {"content": words, "tool_calls": [CALL], "reasoning_content": "I look at it."}
    step = Step(message=message, finish_reason="tool_calls", delay_s=delay_s)
    client, _ = served([step])
    with client.messages.stream(**ASKED, messages=pictured, thinking=THINKING) as stream:
        texts = list(stream.text_stream)
        made = stream.get_final_message()
    assert "".join(texts) == words
    assert len(texts) > 1
    thought, text, call = made.content
    assert (thought.type, thought.thinking) == ("thinking", "I look at it.")
    assert text.text == words
    assert (call.id, call.name, call.input) == ("c", "f", {"a": "b"})
    assert made.stop_reason == "tool_use"
    assert (made.usage.input_tokens, made.usage.output_tokens) == (7 * 32, 5 * 32)
    # Helpers keep what stands in the start: there it is, where the verdict came before it.
    assert bool((made.model_extra or {}).get("guardrail")) == (not delay_s)


def test_a_stream_that_waits_is_kept_alive_by_pings(run, kit):
    async def scenario():
        body = {**ASKED, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        async with kit.proxy([Step("Hello.", delay_s=SLOW_S)], settings=LATE) as proxy:
            return await proxy.client.post("/v1/messages", json=body)

    response = run(scenario())
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-guardrail-decision"] == "pending"
    blocks = [block.split("\n") for block in response.text.strip().split("\n\n")]
    for event, data in blocks:
        assert event == f"event: {json.loads(data.removeprefix('data: '))['type']}"
    kinds = [kind for kind, _ in itertools.groupby(block[0] for block in blocks)]
    assert kinds[:3] == ["event: message_start", "event: ping", "event: content_block_start"]
    assert kinds[-1] == "event: message_stop"


def test_heartbeats_that_are_comments_leave_the_start_to_the_verdict(served):
    script = [Step("Hello.", delay_s=SLOW_S)]
    client, _ = served(script, streams={"heartbeat": "comments"})
    messages = [{"role": "user", "content": "Hi"}]
    with client.messages.stream(**ASKED, messages=messages) as stream:
        made = stream.get_final_message()
    assert made.content[0].text == "Hello."
    assert made.guardrail["decision"] == "pass"


class Colour(BaseModel):
    name: str


def test_a_schema(served):
    client, upstream = served(['{"name": "red"}'])
    messages = [{"role": "user", "content": "Which?"}]
    made = client.messages.parse(**ASKED, messages=messages, output_format=Colour)
    assert made.parsed_output == Colour(name="red")
    asked = upstream.calls[0].body["response_format"]["json_schema"]
    assert asked["strict"] is True
    assert asked["schema"]["properties"]["name"]["type"] == "string"


# Conversations


def look(call):
    """Calls the tool once, then says how many messages there were."""
    if "tools" in call.body and not any(m["role"] == "tool" for m in call.body["messages"]):
        message = {
            "content": "I take a look.",
            "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": SEAL}],
            "reasoning_content": "Hm.",
            "tool_calls": [CALL],
        }
        return Step(message=message, finish_reason="tool_calls")
    return f"Answer {len(call.body['messages'])}."


def test_three_turns_with_a_tool_that_gives_a_picture(served, kit):
    client, upstream = served(look)
    picture = kit.png(seed=3)
    turns = [{"role": "user", "content": "Look at the screen."}]
    asked = {**ASKED, "tools": [TOOL], "thinking": THINKING}
    first = client.messages.create(**asked, messages=turns)
    assert first.stop_reason == "tool_use"
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use"]
    assert first.content[0].signature == SEAL
    result = {
        "type": "tool_result",
        "tool_use_id": first.content[2].id,
        "content": [{"type": "text", "text": "The screen:"}, image(picture)],
    }
    turns += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result, {"type": "text", "text": "Go on."}]},
    ]
    second = client.messages.create(**asked, messages=turns)
    assert second.content[0].text == "Answer 4."
    assert second.guardrail["certificate"]["radius"] > 0
    turns += [second.to_param(), {"role": "user", "content": "And now?"}]
    third = client.messages.create(**asked, messages=turns)
    assert third.content[0].text == "Answer 6."
    last = upstream.calls[-1].body
    assert [message["role"] for message in last["messages"]] == [
        *("user", "assistant", "tool", "user", "assistant", "user"),
    ]
    assert last["messages"][1] == {
        "role": "assistant",
        "content": "I take a look.",
        "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": SEAL}],
        "tool_calls": [{**CALL, "function": {"name": "f", "arguments": '{"a":"b"}'}}],
    }
    assert last["messages"][2]["tool_call_id"] == "c"
    assert last["messages"][4] == {"role": "assistant", "content": "Answer 4."}
    assert last["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": TOOL["input_schema"]},
        }
    ]
    check_noise([call for call in upstream.calls if call.index], kit.pixels(seed=3))


def check_noise(calls, original):
    """Every call carries one picture, another one each time, and never the client's own."""
    pictures = [picture for call in calls for picture in call.pictures]
    assert len(pictures) == len(calls) > 32
    assert not any(np.array_equal(picture, original) for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    assert all("data:" not in json.dumps(call.body) for call in calls)


def test_pictures_of_every_place_become_noise(served, kit):
    client, upstream = served(["Fine."])
    pictures = [kit.png(seed=i) for i in range(3)]
    turns = [
        {"role": "user", "content": [image(pictures[0]), {"type": "text", "text": "One."}]},
        {
            "role": "assistant",
            "content": [image(pictures[1]), {"type": "tool_use", "id": "c", "name": "f",
                                             "input": {}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c", "content": [
                image(pictures[2])]}],
        },
    ]  # fmt: skip
    made = client.messages.create(**ASKED, messages=turns)
    assert made.guardrail["decision"] == "pass"
    assert len(made.guardrail["certificate"]["pictures"]) == 3
    for call in upstream.calls:
        assert len(call.pictures) == 3
        for number, picture in enumerate(call.pictures):
            assert not np.array_equal(picture, kit.pixels(seed=number))


# Blocks


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("style", ["refusal", "message"])
def test_a_block(ask, kit, style, stream, delay_s):
    made = ask([Step(kit.HARM, delay_s=delay_s)], sections={"block": {"style": style}},
               stream=stream)  # fmt: skip
    assert kit.HARM not in repr(made)
    if stream:
        text = "".join(e.delta.text for e in made if e.type == "content_block_delta")
        end, about = made[-2].delta, made[-2].guardrail
        assert made[-2].usage.output_tokens == 0
    else:
        ((text,), end, about) = ([b.text for b in made.content], made, made.guardrail)
    assert text == BLOCKED
    assert end.stop_reason == "refusal"
    assert (end.stop_details is not None) == (style == "refusal")
    assert about["decision"] == "block"
    assert "samples" not in about


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
@pytest.mark.parametrize("stream", [False, True])
def test_a_block_as_error(ask, kit, stream, delay_s):
    sections = {"block": {"style": "error", "text": "Not this."}}
    with pytest.raises(anthropic.APIStatusError, match=r"Not this\.") as caught:
        ask([Step(kit.HARM, delay_s=delay_s)], sections=sections, stream=stream)
    error = caught.value
    assert (error.type, error.error_code) == ("invalid_request_error", "content_policy_violation")
    assert error.body["guardrail"]["decision"] == "block"
    assert isinstance(error, anthropic.BadRequestError) == (not (stream and delay_s))


# Errors


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.InternalServerError, "api_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.RequestTooLargeError, "request_too_large"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (503, anthropic.ServiceUnavailableError, "api_error"),
    ],
)
def test_errors_have_the_clients_own_classes(ask, status, kind, told):
    with pytest.raises(kind) as caught:
        ask([Step(fault=Fault.STATUS, status=status, retry_after="3")])
    error = caught.value
    assert error.status_code == (502 if status == 401 else status)
    assert error.type == told
    assert error.error_code
    assert error.request_id == error.body["request_id"] == error.response.headers["x-request-id"]
    assert error.body["guardrail"]["decision"] == "fault"
    if status in (429, 503):
        assert error.response.headers["retry-after"] == "3"


def test_limits_and_deadlines_keep_their_status(ask):
    hang = [Step(fault=Fault.HANG)]
    with pytest.raises(anthropic.GatewayTimeoutError) as caught:
        ask(hang, sections={"limits": {"call_timeout_s": 0.1, "deadline_s": 1.0}})
    assert caught.value.type == "timeout_error"
    with pytest.raises(anthropic.ServiceUnavailableError) as caught:
        ask([DOWN])
    assert caught.value.error_code == "oracle_unavailable"


def test_a_fault_in_a_stream_is_raised(ask):
    with pytest.raises(anthropic.APIStatusError, match="not JSON") as caught:
        ask([Step(fault=Fault.GARBAGE, delay_s=SLOW_S)], stream=True)
    assert (caught.value.status_code, caught.value.type) == (200, "api_error")
    assert caught.value.error_code == "upstream_malformed_response"


@pytest.mark.parametrize("place", ["check_model", "word_reply"])
def test_a_crash_is_told_in_anthropics_form(ask, monkeypatch, place):
    """Before the decision and at its end."""

    def crash(*_args):
        raise RuntimeError("secret")

    monkeypatch.setattr(guarded, place, crash)
    with pytest.raises(anthropic.InternalServerError) as caught:
        ask(["x"])
    assert (caught.value.type, caught.value.error_code) == ("api_error", "internal_error")
    assert "secret" not in str(caught.value)


def test_mistakes_name_their_field(ask):
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(["x"], tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert caught.value.body["error"]["details"] == {
        "error_code": "unsupported_tool",
        "param": "tools[0].type",
    }
    assert "web_search_20250305" in str(caught.value)


def test_what_beta_features_ask_for_is_refused(served):
    client, upstream = served(["x"])
    asked = {**ASKED, "messages": [{"role": "user", "content": "Hi"}]}
    for name, value in (
        ("mcp_servers", [{"type": "url", "url": "https://a.example", "name": "m"}]),
        ("container", {"skills": []}),
        ("context_management", {"edits": [{"type": "clear_tool_uses_20250919"}]}),
    ):
        with pytest.raises(anthropic.BadRequestError) as caught:
            client.beta.messages.create(**asked, betas=["b"], extra_body={name: value})
        assert caught.value.body["error"]["details"]["param"] == name
    made = client.beta.messages.create(**asked, betas=["files-api-2025-04-14"])
    assert made.content[0].text == "x"  # the header alone asks for nothing
    assert len(upstream.calls) == 1


@pytest.mark.parametrize("headers", [{"x-api-key": "k"}, {"authorization": "Bearer k"}, {}])
def test_keys_and_versions_are_taken_and_not_needed(shared, headers):
    body = {**ASKED, "messages": [{"role": "user", "content": "Hi"}]}
    versions = {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b"}
    response = shared.client.post("/v1/messages", json=body, headers=headers | versions)
    assert response.json()["content"] == [{"type": "text", "text": "A picture."}]
    sent = json.dumps([call.body for call in shared.upstream.calls[-1:]])
    assert "anthropic" not in sent


@pytest.mark.parametrize("path", ["count_tokens", "batches", "batches/b/results"])
def test_the_routes_below_are_refused_in_anthropics_form(shared, path):
    before = len(shared.upstream.calls)
    response = shared.client.post(f"/v1/messages/{path}", json={})
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["type"], error["details"]["error_code"]) == (
        "not_found_error",
        "route_not_guarded",
    )
    assert ("usage of each answer" in error["message"]) == (path == "count_tokens")
    assert len(shared.upstream.calls) == before


def test_other_faults_before_a_decision_have_anthropics_form(shared):
    for response in (
        shared.client.get("/v1/messages"),
        shared.client.post("/v1/messages", content=b"{", headers={"content-type": "text/plain"}),
        shared.client.post(
            "/v1/messages", content=b"{", headers={"content-type": "application/json"}
        ),
        shared.client.post("/v1/messages", json={"a": "x" * (1 << 21)}),
        shared.client.post(
            "/v1/messages",
            json={**ASKED, "model": "odd", "messages": [{"role": "user", "content": "Hi"}]},
        ),
    ):
        body = response.json()
        assert response.status_code in (405, 415, 400, 413, 404)
        assert (body["type"], set(body)) == ("error", {"type", "error", "request_id"})
        assert response.headers["request-id"] == body["request_id"]


# Answers


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step("Half", finish_reason="length"), ("max_tokens", None)),
        (Step("No.", finish_reason="content_filter"), ("refusal", None)),
        (Step(message={"content": None, "refusal": "No."}), ("refusal", None)),
        (Step(message={"content": "x", "tool_calls": [CALL]}), ("tool_use", None)),
        (Step(message={"content": None, "function_call": CALL["function"]},
              finish_reason="function_call"), ("tool_use", None)),
        (Step(response={"choices": [{"message": {"content": "One"}, "finish_reason": "stop",
                                     "stop_reason": "END"}]}), ("stop_sequence", "END")),
        (Step(response={"choices": [{"message": {"content": "One"}, "finish_reason": "stop",
                                     "stop_reason": "forbidden"}]}), ("end_turn", None)),
        (Step(response={"choices": [{"message": {"content": "One"}, "finish_reason": "stop",
                                     "stop_reason": 128009}]}), ("end_turn", None)),
    ],
)  # fmt: skip
def test_why_an_answer_ended(ask, step, told):
    made = ask([step], sections={"mode": "observe"}, stop_sequences=["END", "STOP"])
    assert (made.stop_reason, made.stop_sequence) == told
    assert made.usage.output_tokens >= 0


def test_thoughts_are_sent_only_where_they_were_asked_for(ask):
    step = Step(message={"content": "A cat.", "reasoning_content": "Hm."})
    made = ask([step])
    assert [block.type for block in made.content] == ["text"]
    assert made.guardrail["withheld"] == ["reasoning_content"]
    made = ask([step], thinking={"type": "adaptive", "display": "omitted"})
    assert [block.type for block in made.content] == ["text"]
    made = ask([step], thinking={"type": "adaptive"})
    assert [block.type for block in made.content] == ["thinking", "text"]
    assert "withheld" not in made.guardrail


def test_tokens_that_are_not_told_are_zeros_and_named(ask):
    choice = {"message": {"content": "Hi"}, "finish_reason": "stop"}
    made = ask([Step(response={"choices": [choice]})])
    assert (made.usage.input_tokens, made.usage.output_tokens) == (0, 0)
    assert made.guardrail["withheld"] == ["usage"]
