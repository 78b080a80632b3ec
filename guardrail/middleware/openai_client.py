"""OpenAI's clients, guarded: the real client over a transport that answers in this process.

Whatever the client makes of an answer (streams, parsed models, raw responses) works as ever, since
it is handed what the proxy would send. What has to be sent is sent by the original client.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import httpx

from guardrail.api.chat.endpoint import CHAT_ENDPOINT
from guardrail.api.responses.endpoint import RESPONSES_ENDPOINT
from guardrail.errors import GuardrailError, RequestError
from guardrail.middleware.http_answer import answer_of, answer_to_error
from guardrail.upstreams.cached import names_cache_hit
from guardrail.upstreams.undrawn import is_direct, statuses_undrawn
from guardrail.upstreams.wire import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardrail.api.endpoint import Endpoint
    from guardrail.middleware.result import Result
    from guardrail.middleware.runtime import Runtime
    from guardrail.types import Json
    from guardrail.upstreams.function import Call, FunctionUpstream

__all__ = ["wrap_client"]

_FORMS = {"chat/completions": CHAT_ENDPOINT, "responses": RESPONSES_ENDPOINT}
_SENT_ON = {"POST": re.compile(r"embeddings|moderations"), "GET": re.compile(r"models(/[^/]+)?")}
"""Routes on which no model answers in words; all others are refused."""
_DEPLOYMENT = re.compile(r"^deployments/[^/]+/")
_OWN_HEADERS = frozenset(
    {"accept", "accept-encoding", "api-key", "authorization", "connection", "content-length"}
    | {"content-type", "host", "idempotency-key", "transfer-encoding", "user-agent"}
)
_RAISED = "guardrail.raised"


def wrap_client(runtime: Runtime, client: Any, principal: str | None = None) -> Any:
    """A client of the same class, its answers guarded; `client` itself stays as it is."""
    import openai

    is_async = isinstance(client, openai.AsyncOpenAI)
    inner = (
        httpx.AsyncClient(transport=_AsyncTransport(runtime, client, principal))
        if is_async
        else httpx.Client(transport=_Transport(runtime, client, principal))
    )
    # One call may take as long as the original waits; a decision, as long as the policy says.
    guarded = client.copy(http_client=inner, max_retries=0, timeout=None)
    guarded.__class__ = _raising(type(client), is_async)
    # Sockets would pass the transport by.
    guarded.websocket_base_url = "wss://not-guarded.invalid"
    return guarded


def _raising(kind: Any, is_async: bool) -> type[Any]:
    """The client's class, raising the guard's own errors in place of what stands for them."""
    import openai

    def request(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return kind.request(self, *args, **options)
        except openai.APIStatusError as error:
            raised = _error_to_raise(error)
        raise raised

    async def request_async(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return await kind.request(self, *args, **options)
        except openai.APIStatusError as error:
            raised = _error_to_raise(error)
        raise raised

    members = {"request": request_async if is_async else request, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), members)


def _error_to_raise(error: Any) -> Exception:
    raised: Exception = error.response.extensions.get(_RAISED, error)
    return raised


class _Base:
    """What both transports do with a request of the guarded client."""

    def __init__(self, runtime: Runtime, client: Any, principal: str | None) -> None:
        self._runtime = runtime
        self._client = client
        self._principal = principal
        self._name = uuid.uuid4().hex  # no two clients need have the same model behind them

    def _endpoint(self, request: httpx.Request) -> Endpoint | None:
        """How the route is guarded; None where the request is sent on. Raises RequestError."""
        route = self._route(request)
        if request.method == "POST" and route in _FORMS:
            return _FORMS[route]
        sent_on = _SENT_ON.get(request.method)
        if sent_on is not None and sent_on.fullmatch(route):
            return None
        raise RequestError(
            "this route is not guarded and hence refused; use the original client for it",
            status=404,
            code="route_not_guarded",
        )

    def _route(self, request: httpx.Request) -> str:
        path = request.url.path.removeprefix(self._client.base_url.path)
        return _DEPLOYMENT.sub("", path.lstrip("/"))

    def _send(self, method: str, route: str, body: Json, request: httpx.Request) -> Any:
        """Sends by the original client, with what the caller added to `request`."""
        options: dict[str, Any] = dict(self._extra_options(request))
        if method == "GET":
            return self._client.get(f"/{route}", cast_to=httpx.Response, options=options)
        if route in _FORMS:
            options["max_retries"] = 0  # whether a call is repeated is decided by the guard
        return self._client.post(f"/{route}", cast_to=httpx.Response, body=body, options=options)

    def _extra_options(self, request: httpx.Request) -> dict[str, dict[str, str]]:
        """Headers and query that the caller gave beside the body."""
        known = {name.lower() for name in self._client.default_headers} | _OWN_HEADERS
        added = {
            name: value
            for name, value in request.headers.items()
            if name not in known and not name.startswith("x-stainless-")
        }
        return {"headers": added, "params": dict(request.url.params)}

    def _scope(self, request: httpx.Request) -> str:
        """All that is sent with a call besides the chat."""
        return json.dumps([self._name, self._extra_options(request)], sort_keys=True)

    def _send_on(self, request: httpx.Request) -> Any:
        body = json.loads(request.content) if request.content else None
        return self._send(request.method, self._route(request), body, request)

    def _answer(self, result: Result, endpoint: Endpoint) -> httpx.Response:
        """What the proxy would send. Raises GuardrailError where there is no answer."""
        result.body(self._runtime.on_block)
        answer = answer_of(result, endpoint)
        return httpx.Response(answer.status, headers=answer.headers, content=answer.content)

    def _upstream(self, call: Call) -> FunctionUpstream:
        url = self._client.base_url
        return self._runtime.decider.function(
            call,
            name=f"openai:{url.host}",
            revision=f"{url.scheme}://{url.host}{url.path}",
            one_request=True,
            undrawn=statuses_undrawn(direct=is_direct(str(url))),
        )


class _Transport(_Base, httpx.BaseTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raw = request.read()
        try:
            endpoint = self._endpoint(request)
            if endpoint is None:
                return _plain(self._send_on(request))
            return self._answer(self._decide(request, raw, endpoint), endpoint)
        except GuardrailError as error:
            return _failure(error)
        except TimeoutError:
            raise _too_late() from None

    def _decide(self, request: httpx.Request, raw: bytes, endpoint: Endpoint) -> Result:
        def call(body: Json) -> Json:
            return _parse_completion(self._send("POST", "chat/completions", body, request))

        upstream = self._upstream(call)
        return self._runtime.decide_sync(
            raw,
            endpoint,
            upstream,
            scope=self._scope(request),
            principal=self._principal,
            timeout_s=_timeout_s(request),
        )


class _AsyncTransport(_Base, httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raw = await request.aread()
        try:
            endpoint = self._endpoint(request)
            if endpoint is None:
                return _plain(await self._send_on(request))
            return self._answer(await self._decide(request, raw, endpoint), endpoint)
        except GuardrailError as error:
            return _failure(error)
        except TimeoutError:
            raise _too_late() from None

    async def _decide(self, request: httpx.Request, raw: bytes, endpoint: Endpoint) -> Result:
        async def call(body: Json) -> Json:
            return _parse_completion(await self._send("POST", "chat/completions", body, request))

        upstream = self._upstream(call)
        return await self._runtime.decide(
            raw,
            endpoint,
            upstream,
            scope=self._scope(request),
            principal=self._principal,
            timeout_s=_timeout_s(request),
        )


def _parse_completion(response: httpx.Response) -> Json:
    """The completion; `cache_hit` is added where the headers say that it came out of a cache."""
    parsed = parse_json(response.content)
    if isinstance(parsed, dict) and names_cache_hit(response.headers):
        return {**parsed, "cache_hit": True}
    return parsed


def _plain(response: httpx.Response) -> httpx.Response:
    """The response anew, its body decoded."""
    kind = response.headers.get("content-type", "application/json")
    return httpx.Response(
        response.status_code, headers={"content-type": kind}, content=response.content
    )


def _failure(error: GuardrailError) -> httpx.Response:
    """Carries an error through the client, which must not try again."""
    answer = answer_to_error(error)
    return httpx.Response(
        answer.status,
        headers={**answer.headers, "x-should-retry": "false"},
        content=answer.content,
        extensions={_RAISED: error},
    )


def _timeout_s(request: httpx.Request) -> float | None:
    """How long the caller waits for an answer to begin."""
    waits: Mapping[str, float | None] = request.extensions.get("timeout", {})
    return waits.get("read")


def _too_late() -> httpx.ReadTimeout:
    return httpx.ReadTimeout("the guard had not decided in time")
