"""The pictures of a request: where they are, and how they become pixels.

A link differs from a data URL only in where its bytes come from: both are decoded by the same
limits, in the same threads, into the same pixels.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from guardrail.api.pictures.apart import decode_safely, is_decoded_apart
from guardrail.api.pictures.fetch import INTERNET, Network, RemoteImages, fetch_image
from guardrail.errors import RequestError
from guardrail.images.codec import PixelBudget, measure_size, parse_data_url
from guardrail.images.data_url import is_link
from guardrail.offload import DECODE_PICTURES, offload
from guardrail.semaphore import FifoSemaphore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from guardrail.images.codec import ImageLimits, Picture

__all__ = ["Embedded", "ImageLoader", "Link", "Source", "source_at"]


_MOST_FETCHES = 32
"""Links followed at a time, over all requests."""
_DECODERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture whose bytes are there; `media_type` is what it must be, if anything."""

    data: bytes = field(repr=False)
    media_type: str | None
    at: str

    @property
    def encoded_bytes(self) -> int:
        """What it took of the request's body, in base64; a little less where it had blanks."""
        return 4 * len(self.data) // 3


@dataclass(frozen=True, slots=True)
class Link:
    """A picture that would have to be fetched."""

    url: str = field(repr=False)
    at: str

    @property
    def encoded_bytes(self) -> int:
        return 0


Source: TypeAlias = Embedded | Link
"""A picture of a request; `at` is its JSON path there."""


def source_at(url: str, at: str, limits: ImageLimits, *, strict_types: bool = False) -> Source:
    """What a URL holds or leads to. Raises RequestError for one that is neither.

    Args:
        url: blanks around it are none of its own.
        at: its JSON path.
        limits: of the picture.
        strict_types: whether the picture must be of the type that the URL declares.
    """
    url = url.strip()
    if is_link(url):
        return Link(url, at)
    media_type, data = parse_data_url(url, limits=limits, param=at)
    return Embedded(data, media_type if strict_types else None, at)


class ImageLoader:
    """Fetches and decodes pictures, and bounds what all requests together may hold of them.

    Args:
        limits: of the pictures of one request.
        remote: which links are followed.
        max_link_bytes: of all pictures behind the links of one request.
        max_pixels: held decoded at a time, over all requests; never less than one request may have.
        network: for tests only.
    """

    def __init__(
        self,
        limits: ImageLimits,
        remote: RemoteImages,
        *,
        max_link_bytes: int,
        max_pixels: int,
        network: Network = INTERNET,
    ) -> None:
        self.limits = limits
        self.remote = remote
        self.room = FifoSemaphore(max(max_pixels, limits.max_total_pixels))  # in pixels
        self._max_link_bytes = max_link_bytes
        self._network = network
        self._fetches = asyncio.Semaphore(_MOST_FETCHES)
        self._threads = ThreadPoolExecutor(_DECODERS, "guardrail-decode")

    @asynccontextmanager
    async def open(
        self, sources: list[Source], keep: Callable[[Sequence[bytes]], None] = lambda _files: None
    ) -> AsyncIterator[tuple[Picture, ...]]:
        """The pictures, decoded, as long as the context lasts; `sources` is empty then.

        Args:
            sources: where they are.
            keep: told the encoded pictures, all of which could be decoded.

        Raises:
            RequestError: a link may not or cannot be followed, or there is no picture that may be
                decoded; names its place.
        """
        if not sources:
            yield ()
            return
        found = await self._fetch(sources)
        pixels = self._measure(found)
        async with self.room.hold(pixels):
            pictures = await self._decode(found, pixels)
            keep([item.data for item in found])
            found.clear()
            sources.clear()
            yield pictures

    def close(self) -> None:
        """Does not wait for threads: pictures still being decoded are no longer needed."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _fetch(self, sources: Sequence[Source]) -> list[Embedded]:
        """All pictures with their bytes, in order; the first fault ends the others."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    source.at: group.create_task(self._behind(source))
                    for source in sources
                    if isinstance(source, Link)
                }
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None
        found = [
            source if isinstance(source, Embedded) else tasks[source.at].result()
            for source in sources
        ]
        self._check_together([item for item in found if item.at in tasks])
        return found

    async def _behind(self, link: Link) -> Embedded:
        async with self._fetches:
            data = await fetch_image(link.url, self.remote, param=link.at, network=self._network)
        return Embedded(data, None, link.at)

    def _check_together(self, fetched: Sequence[Embedded]) -> None:
        if sum(len(item.data) for item in fetched) > self._max_link_bytes:
            raise RequestError(
                f"{fetched[-1].at}: the pictures behind the links of this request have more than "
                f"{self._max_link_bytes} bytes together; send fewer or smaller ones",
                status=413,
                param=fetched[-1].at,
                code="images_too_large",
            )

    def _measure(self, found: Sequence[Embedded]) -> int:
        """The pixels of all pictures, by their headers; each within the limits, and all."""
        budget, pixels = PixelBudget(self.limits), 0
        for item in found:
            size = self._size_of(item)
            budget.spend(*size, item.at)
            pixels += size[0] * size[1]
        return pixels

    async def _decode(self, found: Sequence[Embedded], pixels: int) -> tuple[Picture, ...]:
        size_bytes = sum(len(item.data) for item in found)
        processes = sum(is_decoded_apart(item.data, self._size_of(item)) for item in found)
        size = (size_bytes, pixels, processes)
        return await offload(DECODE_PICTURES, size, self._pictures, found, executor=self._threads)

    def _size_of(self, item: Embedded) -> tuple[int, int]:
        return measure_size(item.data, item.media_type, self.limits, item.at)

    def _pictures(self, found: Sequence[Embedded]) -> tuple[Picture, ...]:
        return tuple(map(self._picture, found))

    def _picture(self, item: Embedded) -> Picture:
        return decode_safely(
            item.data, declared_media_type=item.media_type, limits=self.limits, param=item.at
        )
