"""A model behind a function: an OpenAI request body in, a chat completion out."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from guardrail.causes import chain_cause
from guardrail.errors import GuardrailError, RequestError, UpstreamError
from guardrail.semaphore import FifoSemaphore
from guardrail.types import Json
from guardrail.upstreams.base import fill_images
from guardrail.upstreams.encoding import Encoding
from guardrail.upstreams.faults import status_fault
from guardrail.upstreams.request_frame import check_pictures, request_parameters
from guardrail.upstreams.undrawn import has_sent_nothing, response_status
from guardrail.upstreams.wire import answer_from

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from guardrail.images.encode import ImageFormat
    from guardrail.types import Answer, Chat, Pixels

__all__ = ["Call", "FunctionUpstream", "fault_of", "is_async"]

Call: TypeAlias = Callable[[dict[str, Json]], Awaitable[Mapping[str, Json]] | Mapping[str, Json]]
"""Sends one chat completion request and returns the completion, both as JSON; may be async."""

_THREADS = 64


class FunctionUpstream:
    """Asks the model by calling a function once for every variant.

    The function must ask its model once as well: retries, fallbacks and caches of its own draw
    answers again, which the certificate knows nothing of.

    A plain function runs in a worker thread, an async one on the event loop. Whatever it raises
    becomes an UpstreamError that quotes nothing of it and has it as `__cause__`; a RequestError
    stays one. Cancellation passes through to an async one.

    Args:
        call: see `Call`. Pictures are in the body as data URLs.
        name: what a person would call the model; must hold no key.
        revision: fixes which model answers, as far as that is known.
        models: names that a client may put into `model`.
        max_connections: calls in flight at once; further ones wait in order.
        variant_format: how pictures are encoded; `png` keeps every pixel.
        jpeg_quality: 1 to 100, of `jpeg` and `webp`.
        one_request: whether the function sends one HTTP request by httpx or aiohttp, and nothing
            else that could fail alike; then what it raises tells whether that was sent.
        undrawn: with `one_request`, the statuses by which its server says that it drew no answer.

    Raises:
        ConfigError: the format or the quality is not one that can be used.
    """

    def __init__(
        self,
        call: Call,
        *,
        name: str = "function",
        revision: str = "",
        models: Sequence[str] = (),
        max_connections: int = 64,
        variant_format: ImageFormat = "png",
        jpeg_quality: int = 95,
        one_request: bool = False,
        undrawn: Collection[int] = (),
    ) -> None:
        self._call = call
        self._one_request = one_request
        self._undrawn = frozenset(undrawn)
        self._name = name
        self._revision = revision
        self._models = tuple(models)
        self._encoding = Encoding(variant_format, jpeg_quality)
        self._room = FifoSemaphore(max_connections)
        self._home: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"FunctionUpstream({self._name!r})"

    @property
    def name(self) -> str:
        return self._name

    @property
    def revision(self) -> str:
        return f"{self._revision} {self._encoding}".strip()

    @property
    def undrawn_statuses(self) -> frozenset[int]:
        return self._undrawn

    def on_loop(self, loop: asyncio.AbstractEventLoop | None) -> Self:
        """The same upstream, its async function called on `loop`, whichever loop asks for it.

        Clients and their connections often belong to the loop that they were made on.
        """
        moved = copy.copy(self)
        moved._home = loop  # noqa: SLF001 (a copy of its own class)
        return moved

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:  # noqa: ARG002 - the protocol's; the function draws its own samples
        """One answer; see `Upstream.complete`.

        Raises:
            UpstreamError: the function raised, or returned no usable answer.
            RequestError: the parameters ask for several choices, or the function raised it.
        """
        check_pictures(chat, pictures)
        parameters = request_parameters(chat)
        async with self._room.hold():
            urls = [url.decode("ascii") for url in await self._encoding.data_urls(pictures)]
            messages = fill_images(chat.messages, urls)
            result = await self._result({**parameters, "model": chat.model, "messages": messages})
        # Raised here, outside any `except`: what the function raised may hold keys and content.
        if isinstance(result, UpstreamError | RequestError):
            raise result
        return answer_from(result)

    async def models(self) -> list[str]:
        return list(self._models)

    async def aclose(self) -> None:
        """Nothing to do: what the function uses belongs to its maker."""

    async def _result(self, body: dict[str, Json]) -> Json | UpstreamError | RequestError:
        try:
            return await self._run_call(body)
        except Exception as error:  # noqa: BLE001 (other people's code)
            if isinstance(error, RequestError):
                return error  # about the request, so no repeat would help
            fault = fault_of(error)
            if not self._one_request and fault is not error:
                # The caller's own code. Of clients' errors nothing is kept: they hold keys.
                chain_cause(fault, error)
            elif fault is not error:
                fault.undrawn = has_sent_nothing(error) or response_status(error) in self._undrawn
            return fault

    async def _run_call(self, body: dict[str, Json]) -> Json:
        if is_async(self._call):
            return await self._await_on_loop(lambda: self._call(body))
        run = functools.partial(contextvars.copy_context().run, _call_whole, self._call, body)
        called = await asyncio.get_running_loop().run_in_executor(_threads(), run)
        return await self._await_on_loop(lambda: called) if inspect.isawaitable(called) else called

    async def _await_on_loop(self, begin: Callable[[], Any]) -> Json:
        """Awaits what `begin` returns where it belongs; it is not begun if that is cancelled."""

        async def begin_call() -> Json:
            return await begin()

        if self._home in (None, asyncio.get_running_loop()):
            return await begin_call()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(begin_call(), self._home))


def is_async(call: Callable[..., Any]) -> bool:
    """Whether it is an async function, or an object that is called as one."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004 (asked of an object whose class has one)
    )


def _call_whole(call: Callable[..., Any], body: dict[str, Json]) -> Any:
    """Calls it. A future takes no StopIteration, and whoever awaits it would wait for ever."""
    try:
        return call(body)
    except StopIteration as error:
        raise RuntimeError("the function raised StopIteration") from error


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Shared by all: the loop's own executor has too few for calls that do nothing but wait."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="guardrail-call")


def fault_of(error: Exception) -> UpstreamError:
    """The error for whatever a client library raised, by its status, its class and its headers.

    Its text is dropped: providers quote keys and content back.
    """
    if isinstance(error, UpstreamError):
        return error
    if isinstance(error, GuardrailError):
        return UpstreamError(f"the model's function failed ({type(error).__name__})", status=500)
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if isinstance(status, int):
        return status_fault(status, _headers_of(response), _body_of(error))
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, TimeoutError) or any("Timeout" in kind for kind in kinds):
        return UpstreamError(
            "the upstream did not answer in time; raise its client's timeout or check it",
            status=504,
            transient=True,
            code="upstream_timeout",
        )
    return UpstreamError(
        f"the call to the upstream failed ({type(error).__name__}); check that it runs",
        transient=True,
        code="upstream_connection",
    )


def _headers_of(response: Any) -> dict[str, str]:
    """Names in lower case."""
    headers = getattr(response, "headers", None) or {}
    return {str(name).lower(): str(value) for name, value in headers.items()}


def _body_of(error: Exception) -> bytes:
    """The provider's error where the library has kept it, as openai does; only its code is read."""
    body = getattr(error, "body", None)
    try:
        return json.dumps({"error": body}).encode() if isinstance(body, dict) else b""
    except (TypeError, ValueError, RecursionError):
        return b""
