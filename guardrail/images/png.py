"""8-bit RGB pixels as a PNG, written by hand: every row unfiltered, and by default stored.

Noise hardly compresses, so the pixels go into stored blocks of the deflate format (RFC 1951,
section 3.2.4) and what is left to compute are two checksums. zlib-ng takes them many times faster
than the zlib that Python is usually built with, which would spend more time on them than on
everything else together.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from zlib_ng import zlib_ng

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeAlias

    from numpy.typing import NDArray

    Part: TypeAlias = bytes | memoryview

__all__ = ["write_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ZLIB_HEADER = b"\x78\x01"  # deflate with a window of 32 KiB, no dictionary, fastest (RFC 1950)
_MOST_STORED = 0xFFFF  # bytes of one stored block


def write_png(pixels: NDArray[np.uint8], level: int = 0) -> bytes:
    """The PNG of RGB pixels of shape (height, width, 3), the same bytes for the same pixels.

    Args:
        pixels: dtype uint8, in any memory order.
        level: 0 to 9; 0 stores the pixels as they are, more compresses them.
    """
    height, width, _ = pixels.shape
    rows = np.empty((height, 1 + 3 * width), dtype=np.uint8)
    rows[:, 0] = 0  # the row's filter: none
    rows[:, 1:].reshape(height, width, 3)[...] = pixels
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8-bit RGB, not interlaced
    data = rows.reshape(-1).data
    body = _store(data) if level == 0 else (zlib_ng.compress(data, level),)
    chunks = (_chunk(b"IHDR", (header,)), _chunk(b"IDAT", body), _chunk(b"IEND", ()))
    return b"".join((_SIGNATURE, *(part for chunk in chunks for part in chunk)))


def _chunk(kind: bytes, body: Iterable[Part]) -> list[Part]:
    """A chunk in parts, so that the pixels are copied once, when the whole file is joined."""
    parts = [kind, *body]
    size, crc = -len(kind), 0
    for part in parts:
        size += len(part)
        crc = zlib_ng.crc32(part, crc)
    return [size.to_bytes(4, "big"), *parts, crc.to_bytes(4, "big")]


def _store(data: memoryview) -> Iterator[Part]:
    """A zlib stream that holds `data`, which is not empty, uncompressed."""
    yield _ZLIB_HEADER
    for start in range(0, len(data), _MOST_STORED):
        block = data[start : start + _MOST_STORED]
        last = start + len(block) == len(data)
        yield struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF)
        yield block
    yield zlib_ng.adler32(data).to_bytes(4, "big")
