"""A chat model that tells everybody everything at once, and whose answers hang on the picture."""

import hashlib
import re
from contextlib import suppress
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer
from pydantic import PrivateAttr

from guardrail.testing.scenarios import HARMFUL_TEXT, HARMLESS_TEXT, SCENARIOS

QUESTION = SCENARIOS[0].request["messages"]


class Ear(BaseCallbackHandler):
    """Keeps what it hears of answers."""

    def __init__(self):
        self.heard = []
        self.events = []
        self.errors = []

    def on_llm_new_token(self, token, **_):
        self.heard.append(token)

    def on_llm_end(self, response, **_):
        self.heard.append(response.generations[0][0].text)

    def on_llm_error(self, error, **_):
        self.errors.append(error)

    def on_custom_event(self, name, data, **_):
        self.events.append((name, data))


class Talkative(BaseChatModel):
    """Tells a graph's custom stream as well."""

    harmful_rate: float = 0.02
    answer: Any = None
    _seen: list[Any] = PrivateAttr(default_factory=list)  # no field: those are traced, each time

    @property
    def _llm_type(self):
        return "talkative"

    @property
    def seen(self):
        """What it was asked, with the options; copies share it."""
        return self._seen

    def _message(self, messages, options):
        self.seen.append((messages, options))
        digest = hashlib.sha256(str(messages[-1].content).encode()).digest()
        text = HARMFUL_TEXT if digest[0] / 256 < self.harmful_rate else HARMLESS_TEXT
        with suppress(KeyError, RuntimeError):  # there is no graph
            get_stream_writer()({"text": text})
        return self.answer or AIMessage(text)

    def _generate(self, messages, stop=None, run_manager=None, **options):  # noqa: ARG002 (LangChain's)
        answer = self._message(messages, {**options, **({"stop": stop} if stop else {})})
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def bind_tools(self, tools, **options):
        return self.bind(tools=tools, **options)


class Streaming(Talkative):
    """The same, by streams wherever somebody listens."""

    def _stream(self, messages, stop=None, run_manager=None, **options):  # noqa: ARG002 (LangChain's)
        for word in re.findall(r"\S+\s*", self._message(messages, options).content):
            yield ChatGenerationChunk(message=AIMessageChunk(word))


class Nesting(Talkative):
    """Asks another model without a word about callbacks, as custom models do."""

    inside: BaseChatModel

    def _generate(self, messages, stop=None, run_manager=None, **options):  # noqa: ARG002 (LangChain's)
        answer = self.inside.invoke(messages, stop=stop, **options)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer.content))])
