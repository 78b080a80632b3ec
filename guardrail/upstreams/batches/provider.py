"""A provider's files and batches, through litellm."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

from guardrail.errors import ConfigError, UpstreamError
from guardrail.upstreams.faults import error_words, status_fault, timeout_fault
from guardrail.upstreams.litellm_faults import litellm_fault
from guardrail.upstreams.litellm_sdk import import_litellm
from guardrail.upstreams.undrawn import has_sent_nothing, response_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

__all__ = ["BATCH_PROVIDERS", "BatchProvider", "BatchState"]

BATCH_PROVIDERS = ("openai", "azure", "vertex_ai", "mistral", "hosted_vllm", "litellm_proxy")
"""Those whose batches litellm takes, and gives back, in OpenAI's form."""

_NAMES_MODEL = frozenset({"mistral"})  # litellm finds its batches by the model's name alone
_STREAMS = frozenset({"openai", "hosted_vllm", "litellm_proxy"})
_ENDPOINTS = {"azure": "/chat/completions"}
_USUAL_ENDPOINT = "/v1/chat/completions"
_MOST_LINE_BYTES = 9 << 20  # an answer of 8 MiB, and what stands around it
_ERROR_BODY_BYTES = 1 << 16
_PAGES = 10
_PAGE = 100
_FULL = "token_limit_exceeded"  # OpenAI's word: as many tokens are queued as the account may have
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class BatchState:
    """What the provider says of a batch.

    Attributes:
        id: its own name of it.
        status: OpenAI's word.
        outputs: the ids of the files with its lines, of which there may be none.
        codes: why it was refused as a whole, in machine-readable words.
    """

    id: str
    status: str
    outputs: tuple[str, ...]
    codes: tuple[str, ...]

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    @property
    def is_refused(self) -> bool:
        """Whether it was refused as a whole, so that nothing of it is answered or paid for."""
        return self.status == "failed" and not self.outputs

    @property
    def lacks_room(self) -> bool:
        """Whether it was refused for now: too many tokens are queued."""
        return self.is_refused and _FULL in self.codes


class BatchProvider:
    """Files and batches of one model's provider.

    Args:
        model: litellm's name, the provider first.
        api_key, api_base: see `LiteLLM`.
        timeout_s: longest that one HTTP call may take, an upload included.
        undrawn: the statuses by which the provider says that it did nothing.

    Attributes:
        model: what the provider calls it.
        endpoint: of the API that the requests are for.
        hidden: keys, which no message may show.

    Raises:
        ConfigError: litellm is not installed, or carries no batches of this provider.
    """

    def __init__(
        self,
        model: str,
        *,
        api_key: str | None,
        api_base: str | None,
        timeout_s: float,
        undrawn: Collection[int],
    ) -> None:
        self._litellm = import_litellm()
        self.model, self._provider = self._find_provider(model)
        self.endpoint = _ENDPOINTS.get(self._provider, _USUAL_ENDPOINT)
        self.hidden = [api_key] if api_key else []
        self._timeout_s = timeout_s
        self._undrawn = undrawn
        self._common: dict[str, Any] = {
            "custom_llm_provider": self._provider,
            "api_key": api_key,
            "api_base": api_base,
            "timeout": timeout_s,
            "max_retries": 0,
            "num_retries": 0,
            **({"model": self.model} if self._provider in _NAMES_MODEL else {}),
        }

    async def upload(self, lines: IO[bytes]) -> str:
        """The id of a new input file. Raises UpstreamError; no upload asks a model."""
        try:
            file = await self._or_fault(
                lambda: self._litellm.acreate_file(
                    file=("guardrail.jsonl", lines, "application/jsonl"),
                    purpose="batch",
                    **self._common,
                )
            )
        except UpstreamError as fault:
            fault.undrawn = True
            raise
        return str(file.id)

    async def create(self, file: str) -> BatchState:
        """Has a new batch made of a file. Raises UpstreamError."""
        made = await self._or_fault(
            lambda: self._litellm.acreate_batch(
                completion_window="24h",
                endpoint=self.endpoint,
                input_file_id=file,
                **self._common,
            ),
            draws=True,
        )
        return self._read_state(made)

    async def find(self, file: str) -> BatchState | None:
        """The batch of a file among the last thousand; None where there is none that took it.

        Raises:
            UpstreamError: the provider, or litellm, cannot list batches.
        """
        after: str | None = None
        for _ in range(_PAGES):
            page = await self._or_fault(partial(self._list, after))
            for one in _field(page, "data") or []:
                state = self._read_state(one)
                if getattr(one, "input_file_id", None) == file and not state.is_refused:
                    return state
            before, after = after, _next_page(page)
            if after in (None, before):  # some providers give the first page alone
                return None
        return None

    async def _list(self, after: str | None) -> Any:
        return await self._litellm.alist_batches(after=after, limit=_PAGE, **self._common)

    async def retrieve(self, batch: str) -> BatchState:
        """How a batch stands. Raises UpstreamError."""
        # Otherwise litellm reads the whole output a second time, to reckon its cost.
        quiet = {"litellm_metadata": {"batch_ignore_default_logging": True}}
        found = await self._or_fault(
            lambda: self._litellm.aretrieve_batch(batch_id=batch, **quiet, **self._common)
        )
        return self._read_state(found)

    async def cancel(self, batch: str) -> None:
        """Has a batch ended; what is answered by then is paid for. Raises UpstreamError."""
        await self._or_fault(lambda: self._litellm.acancel_batch(batch_id=batch, **self._common))

    async def read(self, file: str, most_bytes: int) -> AsyncIterator[bytes]:
        """The lines of a file; one that is longer than any answer is left out.

        Args:
            file: the provider's id of it.
            most_bytes: of the whole file.

        Raises:
            UpstreamError: it cannot be read, or is longer.
        """
        size, rest, is_too_long = 0, b"", False
        async for chunk in self._read_chunks(file, most_bytes):
            size += len(chunk)
            if size > most_bytes:
                raise _too_long_error(most_bytes)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip() and not is_too_long:
                    yield line
                is_too_long = False
            if len(rest) > _MOST_LINE_BYTES:
                rest, is_too_long = b"", True
        if rest.strip() and not is_too_long:
            yield rest

    async def _read_chunks(self, file: str, most_bytes: int) -> AsyncIterator[bytes]:
        streams = self._provider in _STREAMS
        if not streams:
            await self._check_size(file, most_bytes)
        content = await self._or_fault(
            lambda: self._litellm.afile_content(file_id=file, stream=streams, **self._common)
        )
        chunks = getattr(content, "stream_iterator", None)
        if chunks is None:  # all of it
            yield bytes(content.content)
            return
        try:
            while (chunk := await self._or_fault(lambda: anext(chunks, None))) is not None:
                yield chunk
        finally:
            await chunks.aclose()

    async def _check_size(self, file: str, most_bytes: int) -> None:
        """Before a file is read at once; raises UpstreamError where it is too large."""
        about = await self._or_fault(
            lambda: self._litellm.afile_retrieve(file_id=file, **self._common)
        )
        size = getattr(about, "bytes", None)
        if not isinstance(size, int) or size > most_bytes:
            raise _too_long_error(most_bytes)

    async def _or_fault(self, ask: Callable[[], Awaitable[Any]], *, draws: bool = False) -> Any:
        """What litellm gives within the time of a call.

        Args:
            ask: calls it.
            draws: whether answers are drawn for this call. A fault of any other one never says that
                none were: the batch that it is about may have them.

        Raises:
            UpstreamError: it gives nothing.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await ask()
        except TimeoutError:
            fault = timeout_fault(self._timeout_s)
        except Exception as error:  # noqa: BLE001 - litellm raises whatever a provider's code does
            fault = self._fault(error)
            sent_nothing = has_sent_nothing(error) or response_status(error) in self._undrawn
            fault.undrawn = draws and sent_nothing
        # Raised out here, outside any `except`, so that it has no context of litellm's.
        raise fault

    def _fault(self, error: Exception) -> UpstreamError:
        """The error for what litellm, or the client of a provider below it, raised."""
        import httpx

        response = getattr(error, "response", None)
        is_own = type(error).__module__.startswith("litellm")  # it makes up statuses
        if isinstance(response, httpx.Response) and not is_own:
            start = response.content[:_ERROR_BODY_BYTES]
            return status_fault(response.status_code, response.headers, start, hidden=self.hidden)
        if response is None and isinstance(error, _connection_errors()):
            return UpstreamError(
                f"the provider of batches could not be reached ({type(error).__name__}); check "
                "that it is up at this address",
                transient=True,
                code="upstream_connection",
            )
        return litellm_fault(self._litellm, error, self._timeout_s, self.hidden)

    def _read_state(self, batch: Any) -> BatchState:
        outputs = (getattr(batch, name, None) for name in ("output_file_id", "error_file_id"))
        errors = getattr(getattr(batch, "errors", None), "data", None) or []
        codes = ({"error": {"code": getattr(error, "code", None)}} for error in errors)
        words = (error_words(json.dumps(code).encode(), self.hidden) for code in codes)
        return BatchState(
            id=str(batch.id),
            status=str(batch.status),
            outputs=tuple(str(file) for file in outputs if file),
            codes=tuple(chain.from_iterable(words)),
        )

    def _find_provider(self, model: str) -> tuple[str, str]:
        """The provider's name for the model, and litellm's for the provider."""
        found = ""
        if "/" in model:
            name, found = self._litellm.get_llm_provider(model=model)[:2]
        if found not in BATCH_PROVIDERS:
            raise ConfigError(
                f"litellm carries no batches of '{found or model[:64]}' in OpenAI's form; name a "
                f"model of one of {', '.join(BATCH_PROVIDERS)}, as in openai/gpt-4o-mini",
                field="upstream",
            )
        return str(name), str(found)


def _field(page: Any, name: str) -> Any:
    """A field of a list: litellm gives an object of the provider's client, or a dict."""
    return page.get(name) if isinstance(page, dict) else getattr(page, name, None)


def _next_page(page: Any) -> str | None:
    """What tells the provider where the next page begins; None where this is the last one."""
    listed = _field(page, "data")
    if not listed or not _field(page, "has_more"):
        return None
    return str(_field(page, "next_page_token") or listed[-1].id)


def _connection_errors() -> tuple[type[Exception], ...]:
    import httpx
    import openai

    return (openai.APIConnectionError, httpx.TransportError)


def _too_long_error(most_bytes: int) -> UpstreamError:
    return UpstreamError(
        f"the results of a batch take more than {most_bytes} bytes, or do not say how many; raise "
        "batch.max_output_bytes, or lower max_tokens",
        code="upstream_malformed_response",
    )
