"""What a picture's first bytes say: its format and size, read without decoding anything.

Only formats named here reach the decoder, and only sizes that the limits allow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MEDIA_TYPES", "declared_size", "has_too_many_scans", "sniff"]

MEDIA_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
_NO_FRAME = {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC share the range of the start-of-frame markers
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MAX_SCANS = 64  # usual progressive files have about 10
# 0xFF and a code that is neither stuffing, fill, TEM nor RSTn, which carry no length; searching
# for it also skips a scan's compressed data, where a bare 0xFF is always stuffed.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")


def sniff(data: bytes) -> str | None:
    """The format's name as in `MEDIA_TYPES`, or None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return None


def declared_size(data: bytes, image_format: str) -> tuple[int, int] | None:
    """(width, height) in pixels as the header gives them, or None where it is cut short."""
    readers = {"PNG": _png_size, "JPEG": _jpeg_size, "GIF": _gif_size, "WEBP": _webp_size}
    return readers[image_format](data)


def _big(data: bytes, start: int, count: int) -> int:
    return int.from_bytes(data[start : start + count], "big")


def _little(data: bytes, start: int, count: int) -> int:
    return int.from_bytes(data[start : start + count], "little")


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return None
    return _big(data, 16, 4), _big(data, 20, 4)


def _gif_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 10:
        return None
    return _little(data, 6, 2), _little(data, 8, 2)


def _webp_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
    if kind == b"VP8L":
        bits = _little(data, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, at in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME and at + 9 <= len(data):
            return _big(data, at + 7, 2), _big(data, at + 5, 2)
    return None


def has_too_many_scans(data: bytes) -> bool:
    """Whether a JPEG passes over its pixels more often than any honest encoder makes it.

    A scan costs the decoder time for every pixel but the sender only a few bytes, so a small file
    could otherwise keep a decoder busy for hours.
    """
    scans = 0
    for marker, _ in _jpeg_segments(data):
        scans += marker == _START_OF_SCAN
        if scans > _MAX_SCANS:
            return True
    return False


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, position) of each segment up to the end of the first picture."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end() - 2
        if marker == _END_OF_IMAGE:
            return
        yield marker, at
        at += 2 + max(2, _big(data, at + 2, 2))
