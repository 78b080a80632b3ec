"""`litellm.completion` and `litellm.acompletion`, guarded: called and answered as before."""

from __future__ import annotations

import functools
import inspect
import json
import uuid
from typing import TYPE_CHECKING, Any

from guardrail.api.chat.endpoint import CHAT_ENDPOINT
from guardrail.api.chat.stream import chunks
from guardrail.api.shapes import refused_field
from guardrail.errors import ConfigError
from guardrail.upstreams.litellm_faults import litellm_fault
from guardrail.upstreams.litellm_sdk import (
    ASKED_ONCE,
    BY_NAME,
    ask_once,
    no_gateway,
    plain_response,
)
from guardrail.upstreams.undrawn import is_direct_provider, statuses_undrawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from guardrail.errors import UpstreamError
    from guardrail.middleware.result import Result
    from guardrail.middleware.runtime import Runtime
    from guardrail.types import Json
    from guardrail.upstreams.function import FunctionUpstream

__all__ = ["wrap_call"]

_OWN = frozenset({"model", "messages", "stream", "stream_options"})
_REPEATING = frozenset({*ASKED_ONCE, "retry_policy", "retry_strategy"})
_REFUSED = (
    # They let another model or a cache answer for the one that is asked.
    *("caching", "fallbacks", "context_window_fallback_dict", "context_window_fallbacks"),
    "content_policy_fallbacks",
)


def wrap_call(
    runtime: Runtime, function: Callable[..., Any], principal: str | None = None
) -> Callable[..., Any]:
    """The function with guarded answers. Options of litellm's own go with every variant.

    Those by which litellm repeats calls or keeps answers are switched off: whether a call is
    repeated is decided by the guard.
    """
    name = uuid.uuid4().hex  # no two functions need have the same models behind them
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def guarded_async(model: str, messages: Any = (), **given: Any) -> Any:
            request, options = _split_options({"model": model, "messages": messages, **given})
            upstream = _asking_async(runtime, function, options)
            result = await runtime.decide(
                request, CHAT_ENDPOINT, upstream, scope=_scope(name, options), principal=principal
            )
            completion = result.body(runtime.on_block)
            return _stream_async(result) if result.incoming.stream else _response(completion)

        return guarded_async

    @functools.wraps(function)
    def guarded(model: str, messages: Any = (), **given: Any) -> Any:
        request, options = _split_options({"model": model, "messages": messages, **given})
        upstream = _asking(runtime, function, options)
        result = runtime.decide_sync(
            request, CHAT_ENDPOINT, upstream, scope=_scope(name, options), principal=principal
        )
        completion = result.body(runtime.on_block)
        return _stream(result) if result.incoming.stream else _response(completion)

    return guarded


def _split_options(given: Mapping[str, Any]) -> tuple[dict[str, Json], dict[str, Any]]:
    """OpenAI's request, which the guard reads, and what litellm alone understands.

    Raises:
        RequestError: an option would let something else answer.
    """
    for name in _REFUSED:
        if given.get(name):
            raise refused_field(name, "would answer in the model's place; leave it out")
    request = {name: value for name, value in given.items() if name in BY_NAME | _OWN}
    request = {name: value for name, value in request.items() if value is not None}
    request["messages"] = [_plain_message(message) for message in given["messages"]]
    request.update(given.get("extra_body") or {})
    taken = BY_NAME | _OWN | _REPEATING | {"extra_body"}
    return request, {name: value for name, value in given.items() if name not in taken}


def _scope(name: str, options: Mapping[str, Any]) -> str | None:
    """All that goes with a call besides the chat; None where it cannot be written down."""
    try:
        return json.dumps([name, options], sort_keys=True)
    except (TypeError, ValueError):
        return None


def _plain_message(message: Any) -> Any:
    """Answers of litellm, sent back as history, are objects."""
    dump = getattr(message, "model_dump", None)
    return message if dump is None else dump(exclude_none=True)


def _arguments(body: Mapping[str, Json], options: Mapping[str, Any]) -> dict[str, Any]:
    named = {name: value for name, value in body.items() if name in BY_NAME | _OWN}
    extra = {name: value for name, value in body.items() if name not in named}
    extra_body = {"extra_body": extra} if extra else {}
    return {**no_gateway(), **options, **ASKED_ONCE, **named, **extra_body}


def _asking(
    runtime: Runtime, function: Callable[..., Any], options: Mapping[str, Any]
) -> FunctionUpstream:
    _check_settings()

    def call(body: dict[str, Json]) -> Json:
        try:
            return plain_response(function(**_arguments(body, options)))
        except Exception as error:  # noqa: BLE001 - litellm raises whatever a provider's code does
            fault = _fault(error, function, body, options)
        raise fault  # raised here, so that it has no context of litellm's

    return runtime.decider.function(call, name="litellm", revision="")


def _asking_async(
    runtime: Runtime, function: Callable[..., Any], options: Mapping[str, Any]
) -> FunctionUpstream:
    async def call(body: dict[str, Json]) -> Json:
        try:
            with ask_once():
                return plain_response(await function(**_arguments(body, options)))
        except Exception as error:  # noqa: BLE001 - as above
            fault = _fault(error, function, body, options)
        raise fault

    return runtime.decider.function(call, name="litellm", revision="")


def _check_settings() -> None:
    """Raises ConfigError where litellm repeats calls whatever a call's own options say."""
    import litellm

    if litellm.num_retries:
        raise ConfigError(
            "litellm.num_retries is set, so that litellm repeats calls by itself; set it to None, "
            "the guard repeats what may be repeated"
        )


def _fault(
    error: Exception,
    function: Callable[..., Any],
    body: Mapping[str, Json],
    options: Mapping[str, Any],
) -> UpstreamError:
    import litellm

    address = options.get("api_base") or options.get("base_url") or litellm.api_base
    # Other functions, as a router's, know models by names of their own.
    own = function in (litellm.completion, litellm.acompletion)
    direct = own and is_direct_provider(str(body.get("model")), address)
    key, timeout_s = options.get("api_key"), options.get("timeout")
    longest_s = timeout_s if isinstance(timeout_s, int | float) else 0.0
    hidden = [key] if isinstance(key, str) else []
    undrawn = statuses_undrawn(direct=direct)
    return litellm_fault(litellm, error, longest_s, hidden, undrawn=undrawn)


def _response(completion: Mapping[str, Json]) -> Any:
    import litellm

    return litellm.ModelResponse(**completion)


def _chunks(result: Result) -> Iterator[Any]:
    from litellm.types.utils import ModelResponseStream

    for chunk in chunks(result.reply.body, result.incoming.include_usage):
        yield ModelResponseStream(**chunk)


def _stream(result: Result) -> Iterator[Any]:
    yield from _chunks(result)


async def _stream_async(result: Result) -> AsyncIterator[Any]:
    for chunk in _chunks(result):
        yield chunk
