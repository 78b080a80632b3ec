"""Many pictures through a guard of this process, as a stream of outcomes."""

from __future__ import annotations

import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from guardrail.api.chat.endpoint import CHAT_ENDPOINT
from guardrail.bulk.content_key import JobSettings
from guardrail.bulk.deciding import RowDecider
from guardrail.bulk.flow import read_in_thread, work_through
from guardrail.bulk.rows import BulkRow, fill_prompt
from guardrail.errors import ConfigError, RequestError
from guardrail.images.codec import to_data_url
from guardrail.images.header import MEDIA_TYPES, sniff

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from guardrail.bulk.deciding import NextAttempt
    from guardrail.bulk.outcome import RowOutcome
    from guardrail.engine.verdict import Verdict
    from guardrail.middleware.result import Result
    from guardrail.middleware.runtime import Runtime
    from guardrail.types import Json

__all__ = ["ModerationItem", "ModerationOptions", "moderate_items", "moderate_items_sync"]

ModerationItem: TypeAlias = (
    "str | os.PathLike[str] | bytes | tuple[str | os.PathLike[str] | bytes, str] "
    "| Mapping[str, Any]"
)
"""A picture (a file, the URL of one in a bucket, or its bytes), a pair of a picture and its
question, or a mapping with `image` and perhaps `prompt` and `id`."""

_Send: TypeAlias = "Callable[[dict[str, Json]], Awaitable[Result]]"


@dataclass(frozen=True, slots=True)
class ModerationOptions:
    """How a stream of pictures is decided.

    Attributes:
        prompt: the question of pictures that bring none; see `fill_prompt`.
        model: as the upstream is asked for it; empty for the first that it lists.
        jobs: pictures that are decided at a time, at least 1.
        keep_answers: whether outcomes hold the answers that pass.
        principal: whose tries these are, in place of the guard's own.
    """

    prompt: str
    model: str
    jobs: int
    keep_answers: bool
    principal: str | None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ConfigError("must be at least 1", field="jobs")


async def moderate_items(
    runtime: Runtime,
    items: Iterable[ModerationItem] | AsyncIterable[ModerationItem],
    options: ModerationOptions,
) -> AsyncIterator[RowOutcome]:
    """See `Guard.moderate`."""

    async def send(request: dict[str, Json]) -> Result:
        return await runtime.decide(request, CHAT_ENDPOINT, None, principal=options.principal)

    model = options.model or await runtime.first_model()
    async for batch in _work(runtime, _stream(items), options, model, send):
        for outcome in batch:
            yield outcome


def moderate_items_sync(
    runtime: Runtime, items: Iterable[ModerationItem], options: ModerationOptions
) -> Iterator[RowOutcome]:
    """See `Guard.moderate_sync`; the guard's own loop decides, the caller's thread waits."""

    async def send(request: dict[str, Json]) -> Result:
        principal = runtime.principal_of(options.principal)
        return await runtime.decider.decide(request, CHAT_ENDPOINT, principal=principal)

    async def take() -> list[RowOutcome] | None:
        return await anext(stream, None)

    model = options.model or runtime.first_model_sync()
    stream = _work(runtime, _stream(items), options, model, send)
    try:
        while (batch := runtime.run_sync(take())) is not None:
            yield from batch
    finally:
        runtime.run_sync(stream.aclose())


async def _work(
    runtime: Runtime,
    items: AsyncIterator[ModerationItem],
    options: ModerationOptions,
    model: str,
    send: _Send,
) -> AsyncGenerator[list[RowOutcome], None]:
    decider = RowDecider(
        _GuardAsk(send, model),
        JobSettings.of(runtime.decider.engine, model, {}),
        runtime.decider.image_loader,
        keep_answers=options.keep_answers,
    )

    async def decide(row: BulkRow) -> RowOutcome:
        outcome = await decider.decide(row)
        assert outcome is not None  # there is no log in which it could be
        decider.forget(outcome)
        return outcome

    rows = _read_rows(items, options.prompt)
    async for batch in work_through(rows, decide, most=options.jobs):
        yield batch


@dataclass(frozen=True, slots=True)
class _GuardAsk:
    """Asks by the way that all requests of the guard go: records, memory, tries and all."""

    send: _Send
    model: str

    async def __call__(self, row: BulkRow, data: bytes, attempt: NextAttempt) -> Verdict:
        del attempt  # memory and tries are those of all requests
        media_type = MEDIA_TYPES.get(sniff(data) or "")
        if media_type is None:
            raise RequestError(
                f"{row.name}: the content is none of the supported formats; give a PNG, JPEG, "
                "WebP, GIF, BMP or TIFF picture",
                code="unsupported_image_type",
            )
        picture = {"type": "image_url", "image_url": {"url": to_data_url(data, media_type)}}
        parts = [picture, {"type": "text", "text": row.prompt}]
        request = {"model": self.model, "messages": [{"role": "user", "content": parts}]}
        return (await self.send(request)).verdict


def _stream(
    items: Iterable[ModerationItem] | AsyncIterable[ModerationItem],
) -> AsyncIterator[ModerationItem]:
    if isinstance(items, AsyncIterable):
        return aiter(items)
    return read_in_thread(iter(items), 1)


async def _read_rows(items: AsyncIterator[ModerationItem], prompt: str) -> AsyncIterator[BulkRow]:
    number = 0
    async for item in items:
        number += 1
        yield _read_item(item, number, prompt)


def _read_item(item: ModerationItem, number: int, prompt: str) -> BulkRow:
    cells: Mapping[str, Any] = (
        item
        if isinstance(item, Mapping)
        else {"image": item[0], "prompt": item[1]}
        if isinstance(item, tuple)
        else {"image": item}
    )
    image: Any = cells.get("image")
    own = cells.get("prompt") or ""
    is_place = isinstance(image, (str, os.PathLike))
    name = str(cells.get("id") or (os.fspath(image) if is_place else f"item {number}"))
    if not (is_place or isinstance(image, bytes)) or not image or not isinstance(own, str):
        problem = "give a picture as a path or bytes, and a question as text"
        return BulkRow(name, "", "", number, problem)
    place = image if isinstance(image, bytes) else os.fspath(image)
    try:
        return BulkRow(name, fill_prompt(prompt, own, {**cells, "name": name}), place, number)
    except ValueError as error:
        return BulkRow(name, "", place, number, str(error))
