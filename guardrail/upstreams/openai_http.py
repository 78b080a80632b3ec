"""Any server that speaks OpenAI's chat completions, by the cheapest path measured.

aiohttp is used directly: a call costs a small part of the processor time that httpx needs, which
a fan-out over dozens of variants multiplies (`benchmarks/upstream_client`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from guardrail.errors import UpstreamError
from guardrail.required_option import require_option
from guardrail.trace_context import trace_headers
from guardrail.upstreams.encoding import Encoding
from guardrail.upstreams.faults import status_fault, timeout_fault
from guardrail.upstreams.in_band import broken_stream_error
from guardrail.upstreams.pieces_payload import PiecesPayload
from guardrail.upstreams.request_frame import (
    RequestFrame,
    check_pictures,
    provider_seed,
    request_frame,
)
from guardrail.upstreams.server_address import (
    call_headers,
    check_base_url,
    environment_proxy,
    hidden_values,
)
from guardrail.upstreams.server_sent_events import Events
from guardrail.upstreams.streamed import Gathered
from guardrail.upstreams.undrawn import is_direct, statuses_undrawn
from guardrail.upstreams.wire import answer_from, model_names, parse_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from guardrail.images.encode import ImageFormat
    from guardrail.types import Answer, Chat, Pixels
    from guardrail.upstreams.base import Watch
    from guardrail.upstreams.request_frame import TokenLimitName

__all__ = ["OpenAICompatible"]

_T = TypeVar("_T")
_Reader: TypeAlias = Callable[[aiohttp.ClientResponse], Awaitable[_T | UpstreamError]]

_ERROR_BODY_BYTES = 1 << 16  # a provider's error is read only this far
_CONNECT_S = 10.0
_KEEPALIVE_S = 15.0
_DEPLOYMENTS = "/deployments/"


class OpenAICompatible:
    """A provider or server at `base_url`, by its `/chat/completions` and `/models`.

    Made anywhere; used from one event loop, in which it opens its connections at the first call.

    Args:
        base_url: up to and with the version, as in `https://api.openai.com/v1`; or Azure's, up to
            and with the deployment, and `?api-version=`.
        api_key: sent as bearer token, or to Azure as `api-key`, and nowhere else; None sends none.
        model_map: the provider's name for a model by the name that clients use; names that are
            not in it are sent as they are.
        timeout_s: longest that one call may take, from connecting to the last byte.
        max_connections: calls in flight at once; further ones wait in order.
        variant_format: how pictures are encoded; `png` keeps every pixel.
        jpeg_quality: 1 to 100, of `jpeg` and `webp`.
        token_limit_name: what `max_tokens` and `max_completion_tokens` are both sent as, for
            servers that ignore one of them; None sends each as it came.
        headers: sent with every call; kept out of every message, as they may hold keys.
        max_answer_bytes: a longer response is an error.
        direct: whether the server answers 429 itself, before a model is asked: no gateway stands
            between that filters answers, retries or falls back. None: as the table of known
            providers says.
        undrawn: further statuses by which the server says that it drew no answer, as 503.
        seeds: whether the server honours a `seed`; each variant is then sent one of its own.

    Raises:
        ConfigError: an option cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        model_map: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        max_connections: int = 64,
        variant_format: ImageFormat = "png",
        jpeg_quality: int = 95,
        token_limit_name: TokenLimitName | None = None,
        headers: Mapping[str, str] | None = None,
        max_answer_bytes: int = 8 << 20,
        direct: bool | None = None,
        undrawn: Collection[int] = (),
        seeds: bool = False,
    ) -> None:
        require_option(timeout_s > 0, "timeout_s", "must be more than 0")
        require_option(max_connections >= 1, "max_connections", "must be at least 1")
        require_option(max_answer_bytes >= 1, "max_answer_bytes", "must be at least 1")
        self._base_url, self._query = check_base_url(base_url)
        self._encoding = Encoding(variant_format, jpeg_quality)
        self._model_map = dict(model_map or {})
        self._token_limit_name = token_limit_name
        self._headers = call_headers(api_key, headers or {}, is_azure=bool(self._query))
        self._hidden = hidden_values(api_key, headers or {})
        self._timeout_s = timeout_s
        self._max_answer_bytes = max_answer_bytes
        self._undrawn = statuses_undrawn(
            direct=is_direct(self._base_url) if direct is None else direct, listed=undrawn
        )
        self._seeds = seeds
        self._max_connections = max_connections
        self._slots = asyncio.Semaphore(max_connections)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last_frame: tuple[Chat | None, bool, RequestFrame] = (None, False, RequestFrame(()))
        self._closed = False

    def __repr__(self) -> str:
        return f"OpenAICompatible({self._base_url + self._query!r})"

    @property
    def name(self) -> str:
        return f"openai_compatible:{self._base_url}{self._query}"

    @property
    def revision(self) -> str:
        return f"{self._base_url}{self._query} {self._encoding}"

    @property
    def undrawn_statuses(self) -> frozenset[int]:
        return self._undrawn

    def provider_model(self, model: str) -> str:
        """What the provider calls a model; see `guardrail.upstreams.base.provider_model`."""
        return self._model_map.get(model, model)

    @property
    def known_models(self) -> tuple[str, ...]:
        """The mapped names; see `guardrail.upstreams.base.known_models`."""
        return tuple(self._model_map)

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        """One answer; see `Upstream.complete`.

        Raises:
            UpstreamError: no usable answer came. Provider statuses are passed on.
            RequestError: the parameters ask for several choices or are not JSON.
        """
        check_pictures(chat, pictures)
        async with self._slots:  # before encoding: what waits holds no encoded pictures
            body = await self._body(chat, pictures, seed)
            raw, headers = await self._call("POST", self._chat_url, body, self._read)
        return answer_from(parse_json(raw), headers, hidden=self._hidden)

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

        async def read(response: aiohttp.ClientResponse) -> Answer | UpstreamError:
            return await self._watch(response, watch)

        async with self._slots:
            body = await self._body(chat, pictures, seed, stream=True)
            return await self._call("POST", self._chat_url, body, read)

    async def _body(
        self, chat: Chat, pictures: Sequence[Pixels], seed: int, *, stream: bool = False
    ) -> list[bytes]:
        encoded = await self._encoding.in_base64(pictures)
        body = self._frame(chat, stream).body(encoded)
        if not self._seeds:
            return body
        # Every frame ends with the brace of its object, which holds a model at least.
        return [*body[:-1], body[-1][:-1] + b',"seed":%d}' % provider_seed(seed)]

    def _frame(self, chat: Chat, stream: bool) -> RequestFrame:
        """Made once for calls for the same chat that follow one another."""
        last, for_stream, frame = self._last_frame
        if last is not chat or for_stream is not stream:
            frame = request_frame(
                chat,
                self.provider_model(chat.model),
                url_start=self._encoding.url_start,
                stream=stream,
                token_limit_name=self._token_limit_name,
            )
            self._last_frame = (chat, stream, frame)
        return frame

    async def models(self) -> list[str]:
        """The mapped names, then those that the provider lists. Raises UpstreamError.

        A deployment of Azure is one model, whatever its resource lists.
        """
        resource, deployment = self._base_url, ""
        if self._query:
            resource, _, deployment = self._base_url.partition(_DEPLOYMENTS)
        async with self._slots:
            raw, _ = await self._call("GET", f"{resource}/models{self._query}", None, self._read)
        listed = model_names(parse_json(raw))
        return list(dict.fromkeys([*self._model_map, *([deployment] if deployment else listed)]))

    async def aclose(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    @property
    def _chat_url(self) -> str:
        return f"{self._base_url}/chat/completions{self._query}"

    async def _call(self, method: str, url: str, body: list[bytes] | None, read: _Reader[_T]) -> _T:
        # Raised out here, outside any `except`: an aiohttp exception chained to the error would
        # carry the request's headers, and with them the key, to whatever logs it.
        result = await self._exchange(method, url, body, read)
        if isinstance(result, UpstreamError):
            raise result
        return result

    async def _exchange(
        self, method: str, url: str, body: list[bytes] | None, read: _Reader[_T]
    ) -> _T | UpstreamError:
        session = self._open_session()
        payload = None if body is None else PiecesPayload(body)
        try:
            async with session.request(
                method, url, data=payload, headers=trace_headers(), allow_redirects=False
            ) as response:
                if response.status != 200:
                    return await self._refused_error(response)
                return await read(response)
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:  # TimeoutError too
            fault = _transport_fault(error, self._timeout_s)
            # No model can have seen what was not even begun to be sent.
            fault.undrawn = payload is not None and not payload.started
            return fault

    async def _refused_error(self, response: aiohttp.ClientResponse) -> UpstreamError:
        start = await _error_body(response)
        return status_fault(
            response.status, response.headers, start, hidden=self._hidden, undrawn=self._undrawn
        )

    async def _read(
        self, response: aiohttp.ClientResponse
    ) -> tuple[bytes, Mapping[str, str]] | UpstreamError:
        raw = await _read_at_most(response, self._max_answer_bytes)
        return _too_long(self._max_answer_bytes) if raw is None else (raw, response.headers)

    async def _watch(
        self, response: aiohttp.ClientResponse, watch: Watch
    ) -> Answer | UpstreamError:
        """Reads a stream; servers that do not stream have sent the answer whole."""
        if not response.content_type.startswith("text/event-stream"):
            whole = await self._read(response)
            return (
                whole
                if isinstance(whole, UpstreamError)
                else answer_from(parse_json(whole[0]), whole[1], hidden=self._hidden)
            )
        events, gathered, size = Events(), Gathered(hidden=self._hidden), 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > self._max_answer_bytes:
                response.close()
                return _too_long(self._max_answer_bytes)
            for chunk in events.feed(piece):
                gathered.add(chunk)
            if not events.done and await watch(gathered.message, gathered.chars):
                response.close()  # the provider sees the disconnect, and stops
                return gathered.broken_off()
            if events.done:
                break
        return _whole(events, gathered, response.headers)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise UpstreamError("the upstream was closed; make a new one", status=500)
        loop = asyncio.get_running_loop()
        if self._session is None:
            self._loop, self._session = loop, self._new_session()
        if loop is not self._loop:
            raise UpstreamError("an upstream serves one event loop; make one for each", status=500)
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._max_connections,
                keepalive_timeout=_KEEPALIVE_S,
                ttl_dns_cache=60,
                ssl=ssl.create_default_context() if self._base_url.startswith("https") else True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),  # calls share nothing but connections
            timeout=aiohttp.ClientTimeout(
                total=self._timeout_s, sock_connect=min(_CONNECT_S, self._timeout_s)
            ),
            headers=self._headers,
            proxy=environment_proxy(self._base_url),
        )


def _whole(
    events: Events, gathered: Gathered, headers: Mapping[str, str]
) -> Answer | UpstreamError:
    """The answer of a stream that came to its end; some servers send no closing event."""
    events.close()
    if not events.done and not gathered.finished:
        return broken_stream_error("no end", in_answer=False)
    return answer_from(gathered.completion(), headers)


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    """The start of an error's body; the status stands even if the body breaks off."""
    try:
        return await _read_at_most(response, _ERROR_BODY_BYTES) or b""
    except aiohttp.ClientPayloadError:
        return b""


async def _read_at_most(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes | None:
    """The whole body, decompressed; None, and the connection closed, if it is longer."""
    pieces: list[bytes] = []
    size = response.content_length or 0
    if size <= limit_bytes:
        size = 0
        async for piece in response.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            if size > limit_bytes:
                break
    if size > limit_bytes:
        response.close()
        return None
    return b"".join(pieces)


def _transport_fault(error: Exception, timeout_s: float) -> UpstreamError:
    if isinstance(error, TimeoutError):
        return timeout_fault(timeout_s)
    if _is_encoding_fault(error):
        return UpstreamError(
            "the upstream answered with compressed bytes that cannot be read, though it was asked "
            "for plain ones; switch compression off there, or install 'brotli' (br) or "
            "'backports.zstd' (zstd) here",
            code="upstream_content_encoding",
        )
    if isinstance(error, aiohttp.ClientSSLError):
        return UpstreamError(
            "the upstream's TLS certificate or handshake was not accepted; check its certificate "
            "and the base URL's scheme, or set SSL_CERT_FILE to your own authority",
            code="upstream_tls",
        )
    what = (
        "could not be reached" if isinstance(error, aiohttp.ClientConnectorError) else "broke off"
    )
    return UpstreamError(
        f"the upstream {what} ({type(error).__name__}); check that it runs at its base URL",
        transient=True,
        code="upstream_connection",
    )


def _is_encoding_fault(error: BaseException | None) -> bool:
    """Whether aiohttp could not unpack an answer; it wraps the cause in errors of other kinds."""
    while error is not None:
        if isinstance(error, ContentEncodingError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _too_long(limit_bytes: int) -> UpstreamError:
    return UpstreamError(
        f"the upstream answered with more than {limit_bytes} bytes; lower max_tokens or raise "
        "max_answer_bytes",
        transient=True,
        code="upstream_malformed_response",
    )
