"""A vision-language model in this process: any that transformers' auto classes can load."""

from __future__ import annotations

import asyncio
import copy
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.batching import Batch, ThreadBatcher
from guardrail.counted_noun import count_of
from guardrail.errors import ConfigError, UpstreamError
from guardrail.types import Answer, Chat, Pixels
from guardrail.upstreams.loading import Loaded, folder_digest, load_vlm, read_model_settings
from guardrail.upstreams.local_generate import GenerationRow, generate
from guardrail.upstreams.local_memory import RowLimit
from guardrail.upstreams.local_request import read_request
from guardrail.upstreams.picture_side import PictureSide, read_settings

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

__all__ = ["TransformersLocal"]


class TransformersLocal:
    """Answers by a local model, in batches, in one thread of its own.

    Each row of a batch samples by its own seed, so an answer depends on its picture and its seed
    and not on what else was asked at the time (up to the rounding of batched arithmetic). A seed
    that a client names among its parameters has no effect: `complete` is given its own.

    On a processor in float32 answers were the same letter for letter in every batch
    (`benchmarks/retry_rule`), which is what `deterministic` says. In other types, and on other
    devices, the rounding of a batch may change a close draw.

    Args:
        model: Hugging Face id or folder; loaded at the first use, or by `load`.
        name: what clients and certificates call it; the id or the folder's name by default.
        device, dtype: see `load_vlm`.
        max_batch: most pictures-with-prompt computed at once; fewer, where memory runs out.
        max_queue: most that wait; more are refused as overload.
        default_max_tokens: length of an answer where the client names none.
    """

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        max_batch: int = 64,
        max_queue: int = 4096,
        default_max_tokens: int = 256,
    ) -> None:
        self._model = model
        self._name = name or Path(model).name or model
        self._device = device
        self._dtype = dtype
        self._default_max_tokens = default_max_tokens
        self._loaded: Loaded | None = None
        self._limit = RowLimit()
        self._loading = threading.Lock()
        self._revision: str | None = None
        self._side: tuple[PictureSide | None] | None = None
        self._worker = ThreadBatcher[GenerationRow, Answer](
            self._answer_batch,
            group=_group,
            max_batch=max_batch,
            max_queue=max_queue,
            name=f"model {self._name}",
            full=_overloaded_error,
            closed=_closed_error,
            failed=_failed_error,
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def revision(self) -> str:
        """A digest of a folder's files, or the id of a hub model; with the type that was asked for.

        The type is part of it because rounding changes answers. Read once.
        """
        if self._revision is None:
            folder = Path(self._model)
            files = folder_digest(folder) if folder.is_dir() else self._model
            self._revision = files if self._dtype is None else f"{files}-{self._dtype}"
        return self._revision

    @property
    def deterministic(self) -> bool:
        """See `is_deterministic`; False where the device is left open, as it may be a GPU."""
        return self._device == "cpu" and self._dtype in (None, "float32")

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        request = read_request(chat, self._default_max_tokens)
        if chat.pictures != len(pictures):
            raise UpstreamError(
                f"the chat refers to {count_of(chat.pictures, 'picture')} but "
                f"{count_of(len(pictures), 'was', 'were')} given",
                status=400,
            )
        ordered = tuple(pictures[index] for index in request.pictures)
        return await self._worker.run(GenerationRow(request, ordered, seed))

    @property
    def known_models(self) -> tuple[str, ...]:
        return (self._name,)

    def picture_side(self, _model: str) -> PictureSide | None:
        """See `find_picture_side`. Read once; blocks while files are read. Raises ConfigError."""
        if self._side is None:
            self._side = (read_settings(*read_model_settings(self._model)),)
        return self._side[0]

    async def models(self) -> list[str]:
        return [self._name]

    async def aclose(self) -> None:
        """Ends the worker. Raises UpstreamError if the model hangs and is left behind."""
        if not await self._worker.aclose():
            raise UpstreamError("the local model hangs; its thread could not be ended")

    async def warm_up(self) -> None:
        """Loads the model now instead of at the first request. Raises ConfigError."""
        await asyncio.to_thread(self.load)

    def load(self) -> Loaded:
        """The model and its processor; blocks while they are read. Raises ConfigError."""
        with self._loading:
            if self._loaded is None:
                self._loaded = load_vlm(self._model, device=self._device, dtype=self._dtype)
            return self._loaded

    def _answer_batch(self, batch: Batch[GenerationRow]) -> list[Answer]:
        return generate(self.load(), batch.items, self._name, batch.wanted, self._limit)


def _group(row: GenerationRow) -> Hashable:
    """Pictures of one size make one shape of input, so a batch needs no padding."""
    return row.request.group, tuple(pixels.shape for pixels in row.pictures)


def _failed_error(error: BaseException) -> Exception:
    """What a model library raises may quote the prompt, so its kind and place only go on."""
    if isinstance(error, UpstreamError):
        return copy.copy(error)
    if isinstance(error, ConfigError):
        return UpstreamError(str(error))
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return UpstreamError(
        f"the local model failed ({type(error).__name__}{place}); try fewer or smaller pictures, "
        "or a smaller advanced.sampling.max_parallel if memory ran out",
        transient=True,
    )


def _overloaded_error() -> Exception:
    return UpstreamError(
        "the local model has too many requests waiting; try again later",
        status=503,
        transient=True,
        retry_after_s=1.0,
        undrawn=True,
    )


def _closed_error() -> Exception:
    return UpstreamError("the local model has been closed", status=503)
