"""Everything that is sent has the types that OpenAI's and Anthropic's clients declare.

The clients build their objects unchecked, so that a field of a wrong type fails in its user's code.
"""

import json

import httpx
import pytest
from anthropic.types import ErrorResponse, Message, RawMessageStreamEvent
from openai.types import ErrorObject
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

KINDS = {
    ("chat", False): TypeAdapter(ChatCompletion),
    ("chat", True): TypeAdapter(ChatCompletionChunk),
    ("responses", False): TypeAdapter(Response),
    ("responses", True): TypeAdapter(ResponseStreamEvent),
    ("messages", False): TypeAdapter(Message),
    ("messages", True): TypeAdapter(RawMessageStreamEvent),
}
ERROR = TypeAdapter(ErrorObject)
ANTHROPIC_ERROR = TypeAdapter(ErrorResponse)


@pytest.fixture(scope="module")
def client():
    with httpx.Client(timeout=30, trust_env=False) as made:
        yield made


def test_every_body_and_event(kit, world, client, ask):
    if ask.leave:
        pytest.skip("nothing is sent to a client that is gone")
    response = client.post(world.url(ask) + PATHS[ask.api], json=_body(kit, ask))
    bodies = _events(response.text) if ask.stream and response.is_success else [response.json()]
    kind = KINDS[ask.api, ask.stream]
    for body in bodies:
        if body.get("type") == "ping":
            continue  # clients drop them, and declare no type for them
        if ask.api == "messages" and "error" in body:
            ANTHROPIC_ERROR.validate_json(json.dumps(body), strict=True)
        elif set(body) <= {"error", "guardrail"}:
            ERROR.validate_python(body["error"], strict=True)
        else:
            # From JSON, where strictness still takes texts for enumerations.
            kind.validate_json(json.dumps(body), strict=True)
    assert bodies


PATHS = {"chat": "/chat/completions", "responses": "/responses", "messages": "/messages"}


def _body(kit, ask):
    if ask.api == "responses":
        tool = {"type": "function", **kit.TOOL["function"]}
        body = {"model": kit.MODEL, "input": kit.response_input(ask)}
    elif ask.api == "messages":
        tool = kit.message_tool()
        messages = [{"role": "user", "content": kit.message_content(ask)}]
        body = {"model": kit.MODEL, "max_tokens": 99, "messages": messages}
    else:
        tool = kit.TOOL
        body = {"model": kit.MODEL, "messages": [{"role": "user", "content": kit.content(ask)}]}
    return body | ({"tools": [tool]} if ask.tool else {}) | {"stream": ask.stream}


def _events(text):
    data = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(item) for item in data if item != "[DONE]"]
