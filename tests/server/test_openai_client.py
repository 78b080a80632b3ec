"""The official client against the running proxy: nothing tells it that this is not OpenAI."""

import base64

import openai
import pytest

from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.server.serve import running_server
from guardrail.upstreams.scripted import Fault, Scripted, Step

QUESTION = [{"role": "user", "content": "What is this?"}]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "b"}'}}
LATE = ServerSettings(first_byte_s=0.001, heartbeat_s=0.001)
"""With a model that takes its time, streams begin before their verdict."""
SLOW_S = 0.1


def behind(kit, script, *, settings=None, **sections):
    policy = kit.make_policy(**sections)
    engine = Engine(compile_policy(policy), Scripted(script), kit.Words(), NoiseKey(bytes(32)))
    return running_server(policy, engine, settings=settings)


def client_of(server, **options):
    options = {"api_key": "test", "max_retries": 0, "timeout": 20} | options
    return openai.OpenAI(base_url=server.base_url, **options)


@pytest.fixture
def ask(kit):
    """Asks once through a fresh proxy."""

    def asked(script, *, sections=None, **fields):
        late = (
            LATE
            if isinstance(script[0], Step) and script[0].delay_s
            else ServerSettings(first_byte_s=60, heartbeat_s=60)
        )
        with (
            behind(kit, script, settings=late, **(sections or {})) as server,
            client_of(server) as client,
        ):
            fields = {"model": "scripted", "messages": QUESTION} | fields
            made = client.chat.completions.create(**fields)
            return list(made) if fields.get("stream") else made

    return asked


@pytest.fixture
def pictured(kit):
    parts = [{"type": "text", "text": "What is this?"}, kit.image_part(detail="low")]
    return [{"role": "user", "content": parts}]


def test_a_text(ask):
    made = ask(["Hello."])
    assert made.choices[0].message.content == "Hello."
    assert made.usage.total_tokens == 12
    assert made.model_extra["guardrail"]["reason"] == "not certified: no image"


def test_a_picture(ask, pictured):
    made = ask(["A picture."], messages=pictured)
    assert made.choices[0].message.content == "A picture."
    assert made.model_extra["guardrail"]["certificate"]["radius"] >= 0.25


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
def test_a_stream(ask, pictured, delay_s):
    made = ask(
        [Step("A picture of a cat.", delay_s=delay_s)],
        messages=pictured,
        stream=True,
        stream_options={"include_usage": True},
    )
    *parts, end, usage = made
    assert "".join(p.choices[0].delta.content or "" for p in parts) == "A picture of a cat."
    assert end.choices[0].finish_reason == "stop"
    assert end.model_extra["guardrail"]["samples"]["total"] == 32
    assert (usage.choices, usage.usage.completion_tokens) == ([], 160)


def test_the_clients_own_stream_helper_adds_up(kit):
    step = Step(message={"content": "Look: ", "tool_calls": [CALL]}, finish_reason="tool_calls")
    with (
        behind(kit, [step]) as server,
        client_of(server) as client,
        client.chat.completions.stream(model="scripted", messages=QUESTION) as stream,
    ):
        made = stream.get_final_completion()
    message = made.choices[0].message
    assert message.content == "Look: "
    assert message.tool_calls[0].function.arguments == CALL["function"]["arguments"]
    assert made.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal(ask, kit, stream):
    made = ask([kit.HARM], stream=stream)
    if stream:
        text = "".join(part.choices[0].delta.refusal or "" for part in made)
        content = "".join(part.choices[0].delta.content or "" for part in made)
        reason = made[-1].choices[0].finish_reason
    else:
        message = made.choices[0].message
        text, content = message.refusal, message.content or ""
        reason = made.choices[0].finish_reason
    assert text.startswith("This request was blocked")
    assert (content, reason) == (text, "content_filter")


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
@pytest.mark.parametrize("stream", [False, True])
def test_a_block_as_error(ask, kit, stream, delay_s):
    sections = {"block": {"style": "error", "text": "Not this."}}
    with pytest.raises(openai.APIError) as caught:
        ask([Step(kit.HARM, delay_s=delay_s)], sections=sections, stream=stream)
    assert caught.value.code == "content_policy_violation"
    if not (stream and delay_s):
        assert isinstance(caught.value, openai.BadRequestError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.InternalServerError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_errors_have_the_clients_own_classes(ask, status, kind):
    with pytest.raises(kind) as caught:
        ask([Step(fault=Fault.STATUS, status=status, retry_after="3")])
    assert caught.value.status_code == (502 if status == 401 else status)
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "3"


@pytest.mark.parametrize("delay_s", [0.0, SLOW_S])
def test_errors_in_a_stream(ask, delay_s):
    with pytest.raises(openai.APIError, match="not JSON"):
        ask([Step(fault=Fault.GARBAGE, delay_s=delay_s)], stream=True)


def test_mistakes_name_their_field(ask):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(["x"], n=2)
    assert (caught.value.param, caught.value.code) == ("n", "unsupported_value")


def test_other_routes(kit):
    with behind(kit, ["x"]) as server, client_of(server) as client:
        with pytest.raises(openai.NotFoundError, match="not guarded"):
            client.completions.create(model="scripted", prompt="Hi")
        with pytest.raises(openai.NotFoundError, match="not guarded"):
            client.embeddings.create(model="scripted", input="Hi")
        assert [model.id for model in client.models.list()] == ["scripted"]
        assert client.models.retrieve("scripted").id == "scripted"


def test_the_asynchronous_client(run, kit, pictured):
    async def scenario():
        async with (
            kit.proxy([Step("A picture.", delay_s=0.05)], settings=LATE) as proxy,
            openai.AsyncOpenAI(base_url=proxy.base_url, api_key="t", max_retries=0) as client,
        ):
            ask = client.chat.completions.create
            plain = await ask(model="scripted", messages=pictured)
            stream = await ask(model="scripted", messages=pictured, stream=True)
            return plain, [chunk async for chunk in stream]

    plain, made = run(scenario())
    assert plain.choices[0].message.content == "A picture."
    assert "".join(chunk.choices[0].delta.content or "" for chunk in made) == "A picture."


def test_base64_as_the_clients_documentation_writes_it(ask, kit):
    text = base64.b64encode(kit.png()).decode("utf-8")
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}}
    made = ask(["A picture."], messages=[{"role": "user", "content": [part]}])
    assert made.model_extra["guardrail"]["decision"] == "pass"
