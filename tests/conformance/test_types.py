"""Everything that is sent has the types that OpenAI's client declares.

The client builds its objects unchecked, so that a field of a wrong type fails in its user's code.
"""

import json

import httpx
import pytest
from openai.types import ErrorObject
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

KINDS = {
    ("chat", False): TypeAdapter(ChatCompletion),
    ("chat", True): TypeAdapter(ChatCompletionChunk),
    ("responses", False): TypeAdapter(Response),
    ("responses", True): TypeAdapter(ResponseStreamEvent),
}
ERROR = TypeAdapter(ErrorObject)


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
        if set(body) <= {"error", "guardrail"}:
            ERROR.validate_python(body["error"], strict=True)
        else:
            # From JSON, where strictness still takes texts for enumerations.
            kind.validate_json(json.dumps(body), strict=True)
    assert bodies


PATHS = {"chat": "/chat/completions", "responses": "/responses"}


def _body(kit, ask):
    if ask.api == "responses":
        tool = {"type": "function", **kit.TOOL["function"]}
        body = {"model": kit.MODEL, "input": kit.response_input(ask)}
    else:
        tool = kit.TOOL
        body = {"model": kit.MODEL, "messages": [{"role": "user", "content": kit.content(ask)}]}
    return body | ({"tools": [tool]} if ask.tool else {}) | {"stream": ask.stream}


def _events(text):
    data = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(item) for item in data if item != "[DONE]"]
