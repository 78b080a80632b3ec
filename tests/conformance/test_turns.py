"""Conversations of ten turns: what clients keep of the answers is what the model gets to see again.

Every client sends back its own message objects. Pictures, calls of tools, reasoning, a refusal and
a block come by, whole and in streams, and the last request must hold the same texts and calls that
were delivered, whatever form the client gave them.
"""

import asyncio
import json
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import anthropic
import litellm
import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

from guardrail.engine.engine import Engine
from guardrail.images.keys import NoiseKey
from guardrail.policy.compile import compile_policy
from guardrail.policy.schema import Policy
from guardrail.server.serve import running_server_async
from guardrail.upstreams.openai_http import OpenAICompatible
from guardrail.upstreams.scripted import Step
from guardrail.upstreams.scripted_server import scripted_server

# litellm and what it loads warn of their own affairs, and leave connections and loops open.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("own_loop")]

RESULT = "Rain."


@dataclass(frozen=True)
class Turn:
    """What the user says in a turn, and what the model answers.

    Attributes:
        number: from 1.
        text: the answer; with calls it comes after their results.
        picture: whether the user sends one.
        streamed: whether the answer is asked for as a stream.
        cities: the arguments of its calls.
        aside: what it says beside its calls.
        thought: its reasoning, before all else.
        refusal: its words, where it refuses.
        blocked: whether the answer is harmful.
    """

    number: int
    text: str = ""
    picture: bool = False
    streamed: bool = False
    cities: tuple = ()
    aside: str = ""
    thought: str = ""
    refusal: str = ""
    blocked: bool = False

    @property
    def prompt(self):
        return f"Turn {self.number}: what now?"


TURNS = [
    Turn(1, "Two squares.", picture=True),
    Turn(2, "One is red.", streamed=True),
    Turn(3, "It rains in Oslo.", cities=("Oslo",)),
    Turn(4, "The other is blue.", thought="One is red, so look at the other."),
    Turn(5, refusal="I would rather not say."),
    Turn(6, "They are swapped.", picture=True, streamed=True, thought="Look again."),
    Turn(7, blocked=True),
    Turn(8, "It rains in both.", streamed=True, cities=("Rome", "Lima"), aside="Let me see."),
    Turn(9, "And in Kyiv.", cities=("Kyiv",), thought="One more city."),
    Turn(10, "Goodbye."),
]


# The provider


def provider(call):
    """Answers the turn that the messages have come to, before or after the results of its calls."""
    messages = call.body["messages"]
    turn = TURNS[sum(message["role"] == "user" for message in messages) - 1]
    if turn.blocked:
        return Step("Sadly, here is a forbidden word.")
    if turn.cities and messages[-1]["role"] != "tool":
        said = {"content": turn.aside or None, "tool_calls": [*_calls(turn)]}
        return Step(message={**said, **_thought(turn)}, finish_reason="tool_calls")
    if turn.refusal:
        return Step(message={"content": None, "refusal": turn.refusal})
    return Step(message={"content": turn.text, **({} if turn.cities else _thought(turn))})


def _calls(turn):
    for number, city in enumerate(turn.cities):
        function = {"name": "weather", "arguments": json.dumps({"city": city})}
        yield {"id": f"call_{turn.number}_{number}", "type": "function", "function": function}


def _thought(turn):
    return {"reasoning_content": turn.thought} if turn.thought else {}


# What it should see in the end


def expected(keeps_thoughts, keeps_refusals, block):
    """The history of the last request, each message as `meaning` words it."""
    for turn in TURNS:
        yield ("user", turn.prompt, turn.picture)
        thought = turn.thought if keeps_thoughts else ""
        calls = [("weather", {"city": city}) for city in turn.cities]
        if calls:
            yield ("assistant", turn.aside, thought, calls)
            yield from (("tool", call, RESULT) for call in calls)
        said = turn.text or (turn.refusal if keeps_refusals else "")
        if turn.blocked:
            said = block
        if turn.number < len(TURNS):
            yield ("assistant", said, "" if calls else thought, [])


def meanings(messages):
    """Texts and calls, without the form that a client gave them."""
    made = {}
    for message in messages:
        content = message.get("content") or []
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = "".join(part["text"] for part in parts if part["type"] == "text")
        if message["role"] == "user":
            pictured = any(part["type"] == "image_url" for part in parts)
            yield ("user", text, pictured)
        elif message["role"] == "tool":
            yield ("tool", made[message["tool_call_id"]], text)
        else:
            assert all(part["type"] == "text" for part in parts)  # else some servers refuse it
            calls = message.get("tool_calls") or []
            read = [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls]
            made |= {call["id"]: one for call, one in zip(calls, read, strict=True)}
            refusal = message.get("refusal") or ""
            assert not (text and refusal) or text == refusal
            yield ("assistant", text or refusal, message.get("reasoning_content") or "", read)


# The clients of Python


class OpenAIChat:
    """The official client, by chat completions."""

    def __init__(self, url, model, kit):
        self.client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        self.asked = {"model": model, "tools": [kit.TOOL]}
        self.messages, self.kit = [], kit

    def say(self, turn):
        self.messages.append({"role": "user", "content": self.kit.content(turn)})
        return self._ask(turn)

    def answer(self, calls, turn):
        for call in calls:
            self.messages.append({"role": "tool", "tool_call_id": call.id, "content": RESULT})
        return self._ask(turn)

    def _ask(self, turn):
        message = self._complete(turn.streamed, messages=self.messages, **self.asked)
        self.messages.append(message)
        return message.tool_calls or []

    def _complete(self, streamed, **asked):
        completions = self.client.chat.completions
        if not streamed:
            return completions.create(**asked).choices[0].message
        with completions.stream(**asked) as stream:
            stream.until_done()
            # `get_final_completion` raises at a block, since it is to be parsed.
            return stream.current_completion_snapshot.choices[0].message


class LiteLLM(OpenAIChat):
    """litellm's SDK, as an OpenAI-compatible provider."""

    def __init__(self, url, model, kit):
        super().__init__(url, model, kit)
        self.asked |= {"model": f"openai/{model}", "api_base": url, "api_key": "k"}
        self.asked |= {"max_retries": 0, "_skip_mcp_handler": True}

    def _complete(self, streamed, **asked):
        made = litellm.completion(**asked, stream=streamed)
        if streamed:
            made = litellm.stream_chunk_builder([*made])
        return made.choices[0].message


class OpenAIResponses(OpenAIChat):
    """The official client, by the Responses API."""

    def __init__(self, url, model, kit):
        super().__init__(url, model, kit)
        tool = {"type": "function", **kit.TOOL["function"], "strict": False}
        self.asked["tools"] = [tool]

    def say(self, turn):
        given = self.kit.response_input(turn)
        self.messages += [{"role": "user", "content": given}] if isinstance(given, str) else given
        return self._ask(turn)

    def answer(self, calls, turn):
        for call in calls:
            output = {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
            self.messages.append(output)
        return self._ask(turn)

    def _ask(self, turn):
        made = self.client.responses.create(**self.asked, input=self.messages, stream=turn.streamed)
        if turn.streamed:
            *_, end = made
            made = end.response
        self.messages += made.output
        return [item for item in made.output if item.type == "function_call"]


class LangChain:
    """LangChain's chat model for OpenAI."""

    def __init__(self, url, model, kit):
        model = ChatOpenAI(model=model, base_url=url, api_key="k", max_retries=0)
        self.model, self.messages, self.kit = model.bind_tools([kit.TOOL]), [], kit

    def say(self, turn):
        self.messages.append(HumanMessage(self.kit.content(turn)))
        return self._ask(turn)

    def answer(self, calls, turn):
        self.messages += [ToolMessage(RESULT, tool_call_id=call["id"]) for call in calls]
        return self._ask(turn)

    def _ask(self, turn):
        if turn.streamed:
            first, *rest = self.model.stream(self.messages)
            made = sum(rest, first)
        else:
            made = self.model.invoke(self.messages)
        self.messages.append(made)
        return made.tool_calls


class AnthropicMessages:
    """Anthropic's official client, which asks for thoughts and sends them back."""

    def __init__(self, url, model, kit):
        address = url.removesuffix("/v1")
        self.client = anthropic.Anthropic(base_url=address, api_key="k", max_retries=0)
        self.asked = {"model": model, "max_tokens": 99, "tools": [kit.message_tool()]}
        self.asked["thinking"] = {"type": "adaptive"}
        self.messages, self.kit = [], kit

    def say(self, turn):
        self.messages.append({"role": "user", "content": self.kit.message_content(turn)})
        return self._ask(turn)

    def answer(self, calls, turn):
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": RESULT} for call in calls
        ]
        self.messages.append({"role": "user", "content": results})
        return self._ask(turn)

    def _ask(self, turn):
        if turn.streamed:
            with self.client.messages.stream(**self.asked, messages=self.messages) as stream:
                made = stream.get_final_message()
        else:
            made = self.client.messages.create(**self.asked, messages=self.messages)
        self.messages.append(made.to_param())
        return [block for block in made.content if block.type == "tool_use"]


PYTHON = {
    "anthropic (Python)": AnthropicMessages,
    "openai (Python)": OpenAIChat,
    "openai (Python), Responses": OpenAIResponses,
    "langchain-openai": LangChain,
    "litellm": LiteLLM,
}
NODE = (
    "openai (Node)",
    "openai (Node), Responses",
    "ai + @ai-sdk/openai-compatible",
    "ai + @ai-sdk/openai",
)
KEEP_THOUGHTS = {
    *("anthropic (Python)", "openai (Python)", "litellm", "openai (Node)"),
    "ai + @ai-sdk/openai-compatible",
}
"""The others have no place for reasoning that they would send back."""
DROP_REFUSALS = {"langchain-openai", "litellm"}
"""These have a place for a refusal and do not send it back; a block's words are content as well."""


# The proxy


@dataclass(frozen=True)
class Proxy:
    """A running proxy, what it decided by client, and the provider's log."""

    url: str
    decided: dict
    upstream: object
    turns: list

    def history(self, client):
        """The messages of the client's last request, as the provider saw them."""
        calls = [call.body for call in self.upstream.calls if call.body["model"] == client]
        return calls[-1]["messages"]


def _policy(kit):
    return Policy.model_validate(
        {
            "name": "turns",
            "oracle": {"miss_rate_upper": 0.01},
            "smoothing": {"radius": 0.01, "alpha": 0.2},  # a few variants are enough
            "block": {"text": kit.BLOCKED},
            "advanced": {"limits": {"max_images": 20}},
        }
    )


@contextmanager
def running_proxy(kit, turns):
    policy, decided = _policy(kit), {}
    ready, stop, made = threading.Event(), threading.Event(), []

    def record(verdict, chat):
        decided.setdefault(chat.model, []).append(verdict)
        return f"{chat.model}-{len(decided[chat.model])}".replace(" ", "-")

    async def serve():
        async with scripted_server(provider) as upstream:
            reached = OpenAICompatible(upstream.base_url, api_key="provider-key")
            engine = Engine(compile_policy(policy), reached, kit._lexicon(), NoiseKey(bytes(32)))
            async with running_server_async(policy, engine, record=record) as server:
                made.append(Proxy(server.base_url, decided, upstream, turns))
                ready.set()
                await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        assert ready.wait(60)
        yield made[0]
    finally:
        stop.set()
        thread.join(60)


OTHERWISE = pytest.param(True, id="the other way round", marks=pytest.mark.nightly)


@pytest.fixture(scope="module", params=[pytest.param(False, id="as listed"), OTHERWISE])
def proxy(kit, request):
    """In the second run what was streamed is asked for whole, and the other way round."""
    turns = [replace(turn, streamed=turn.streamed != request.param) for turn in TURNS]
    with running_proxy(kit, turns) as running:
        yield running


@pytest.fixture(scope="module")
def ended(kit, proxy, node_packages):
    """What ended the conversation of each client of Node; None where nothing did."""
    asked = {
        "url": proxy.url,
        "turns": [asdict(turn) | {"prompt": turn.prompt} for turn in proxy.turns],
        "tool": kit.TOOL,
        "result": RESULT,
        "picture": kit.picture_url(),
    }
    ran = subprocess.run(
        ["node", "turns.mjs"],
        cwd=node_packages,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("client", PYTHON)
def test_what_clients_of_python_send_back(kit, proxy, client):
    talking = PYTHON[client](proxy.url, client, kit)
    for turn in proxy.turns:
        calls = talking.say(turn)
        if calls:
            assert talking.answer(calls, turn) == []
    check(kit, proxy, client)


@pytest.mark.parametrize("client", NODE)
def test_what_clients_of_node_send_back(kit, proxy, ended, client):
    assert ended[client] is None
    check(kit, proxy, client)


def check(kit, proxy, client):
    """Every request was answered, as the script has it, and the last one held all that was said."""
    asked = [turn for turn in TURNS for _ in range(2 if turn.cities else 1)]
    assert [verdict.action.value for verdict in proxy.decided[client]] == [
        "block" if turn.blocked else "pass" for turn in asked
    ]
    assert all(verdict.certificate is not None for verdict in proxy.decided[client])
    seen = [*meanings(proxy.history(client))]
    wanted = expected(client in KEEP_THOUGHTS, client not in DROP_REFUSALS, kit.BLOCKED)
    assert seen == [*wanted]
