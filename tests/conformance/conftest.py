"""One running proxy per setting, in front of one scripted provider, and what clients ask of them.

Every client library answers every `Ask` with one line: what its user's code gets to see. The lines
are compared with `results.json`, from which `make_table.py` makes docs/clients.md; whatever the
lines are, they must hold what the ask itself demands.
"""

import asyncio
import base64
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel

from guardrail.api.settings import ServerSettings
from guardrail.engine.engine import Engine
from guardrail.errors import OracleError
from guardrail.images.keys import NoiseKey
from guardrail.oracles.lexicon.scorer import Entry, LexiconScorer
from guardrail.oracles.worker import ThreadedOracle
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.server.serve import running_server_async
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Fault, State, Step
from guardrail.upstreams.scripted_server import scripted_server

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
RECORD = "GUARDRAIL_CONFORMANCE_RECORD"
"""Names the file in which `make_table.py` wants what is seen, instead of having it compared."""
MODEL = "gpt-4o-mini"  # some clients look its name up before they ask
ANSWER = "A picture of a cat, which sits on a chair and looks out of the window."
HARM = "Sadly, here is a forbidden word."
BLOCKED = "Not this."
BLOCK_SIGNS = (BLOCKED, "content_filter", "content-filter", "ContentFilter")
ANIMAL = '{"animal": "cat"}'
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
DELAY_S = 0.15
HEARTBEAT_S = 0.02
LEAVE_S = 0.4
"""After this long without an answer the client of a `leave` goes away."""


class Animal(BaseModel):
    animal: str


@dataclass(frozen=True)
class Ask:
    """What is asked and how.

    `again` is a second turn after the answer. `seen` must all stand in what the user sees; nothing
    harmful ever may.
    """

    name: str
    prompt: str = "What is this?"
    proxy: str = "refusal"
    picture: bool = False
    stream: bool = False
    tool: bool = False
    schema: bool = False
    leave: bool = False
    again: str = ""
    api: str = "chat"
    seen: tuple[str, ...] = (ANSWER,)

    @property
    def is_blocked(self):
        return "block" in self.name


BAD = "Say something bad."
SLOW_BAD = "Slowly say something bad."
CALLED = ("weather", "Oslo")
ASKS = [
    Ask("answer"),
    Ask("answer, streamed", stream=True, seen=(ANSWER, "usage=12")),
    Ask("answer, streamed after heartbeats", "Slowly: what is this?", "refusal held", stream=True),
    Ask("picture", picture=True),
    Ask("picture, streamed", picture=True, stream=True, seen=(ANSWER, "usage=384")),
    Ask("picture, blocked", BAD, picture=True, seen=()),
    Ask("tool call", "Use the tool.", tool=True, seen=CALLED),
    Ask("tool call, streamed", "Use the tool.", tool=True, stream=True, seen=CALLED),
    Ask("tool call, blocked", "Use the tool badly.", tool=True, seen=()),
    Ask("schema", "Which animal?", schema=True, seen=("cat",)),
    Ask("schema, blocked", BAD, schema=True, seen=()),
    *(
        Ask(f"block as {style}{how}", prompt, f"{style}{held}", stream=bool(how), seen=())
        for style in ("refusal", "message", "error")
        for how, held, prompt in (
            ("", "", BAD),
            (", streamed", "", BAD),
            (", streamed after heartbeats", " held", SLOW_BAD),
        )
    ),
    Ask("provider 429, Retry-After 7", "Fail with 429.", seen=("429", 'retry-after="7"')),
    Ask("provider 429, streamed", "Fail with 429.", stream=True, seen=("429",)),
    Ask(
        "provider 429, streamed after heartbeats",
        "Slowly fail with 429.",
        "refusal held",
        stream=True,
        seen=(),
    ),
    Ask("provider 401", "Fail with 401.", seen=("502",)),
    Ask("provider 500", "Fail with 500.", seen=("500",)),
    Ask("provider too slow", "Hang.", "impatient", seen=("504",)),
    Ask("oracle down", proxy="no oracle", seen=("503",)),
    Ask("client leaves", "Hang.", leave=True, seen=()),
    Ask("responses: answer", api="responses"),
    Ask("responses: answer, streamed", api="responses", stream=True),
    Ask("responses: second turn", api="responses", again="What else?"),
    Ask("responses: picture", api="responses", picture=True),
    Ask("responses: tool call", "Use the tool.", api="responses", tool=True, seen=CALLED),
    Ask(
        "responses: tool call, streamed",
        "Use the tool.",
        api="responses",
        tool=True,
        stream=True,
        seen=CALLED,
    ),
    Ask("responses: schema", "Which animal?", api="responses", schema=True, seen=("cat",)),
    Ask("responses: block as refusal", BAD, api="responses", seen=()),
    Ask("responses: block as refusal, streamed", BAD, api="responses", stream=True, seen=()),
    Ask("responses: block as message", BAD, "message", api="responses", seen=(BLOCKED,)),
    Ask("responses: block as error", BAD, "error", api="responses", seen=(BLOCKED, "400")),
    Ask(
        "responses: block as error, after heartbeats",
        SLOW_BAD,
        "error held",
        api="responses",
        stream=True,
        seen=(BLOCKED,),
    ),
    Ask("responses: provider 429", "Fail with 429.", api="responses", seen=("429",)),
    Ask("messages: answer", api="messages"),
    Ask("messages: answer, streamed", api="messages", stream=True),
    Ask(
        "messages: answer, after heartbeats",
        "Slowly: what is this?",
        "refusal held",
        api="messages",
        stream=True,
    ),
    Ask("messages: second turn", api="messages", again="What else?"),
    Ask("messages: picture", api="messages", picture=True),
    Ask("messages: picture, streamed", api="messages", picture=True, stream=True),
    Ask("messages: tool call", "Use the tool.", api="messages", tool=True, seen=CALLED),
    Ask(
        "messages: tool call, streamed",
        "Use the tool.",
        api="messages",
        tool=True,
        stream=True,
        seen=CALLED,
    ),
    Ask("messages: schema", "Which animal?", api="messages", schema=True, seen=("cat",)),
    Ask("messages: block as refusal", BAD, api="messages", seen=(BLOCKED,)),
    Ask("messages: block as refusal, streamed", BAD, api="messages", stream=True, seen=(BLOCKED,)),
    Ask("messages: block as message", BAD, "message", api="messages", seen=(BLOCKED,)),
    Ask("messages: block as error", BAD, "error", api="messages", seen=(BLOCKED, "400")),
    Ask(
        "messages: block as error, after heartbeats",
        SLOW_BAD,
        "error held",
        api="messages",
        stream=True,
        seen=(BLOCKED,),
    ),
    Ask("messages: provider 429", "Fail with 429.", api="messages", seen=("429",)),
    Ask("messages: oracle down", proxy="no oracle", api="messages", seen=("503",)),
]


# The provider


def provider(call):
    """Does what the prompt asks for, in whichever way the request wants an answer."""
    prompt = _prompt(call.body["messages"])
    delay_s = DELAY_S if "slowly" in prompt else 0.0
    return replace(_step(prompt, call.body), delay_s=delay_s)


def _step(prompt, body):
    if "hang" in prompt:
        return Step(fault=Fault.HANG)
    if "fail with" in prompt:
        status = int(prompt.strip(".").split()[-1])
        return Step(fault=Fault.STATUS, status=status, retry_after="7" if status == 429 else None)
    if "tool" in prompt:
        return _called("weather", {"city": HARM if "bad" in prompt else "Oslo"})
    if "bad" in prompt:
        return Step(HARM)
    if "animal" in prompt:
        return _animal(body)
    return _with_logprobs(ANSWER) if body.get("logprobs") else Step(ANSWER)


def _with_logprobs(text):
    """An answer with a probability for each word, and for a word that is not in it."""
    rival = {"token": "dog", "logprob": -2.5, "bytes": None}
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1].rstrip()
    content = [
        {"token": w, "logprob": -0.25, "bytes": None, "top_logprobs": [rival]} for w in words
    ]
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Step(response={"choices": [{**choice, "logprobs": {"content": content}}]})


def _prompt(messages):
    content = messages[-1]["content"]
    texts = content if isinstance(content, str) else " ".join(p.get("text", "") for p in content)
    return texts.lower()


def _animal(body):
    """Clients without a response format of their own ask for a call of a tool."""
    if body.get("tools"):
        return _called(body["tools"][0]["function"]["name"], json.loads(ANIMAL))
    return Step(ANIMAL)


def _called(name, arguments):
    call = {"name": name, "arguments": json.dumps(arguments)}
    message = {"content": None, "tool_calls": [{"id": "c", "type": "function", "function": call}]}
    return Step(message=message, finish_reason="tool_calls")


# The proxies


class Down:
    """An oracle that is out of order."""

    revision = "down"

    async def judge(self, _exchanges):
        raise OracleError("the oracle is down; start it again")

    async def aclose(self):
        pass


@dataclass(frozen=True)
class World:
    """The proxies' base URLs by name, and the provider behind all of them."""

    urls: dict
    upstream: object

    def url(self, ask):
        return self.urls[ask.proxy]


def _policy(style="refusal", call_timeout_s=30.0):
    return Policy.model_validate(
        {
            "name": "conformance",
            "oracle": {"miss_rate_upper": 0.01},
            "smoothing": {"radius": 0.25},
            "sampling": {"max_samples": 100},
            "block": {"style": style, "text": BLOCKED},
            "advanced": {
                "sampling": {"plan": "fixed", "expected_success_rate": 1.0},
                "limits": {"retries": 0, "call_timeout_s": call_timeout_s, "deadline_s": 60.0},
                "memory": {"pass": "redraw", "block": "redraw"},  # each library asks for itself
            },
        }
    )


def _lexicon():
    scorer = LexiconScorer([Entry("forbidden", False, "test", 1.0)])
    return ThreadedOracle(scorer, threshold=0.5, name="lexicon")


def _proxy(upstream, policy, oracle, heartbeat_s):
    reached = OpenAICompatible(upstream.base_url, api_key="provider-key")
    engine = Engine(compile_policy(policy), reached, oracle, NoiseKey(bytes(32)))
    return running_server_async(
        policy, engine, settings=ServerSettings(first_byte_s=heartbeat_s, heartbeat_s=heartbeat_s)
    )


async def _started(stack, upstream):
    made = {
        "no oracle": (_policy(), Down(), 60.0),
        "impatient": (_policy(call_timeout_s=0.2), _lexicon(), 60.0),
    }
    for style in ("refusal", "message", "error"):
        made[style] = (_policy(style), _lexicon(), 60.0)
        made[f"{style} held"] = (_policy(style), _lexicon(), HEARTBEAT_S)
    started = {}
    for name, (policy, oracle, heartbeat_s) in made.items():
        server = await stack.enter_async_context(_proxy(upstream, policy, oracle, heartbeat_s))
        started[name] = server.base_url
    return started


@contextmanager
def running_world():
    """All of it in one thread with a loop of its own."""
    ready, stop, made = threading.Event(), threading.Event(), []

    async def served():
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(scripted_server(provider))
            made.append(World(await _started(stack, upstream), upstream))
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(served()), daemon=True)
    thread.start()
    try:
        assert ready.wait(60)
        yield made[0]
    finally:
        stop.set()
        thread.join(60)


@pytest.fixture(scope="session")
def world():
    with running_world() as made:
        yield made


@pytest.fixture(scope="module")
def own_loop():
    """For libraries that make a loop where there is none, and leave it open."""
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield made
    asyncio.set_event_loop(None)
    made.close()


@pytest.fixture(scope="session")
def node_packages():
    """The folder with what the committed lock names; installed where that was not done yet."""
    if shutil.which("npm") is None:  # comes with Node
        pytest.skip("Node is not installed, so its clients are not tested; install node and npm")
    folder = HERE / "node"
    installed, lock = folder / "node_modules/.package-lock.json", folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, timeout=300)
        installed.touch()
    return folder


# What clients see


def picture_url():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def line(**seen):
    """What a user sees as one line; what is absent says nothing."""
    return ", ".join(
        f"{name}={json.dumps(value)}" for name, value in seen.items() if value is not None
    )


def calls(found):
    """Tool calls as (name, arguments) in one text."""
    return " ".join(f"{name}({arguments})" for name, arguments in found) or None


def raised(error, **fields):
    """An exception as one line, with those of its fields that say something."""
    kind = type(error)
    name = f"{kind.__module__.split('.')[0]}.{kind.__qualname__}"
    return ": ".join(filter(None, (f"raises {name}", line(**fields))))


def raised_by_openai(error):
    """An exception of the official client, or one that takes after it, as a user reads it."""
    response = getattr(error, "response", None)
    headers = getattr(error, "litellm_response_headers", None) or getattr(response, "headers", {})
    status = getattr(error, "status_code", None)
    return raised(
        error,
        status=status,
        type=None if status else getattr(error, "type", None),
        code=getattr(error, "code", None),
        **{"retry-after": headers.get("retry-after")},
        message=BLOCKED if BLOCKED in str(error) else None,
    )


def content(ask):
    """The content of the user's message, in OpenAI's form."""
    if not ask.picture:
        return ask.prompt
    image = {"type": "image_url", "image_url": {"url": picture_url()}}
    return [{"type": "text", "text": ask.prompt}, image]


def response_input(ask):
    """The same for the Responses API."""
    if not ask.picture:
        return ask.prompt
    parts = [
        {"type": "input_text", "text": ask.prompt},
        {"type": "input_image", "image_url": picture_url(), "detail": "auto"},
    ]
    return [{"role": "user", "content": parts}]


def message_content(ask):
    """The same for Anthropic's Messages API."""
    if not ask.picture:
        return ask.prompt
    source = {
        "type": "base64",
        "media_type": "image/png",
        "data": picture_url().partition(",")[2],
    }
    return [{"type": "text", "text": ask.prompt}, {"type": "image", "source": source}]


def message_tool():
    """The tool in Anthropic's form."""
    function = TOOL["function"]
    schema = {"input_schema": function["parameters"]}
    return {"name": function["name"], "description": function["description"], **schema}


def completed(made):
    """A chat completion in OpenAI's classes, or in those that take after them."""
    (choice,) = made.choices
    message = choice.message
    found = [(c.function.name, c.function.arguments) for c in message.tool_calls or []]
    specific = getattr(message, "provider_specific_fields", None) or {}  # litellm's
    return line(
        content=message.content,
        refusal=getattr(message, "refusal", None),
        provider_specific_refusal=specific.get("refusal"),
        tool_calls=calls(found),
        finish_reason=choice.finish_reason,
        certificate=_certificate(made),
    )


def added_up(chunks):
    """The chunks of a stream, added up as a client's user does."""
    choices = [choice for chunk in chunks for choice in chunk.choices]
    parts = [call for choice in choices for call in choice.delta.tool_calls or []]
    name = "".join(part.function.name or "" for part in parts)
    arguments = "".join(part.function.arguments or "" for part in parts)
    told = {
        field: "".join(getattr(choice.delta, field, None) or "" for choice in choices) or None
        for field in ("content", "refusal")
    }
    return line(
        **told,
        tool_calls=calls([(name, arguments)] if parts else []),
        finish_reason=next(c.finish_reason for c in reversed(choices) if c.finish_reason),
        usage=next(c.usage.total_tokens for c in chunks if getattr(c, "usage", None)),
        certificate=True if any(_certificate(chunk) for chunk in chunks) else None,
    )


def responded(made):
    """A response object in OpenAI's classes."""
    parts = [part for item in made.output if item.type == "message" for part in item.content]
    found = [(item.name, item.arguments) for item in made.output if item.type == "function_call"]
    return line(
        output_text=made.output_text or None,
        refusal=next((part.refusal for part in parts if part.type == "refusal"), None),
        tool_calls=calls(found),
        status=made.status,
        incomplete=made.incomplete_details and made.incomplete_details.reason,
        certificate=_certificate(made),
    )


def _certificate(made):
    """Whether the certificate can be read where the answer is; None else."""
    return True if (getattr(made, "guardrail", None) or {}).get("certificate") else None


def gone(world, begun):
    """Waits until no call since the one numbered `begun` is under way; their states."""
    until = time.monotonic() + 20
    states = [State.RUNNING]
    while State.RUNNING in states and time.monotonic() < until:
        time.sleep(0.01)
        states = [call.state for call in world.upstream.calls[begun:]]
    return states


@pytest.fixture(scope="session")
def kit():
    """The helpers of this file."""
    return sys.modules[__name__]


def _tells_of_block(seen):
    """By the policy's words or OpenAI's; where an object was asked for, by an exception."""
    return any(sign in seen for sign in (*BLOCK_SIGNS, "raises pydantic_core.ValidationError"))


def pytest_generate_tests(metafunc):
    if "ask" in metafunc.fixturenames:
        metafunc.parametrize("ask", ASKS, ids=lambda ask: ask.name)


@pytest.fixture(scope="session")
def rows():
    """Every line seen in this run, by client and ask; kept where `make_table.py` says."""
    seen = {}
    yield seen
    if RECORD in os.environ:
        Path(os.environ[RECORD]).write_text(json.dumps(seen, indent=1, ensure_ascii=False) + "\n")


@pytest.fixture(scope="session")
def documented():
    return {} if RECORD in os.environ else json.loads(RESULTS.read_text())


@pytest.fixture
def check(rows, documented):
    """Asserts what a client shows its user: what the ask demands, and the documented line.

    None where the client has no such call.
    """

    def checked(client, ask, seen):
        rows.setdefault(client, {})[ask.name] = seen
        if seen is not None:
            assert "forbidden" not in seen
            assert all(word in seen for word in ask.seen), seen
            assert not ask.is_blocked or _tells_of_block(seen), seen
        if RECORD not in os.environ:
            assert seen == documented[client][ask.name]

    return checked
