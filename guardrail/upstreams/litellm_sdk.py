"""Every provider that litellm knows, through its SDK.

Servers that speak OpenAI's form are reached with far less work through `openai_http`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import importlib.util
import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from guardrail.distribution import install_command
from guardrail.errors import ConfigError, RequestError
from guardrail.trace_context import trace_headers
from guardrail.upstreams.base import fill_images
from guardrail.upstreams.cached import names_cache_hit
from guardrail.upstreams.encoding import Encoding
from guardrail.upstreams.faults import timeout_fault
from guardrail.upstreams.in_band import broken_stream_error
from guardrail.upstreams.litellm_faults import litellm_fault
from guardrail.upstreams.request_frame import check_pictures, provider_seed, request_parameters
from guardrail.upstreams.streamed import Gathered
from guardrail.upstreams.undrawn import is_direct_provider, statuses_undrawn
from guardrail.upstreams.wire import answer_from

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
    from types import ModuleType

    from guardrail.images.encode import ImageFormat
    from guardrail.types import Answer, Chat, Json, Pixels
    from guardrail.upstreams.base import Watch

__all__ = [
    "ASKED_ONCE",
    "BY_NAME",
    "LiteLLM",
    "ask_once",
    "import_litellm",
    "no_gateway",
    "plain_response",
]

# OpenAI's own parameters go to litellm by name, all others inside `extra_body`: passed by name, a
# field of a client's request could be one of litellm's options, which send the key to another
# address (`api_base`) or make up the answer (`mock_response`).
BY_NAME = {
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
}
ASKED_ONCE: Mapping[str, Json] = {
    "num_retries": 0,
    "max_retries": 0,
    "fallbacks": [],
    "caching": False,
    "cache": {"no-cache": True, "no-store": True},
}
"""What keeps litellm from repeating a call, from asking another model, and from its own cache."""


class LiteLLM:
    """One model of any provider, by litellm's name for it, as in `anthropic/claude-sonnet-4-5`.

    Clients' own names for the model are ignored. litellm's retries, fallbacks, caches and dropping
    of parameters are off: one call asks the provider once.

    Args:
        model: litellm's name, the provider first.
        api_key: the provider's; None lets litellm look into the environment.
        api_base: the provider's address, where it is not the usual one.
        timeout_s: longest that one call may take.
        max_connections: calls in flight at once; further ones wait in order.
        variant_format: how pictures are encoded; `png` keeps every pixel.
        jpeg_quality: 1 to 100, of `jpeg` and `webp`.
        direct: whether the provider answers 429 itself, see `OpenAICompatible`. None: as the table
            of known providers says, and never where litellm is told of another address.
        undrawn: further statuses by which the provider says that it drew no answer.
        seeds: whether the provider honours a `seed`; each variant is then sent one of its own.

    Raises:
        ConfigError: litellm is not installed or set to fall back, or an option cannot be used.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None = None,
        api_base: str | None = None,
        timeout_s: float = 60.0,
        max_connections: int = 64,
        variant_format: ImageFormat = "png",
        jpeg_quality: int = 95,
        direct: bool | None = None,
        undrawn: Collection[int] = (),
        seeds: bool = False,
    ) -> None:
        if not model.strip():
            raise ConfigError("must name a model, as in litellm:openai/gpt-4o-mini", field="model")
        if timeout_s <= 0 or max_connections < 1:
            raise ConfigError("timeout_s must be more than 0 and max_connections at least 1")
        self._litellm = import_litellm()
        self._off = {**ASKED_ONCE, "drop_params": False, **no_gateway()}
        known = is_direct_provider(model, api_base or self._litellm.api_base)
        self._undrawn = statuses_undrawn(direct=known if direct is None else direct, listed=undrawn)
        self._seeds = seeds
        self._model = model
        self._api_key = api_key
        self._api_base = api_base
        self._hidden = [api_key] if api_key else []
        self._timeout_s = timeout_s
        self._encoding = Encoding(variant_format, jpeg_quality)
        self._slots = asyncio.Semaphore(max_connections)

    def __repr__(self) -> str:
        return f"LiteLLM({self._model!r})"

    @property
    def name(self) -> str:
        return f"litellm:{self._model}"

    @property
    def revision(self) -> str:
        return f"{self._model} {self._encoding}"

    @property
    def undrawn_statuses(self) -> frozenset[int]:
        return self._undrawn

    @property
    def known_models(self) -> tuple[str, ...]:
        return (self._model,)

    def provider_model(self, _model: str) -> str:
        """The one model that it asks, whatever clients call it."""
        return self._model

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        """One answer; see `Upstream.complete`.

        Raises:
            UpstreamError: no usable answer came. Provider statuses are passed on.
            RequestError: the parameters ask for several choices.
        """
        check_pictures(chat, pictures)
        arguments = self._arguments(chat, seed)
        async with self._slots:
            arguments["messages"] = await self._messages(chat, pictures)
            response = await self._or_fault(lambda: self._whole(arguments))
        return answer_from(response)

    async def complete_watched(
        self,
        chat: Chat,
        pictures: Sequence[Pixels],
        *,
        seed: int,
        watch: Watch,
    ) -> Answer:
        """One answer, watched while it grows; see `StreamingUpstream.complete_watched`."""
        check_pictures(chat, pictures)
        arguments = self._arguments(chat, seed)
        arguments |= {"stream": True, "stream_options": {"include_usage": True}}
        async with self._slots:
            arguments["messages"] = await self._messages(chat, pictures)
            stream = await self._or_fault(lambda: self._ask(arguments))
            try:
                return await self._watch(stream, watch)
            finally:
                await stream.aclose()  # the provider sees the disconnect, and stops

    async def _watch(self, stream: Any, watch: Watch) -> Answer:
        gathered = Gathered(hidden=self._hidden)
        cached = _is_cached(stream)
        end = asyncio.get_running_loop().time() + self._timeout_s
        while True:
            chunk = await self._or_fault(lambda: anext(stream, None), until=end)
            if chunk is None:
                break
            gathered.add(_plain_chunk(chunk))
            if await watch(gathered.message, gathered.chars):
                return gathered.broken_off()
        if stream.received_finish_reason is None:
            raise broken_stream_error("no end", in_answer=False)  # litellm makes one up
        return dataclasses.replace(answer_from(gathered.completion()), cached=cached)

    def _arguments(self, chat: Chat, seed: int) -> dict[str, Json]:
        arguments = _arguments(request_parameters(chat))
        return {**arguments, "seed": provider_seed(seed)} if self._seeds else arguments

    async def _messages(self, chat: Chat, pictures: Sequence[Pixels]) -> list[dict[str, Json]]:
        urls = [url.decode("ascii") for url in await self._encoding.data_urls(pictures)]
        return fill_images(chat.messages, urls)

    async def models(self) -> list[str]:
        return [self._model]

    async def aclose(self) -> None:
        """Nothing to do: litellm shares its connections among all its users."""

    async def _whole(self, arguments: Mapping[str, Json]) -> Json:
        return plain_response(await self._ask(arguments))

    async def _ask(self, arguments: Mapping[str, Json]) -> Any:
        trace = dict(trace_headers())
        with ask_once():
            return await self._litellm.acompletion(
                **{"stream": False, **arguments},
                **({"extra_headers": trace} if trace else {}),
                model=self._model,
                api_key=self._api_key,
                api_base=self._api_base,
                timeout=self._timeout_s,
                **self._off,
            )

    async def _or_fault(
        self, ask: Callable[[], Awaitable[Any]], *, until: float | None = None
    ) -> Any:
        """What litellm gives within the time of a call. Raises UpstreamError."""
        try:
            latest = asyncio.get_running_loop().time() + self._timeout_s
            async with asyncio.timeout_at(latest if until is None else until):
                return await ask()
        except TimeoutError:
            fault = timeout_fault(self._timeout_s)
        except Exception as error:  # noqa: BLE001 - litellm raises whatever a provider's code does
            fault = litellm_fault(
                self._litellm, error, self._timeout_s, self._hidden, undrawn=self._undrawn
            )
        # Raised out here, outside any `except`, so that it has no context of litellm's.
        raise fault


def import_litellm() -> ModuleType:
    """litellm, with what it would do by itself switched off. Raises ConfigError."""
    # Otherwise litellm fetches a price list from the network while it is imported.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ImportError as error:
        raise ConfigError(
            f"litellm is not installed; {install_command('litellm')}", field="upstream"
        ) from error
    litellm.telemetry = False
    litellm.suppress_debug_info = True  # it prints its own advice on every error otherwise
    if litellm.model_fallbacks:
        raise ConfigError(
            "litellm.model_fallbacks is set, so that another model may answer; set it to None, and "
            "list several upstreams here instead",
            field="upstream",
        )
    return cast("ModuleType", litellm)


_asking_once: ContextVar[bool] = ContextVar("guardrail_asking_once", default=False)


@contextmanager
def ask_once() -> Iterator[None]:
    """Inside it litellm's HTTP client sends every request once; see `_guard_second_request`."""
    _guard_second_request()
    token = _asking_once.set(True)
    try:
        yield
    finally:
        _asking_once.reset(token)


def _guard_second_request() -> None:
    """Makes litellm's HTTP client raise, inside `ask_once`, where it would send a request again.

    After a reset or a close without an answer it sends the request once more by a new connection,
    whatever its options say; the first answer may have been drawn. Who else uses litellm in this
    process keeps that.
    """
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    again = getattr(AsyncHTTPHandler, "single_connection_post_request", None)
    if again is None or hasattr(again, "guarded_by_guardrail"):
        return

    @functools.wraps(again)
    async def unless_once(self: Any, *args: Any, **options: Any) -> Any:
        fault = sys.exception()
        if _asking_once.get() and fault is not None:
            raise fault
        return await again(self, *args, **options)

    unless_once.guarded_by_guardrail = True  # type: ignore[attr-defined]  # a mark on a function
    setattr(AsyncHTTPHandler, again.__name__, unless_once)


def no_gateway() -> dict[str, bool]:
    """What keeps releases that have one from handing calls with tools to their MCP gateway.

    It would run tools itself, and cannot be imported without the extra `litellm[mcp]`. Releases
    without it would send the word on to the provider.
    """
    gateway = importlib.util.find_spec("litellm.responses.mcp.chat_completions_handler")
    return {} if gateway is None else {"_skip_mcp_handler": True}


def _arguments(parameters: Mapping[str, Json]) -> dict[str, Json]:
    if "extra_body" in parameters:
        raise RequestError("extra_body: put its fields into the request itself", param="extra_body")
    named = {name: value for name, value in parameters.items() if name in BY_NAME}
    others = {name: value for name, value in parameters.items() if name not in BY_NAME}
    return {**named, "extra_body": others} if others else named


def plain_response(response: Json) -> Json:
    """The response as JSON, its choices as the provider wrote them.

    `cache_hit` is added where litellm, or a gateway behind it, took the answer out of a cache.
    """
    plain = response.model_dump(exclude_none=True)
    cached = {"cache_hit": True} if _is_cached(response) else {}
    choices = [_choice(choice) for choice in plain.get("choices") or []]
    return {**plain, **cached, "choices": choices}


def _is_cached(response: Any) -> bool:
    """What litellm keeps beside a response or a stream, the provider's headers among it."""
    beside = getattr(response, "_hidden_params", None) or {}
    headers = beside.get("additional_headers") or {}
    provider = {str(n).removeprefix("llm_provider-"): str(v) for n, v in headers.items()}
    return beside.get("cache_hit") is True or names_cache_hit(provider)


def _plain_chunk(chunk: Json) -> dict[str, Json]:
    """A chunk of a stream as JSON, its deltas as the provider wrote them."""
    plain = chunk.model_dump(exclude_none=True)
    choices = [
        {**_own(choice), "delta": _with_refusal(choice.get("delta") or {})}
        for choice in plain.get("choices") or []
    ]
    return {**plain, "choices": choices}


def _choice(choice: Mapping[str, Json]) -> dict[str, Json]:
    message = {"content": None, **_with_refusal(choice.get("message") or {})}
    return {**_own(choice), "message": message}


def _with_refusal(message: Mapping[str, Json]) -> dict[str, Json]:
    """The message with its refusal, which litellm files among `provider_specific_fields`."""
    refusal = (message.get("provider_specific_fields") or {}).get("refusal")
    return {**_own(message), **({} if refusal is None else {"refusal": refusal})}


def _own(part: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in part.items() if name != "provider_specific_fields"}
