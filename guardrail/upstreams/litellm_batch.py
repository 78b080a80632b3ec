"""A provider's batch API, through litellm: half the price, for answers that come within a day.

Calls that wait at the same time are gathered into one batch. Only a job that can wait for hours
may use it (`answers_late`). Its bodies are those of `openai_http`, and its answers are read by the
same code.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

from guardrail.errors import ConfigError, UpstreamError
from guardrail.upstreams.batches.ledger import BatchLedger
from guardrail.upstreams.batches.provider import BatchProvider
from guardrail.upstreams.batches.results import read_answer_line
from guardrail.upstreams.batches.run import BatchRun
from guardrail.upstreams.batches.settings import BatchSettings
from guardrail.upstreams.encoding import Encoding
from guardrail.upstreams.request_frame import check_pictures, provider_seed, request_frame
from guardrail.upstreams.undrawn import is_direct_provider, statuses_undrawn

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Sequence

    from guardrail.images.encode import ImageFormat
    from guardrail.types import Answer, Chat, Pixels
    from guardrail.upstreams.batches.ledger import Submitted
    from guardrail.upstreams.request_frame import TokenLimitName

__all__ = ["LiteLLMBatch"]

_ENCODED_AT_ONCE = 16
_MOST_KEPT = 4  # batches of earlier runs whose results are held; others are read again if need be
_ID_DIGITS = 32


class LiteLLMBatch:
    """One model of a provider, by litellm's name for it, asked in batches.

    A request is found again by a digest of its body and seed. One that an earlier run has sent is
    not sent again: its batch is waited for, or read once more, and the line in it is the answer.
    After that a repeated call, which the engine makes only where nothing was drawn, is a new one.

    Made anywhere; used from one event loop.

    Args:
        model: litellm's name, the provider first.
        ledger: file that notes what was sent, see `BatchLedger`.
        settings: how calls are gathered and waited for.
        price_share: what the provider charges of the standard price.
        api_key, api_base: see `LiteLLM`.
        timeout_s: longest that one HTTP call may take, an upload included.
        variant_format: how pictures are encoded; `png` keeps every pixel.
        jpeg_quality: 1 to 100, of `jpeg` and `webp`.
        token_limit_name: see `OpenAICompatible`.
        direct: likewise; it holds for the status of a line as well.
        undrawn: likewise.
        seeds: whether the provider honours a `seed`; each variant is then sent one of its own.

    Raises:
        ConfigError: litellm is not installed or carries no batches of this provider, or an option
            cannot be used.
    """

    answers_late = True

    def __init__(
        self,
        model: str,
        *,
        ledger: str | os.PathLike[str] | None = None,
        settings: BatchSettings | None = None,
        price_share: float = 1.0,
        api_key: str | None = None,
        api_base: str | None = None,
        timeout_s: float = 600.0,
        variant_format: ImageFormat = "png",
        jpeg_quality: int = 95,
        token_limit_name: TokenLimitName | None = None,
        direct: bool | None = None,
        undrawn: Collection[int] = (),
        seeds: bool = False,
    ) -> None:
        if ledger is None:
            raise ConfigError(
                "name the file that notes which batches were paid for", field="ledger"
            )
        known = is_direct_provider(model, api_base)
        self._undrawn = statuses_undrawn(direct=known if direct is None else direct, listed=undrawn)
        self._provider = BatchProvider(
            model,
            api_key=api_key,
            api_base=api_base,
            timeout_s=timeout_s,
            undrawn=self._undrawn,
        )
        self._model = model
        self._settings = settings or BatchSettings()
        self.price_share = price_share
        self._token_limit_name = token_limit_name
        self._seeds = seeds
        self._encoding = Encoding(variant_format, jpeg_quality)
        self._encoding_places = asyncio.Semaphore(_ENCODED_AT_ONCE)
        self._arriving = 0
        self._gathering: BatchRun | None = None
        self._runs: set[BatchRun] = set()
        self._earlier: OrderedDict[int, BatchRun] = OrderedDict()
        self._answered: set[str] = set()
        self._ledger = BatchLedger(ledger)

    def __repr__(self) -> str:
        return f"LiteLLMBatch({self._model!r})"

    @property
    def name(self) -> str:
        return f"litellm_batch:{self._model}"

    @property
    def revision(self) -> str:
        return f"{self._model} {self._encoding}"

    @property
    def attempt_salt(self) -> bytes:
        """See `guardrail.upstreams.base.attempt_salt`."""
        return self._ledger.salt

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
        """One answer, after hours; see `Upstream.complete`.

        Raises:
            UpstreamError: no usable answer came.
            RequestError: the parameters ask for several choices or are not JSON.
            StorageError: what is sent cannot be noted.
        """
        check_pictures(chat, pictures)
        self._arriving += 1
        try:
            async with self._encoding_places:  # what waits holds no encoded pictures
                run, request_id = await self._hand_over(chat, pictures, seed)
        finally:
            self._arriving -= 1
        line = await run.wait(request_id)  # nothing else ran since it was handed over
        return read_answer_line(line, hidden=self._provider.hidden, undrawn=self._undrawn)

    async def models(self) -> list[str]:
        return [self._model]

    async def aclose(self) -> None:
        """Waits no more; batches under way go on, and the next run finds them."""
        await asyncio.gather(*(run.aclose() for run in (*self._runs, *self._earlier.values())))
        self._ledger.close()
        # litellm leaves its clients to the garbage collector, and they need a loop to be closed by.
        gc.collect(1)
        await asyncio.sleep(0)

    async def _hand_over(
        self, chat: Chat, pictures: Sequence[Pixels], seed: int
    ) -> tuple[BatchRun, str]:
        """The batch that a request is in by now, and its id there."""
        frame = request_frame(
            chat,
            self._provider.model,
            url_start=self._encoding.url_start,
            token_limit_name=self._token_limit_name,
        )
        body = frame.body(await self._encoding.in_base64(pictures))
        if self._seeds:  # every frame ends with the brace of its object
            body = [*body[:-1], body[-1][:-1] + b',"seed":%d}' % provider_seed(seed)]
        request_id = _identify(body, seed)
        if self._ledger.has_earlier and request_id not in self._answered:
            earlier = await asyncio.to_thread(self._ledger.find, request_id)
            if earlier is not None:
                self._answered.add(request_id)
                return self._resume(earlier), request_id
        start = b'{"custom_id":"%b","method":"POST","url":"%b","body":' % (
            request_id.encode(),
            self._provider.endpoint.encode(),
        )
        return self._add(request_id, [start, *body, b"}\n"]), request_id

    def _resume(self, earlier: Submitted) -> BatchRun:
        """The batch of an earlier run, which many requests share."""
        runs = self._earlier
        run = runs.get(earlier.number)
        if run is None or run.has_failed:
            run = BatchRun(self._provider, self._ledger, self._settings, earlier=earlier)
            runs[earlier.number] = run
        runs.move_to_end(earlier.number)
        over = [number for number, one in runs.items() if one.is_over]
        for number in over[:-_MOST_KEPT]:
            del runs[number]
        return run

    def _add(self, request_id: str, line: Sequence[bytes]) -> BatchRun:
        """The batch that the request was added to."""
        size_bytes = sum(map(len, line))
        if size_bytes > self._settings.max_bytes:
            raise UpstreamError(
                f"one request takes {size_bytes} bytes, and a batch no more than "
                f"{self._settings.max_bytes}; send smaller pictures, or encode them as jpeg",
                status=413,
            )
        if any(run.holds(request_id) for run in self._runs):
            raise UpstreamError("the same request was made twice at a time", status=500)
        run = self._gathering
        if run is not None and not run.has_room(size_bytes):
            run.close()
            run = None
        if run is None:
            run = self._gathering = BatchRun(
                self._provider, self._ledger, self._settings, is_called=lambda: self._arriving > 0
            )
            self._runs.add(run)
            run.when_over(self._runs.discard)
        run.add(request_id, line)
        return run


def _identify(body: Sequence[bytes], seed: int) -> str:
    """A digest of a request and its seed: the seed tells equal bodies of one decision apart."""
    digest = hashlib.sha256(b"%d:" % seed)
    for piece in body:
        digest.update(piece)
    return digest.hexdigest()[:_ID_DIGITS]
